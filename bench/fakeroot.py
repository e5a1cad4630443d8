"""What the fakeroot supervisor costs, beside the kernel's own owners and those who pretend likewise. As root:

    python3 -m bench.fakeroot [--rounds 3] [--work install …] [--mode subuid …]

    subuid       a range of ids mapped by newuidmap: the kernel keeps the owners; all figures are ratios to it
    fakeroot     our supervisor, one id
    fakeroot(1)  Debian's, LD_PRELOAD and a daemon, in the same sandbox with one id         proot   ptrace, likewise
    buildah      rootless with the same range, `buildah run`; its overlay is volatile, as a RUN's is

    install      apt-get install of packages already downloaded, fsync answered 0; the host keys of ssh are there
                 (to search for primes takes a fifth of it, or next to nothing, by chance)
    install-plain   less of it, for those who cannot carry out the whole
    install-fsync   fsync really done in all but buildah
    find         find -ls over 100,000 files of root             find-owned      the same, each with an odd owner
    compile      a C file of 2,000 functions, -O2                compile-many    120 small ones, by gcc each

The modes are run in turn, every second round from the last to the first. A figure is the median of the rounds' ratios:
wall-clock time, and CPU time of the whole tree, supervisor included; the start of an empty sandbox is taken off both.
No mode's figure has a commit or a scan in it. What the runs leave is removed at the end only: ext4 walks past every
inode number that was freed in the last five minutes for each file that it makes, so let these pass between two runs.
"""

import argparse
import json
import os
import pwd
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import fakeroot_places as places

MODES = ("subuid", "fakeroot", "fakeroot(1)", "proot", "buildah")
WRAPPERS = {"fakeroot(1)": ["fakeroot"], "proot": ["proot", "-0"]}
APT = f"apt-get -qq -y --no-download --no-install-recommends install {places.INSTALL} >/dev/null 2>&1"
WORK = {
    "install": APT,
    "install-plain": APT.replace(places.INSTALL, places.PLAIN),
    "install-fsync": APT,
    "find": "find /many -ls >/dev/null",
    "find-owned": "find /many -ls >/dev/null",
    "compile": "gcc -O2 -c -o /tmp/a.o /tmp/a.c",
    "compile-many": "for i in $(seq 120); do gcc -O2 -c -o /tmp/a$i.o /tmp/b.c; done",
}
ONE = "int f$i(int x) { int s = 0; for (int i = 0; i < x; i++) s += i * $i % 7; return s; }"
SSH_KEYS = "mkdir -p /etc/ssh; for i in rsa ecdsa ed25519; do echo >/etc/ssh/ssh_host_${i}_key; done; "
PREPARE = {
    "install": SSH_KEYS,
    "install-fsync": SSH_KEYS,
    "compile": f'for i in $(seq 2000); do echo "{ONE}"; done >/tmp/a.c; ',
    "compile-many": f'for i in $(seq 5); do echo "#include <stdio.h>\n{ONE}"; done >/tmp/b.c; ',
}
FRONTEND = "DEBIAN_FRONTEND=noninteractive"
LOAD, JUMP_EQUAL, RETURN, ALLOW, ANSWER_ZERO = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000
DURABLE = {"x86_64": (74, 75, 162, 306, 277, 26), "aarch64": (82, 83, 81, 267, 84, 227)}


class Figure(NamedTuple):
    """Seconds. failed: the workload did not come to its end, so the figures say nothing."""

    wall: float
    cpu: float
    failed: bool = False


def child(request: dict[str, object]) -> None:
    """As the user: one workload in a sandbox; says its exit code, wall-clock and CPU seconds on stdout."""
    from rootless_builder.sandbox import linux
    from rootless_builder.sandbox.idmap import IdMap, in_initial_namespace, subuid_map
    from rootless_builder.sandbox.launcher import Launcher, reexec_mapped
    from rootless_builder.sandbox.mounts import KernelOverlay, standard
    from rootless_builder.sandbox.spec import FakerootSpec, Network, SandboxSpec

    mode = request["mode"]
    if mode == "subuid" and in_initial_namespace():
        account = pwd.getpwuid(os.geteuid())
        reexec_mapped(*subuid_map(account.pw_name, account.pw_uid, account.pw_gid), [sys.executable, *sys.argv],
                      os.environ)
    if mode not in ("fakeroot", "buildah") and not request["fsync"]:
        numbers = DURABLE[os.uname().machine]
        rows = [(LOAD, 0, 0, 0), *((JUMP_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)),
                (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ANSWER_ZERO)]
        linux.set_seccomp_filter(b"".join(struct.pack("<HBBI", *row) for row in rows))
    started = time.monotonic()
    if mode == "buildah":
        argv: list[str] = request["argv"]  # type: ignore[assignment]
        done = subprocess.run(["buildah", "run", "--isolation=chroot", f"--env={FRONTEND}", str(request["container"]),
                               "--", *argv], check=False)
        return tell(done.returncode, started)
    work = tempfile.mkdtemp(dir=Path(str(request["lower"])).parent, prefix="work-")
    for name in ("upper", "work", "root"):
        Path(work, name).mkdir()
    overlay = KernelOverlay(lowers=(str(request["lower"]),), upper=f"{work}/upper", work=f"{work}/work",
                            userxattr=True, volatile=not request["fsync"], target="/")
    spec = SandboxSpec(
        root=f"{work}/root", mounts=(overlay, *standard(hosts="127.0.0.1 localhost\n")),
        argv=tuple(request["argv"]),  # type: ignore[arg-type]
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", FRONTEND),
        ids=IdMap.nested() if mode == "subuid" else IdMap.single(os.getuid(), os.getgid()), hostname="bench",
        network=Network.NONE, init=True,
        fakeroot=FakerootSpec(table=str(request["table"]), fsync=bool(request["fsync"])) if mode == "fakeroot"
        else None)
    with Launcher() as launcher:
        sandbox = launcher.launch(spec, stdin=None, stdout=2, stderr=2)
        code = sandbox.wait(None).code
        sandbox.close()
    tell(code, started)


def tell(code: int, started: float) -> None:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"code": code, "wall": time.monotonic() - started, "cpu": used.ru_utime + used.ru_stime}))


class Bench:
    """The trees, and what an empty sandbox costs in each mode."""

    def __init__(self, options: argparse.Namespace) -> None:
        base = places.make_base(options.files)
        self.users = {mode: options.plain for mode in MODES} | {"subuid": options.sub, "buildah": options.sub}
        self.lowers = {"plain": places.make_plain(base, options.plain)}
        if "subuid" in options.mode:
            self.lowers["sub"] = places.make_sub(base, options.sub)
        self.image = places.make_image(base, options.sub) if "buildah" in options.mode else ""
        self.idle: dict[tuple[str, str], Figure] = {}

    def once(self, mode: str, work: str, line: str) -> Figure:
        account = pwd.getpwnam(self.users[mode])
        plain = self.lowers["plain"]
        request = {"mode": mode, "argv": ["sh", "-c", line], "fsync": work == "install-fsync",
                   "lower": str(self.lowers["sub"] if mode == "subuid" else plain),
                   "table": str(plain.parent / ("owned" if work == "find-owned" else "table"))}
        env = places.environment(account.pw_name)
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": (), "cwd": "/", "env": env}
        if mode == "buildah":
            request["container"] = subprocess.run(["buildah", "from", self.image], check=True, capture_output=True,
                                                  text=True, **who).stdout.strip()
        # newuidmap is set-uid, so no_new_privs is for the others; root of a namespace needs none to load a filter
        wrap = [] if mode in ("subuid", "buildah", "fakeroot") else ["setpriv", "--no-new-privs"]
        done = subprocess.run([*wrap, sys.executable, __file__, "--child", json.dumps(request)],
                              check=False, capture_output=True, text=True, **who)
        if done.returncode:
            raise SystemExit(f"{mode}, {work}: {done.stderr}")
        told = json.loads(done.stdout.splitlines()[-1])
        return Figure(told["wall"], told["cpu"], told["code"] != 0)

    def remove(self) -> None:
        """What the runs have left."""
        places.remove_works()
        if self.image:
            account = pwd.getpwnam(self.users["buildah"])
            subprocess.run(["buildah", "rm", "--all"], check=True, capture_output=True, user=account.pw_uid,
                           group=account.pw_gid, extra_groups=(), cwd="/", env=places.environment(account.pw_name))

    def net(self, mode: str, work: str) -> Figure:
        """A workload, less its preparation and an empty sandbox."""
        wrapper, prepare = WRAPPERS.get(mode, []), PREPARE.get(work, "")
        if (mode, work) not in self.idle:
            empty = [self.once(mode, work, prepare + "true") for _ in range(3)]
            self.idle[mode, work] = Figure(min(one.wall for one in empty), min(one.cpu for one in empty))
        inner = f"'{WORK[work]}'"
        found = self.once(mode, work, prepare + " ".join([*wrapper, "sh", "-c", inner]))
        idle = self.idle[mode, work]
        return Figure(found.wall - idle.wall, found.cpu - idle.cpu, found.failed)


def compare(bench: Bench, work: str, modes: Iterable[str], rounds: int) -> Iterable[str]:
    """Lines of a table: the medians of the ratios to the first mode."""
    figures: dict[str, list[Figure]] = {mode: [] for mode in modes}
    for number in range(rounds):
        for mode in list(figures)[::-1 if number % 2 else 1]:
            figures[mode].append(bench.net(mode, work))
    first = next(iter(figures))
    for mode, list_ in figures.items():
        if any(one.failed for one in list_):
            yield f"{work:14} {mode:12} {'fails':>9}"
            continue
        wall = statistics.median(one.wall / base.wall for one, base in zip(list_, figures[first], strict=True))
        cpu = statistics.median(one.cpu / base.cpu for one, base in zip(list_, figures[first], strict=True))
        seconds = statistics.median(one.cpu for one in list_)
        yield f"{work:14} {mode:12} {wall:9.2f} {cpu:9.2f} {seconds:13.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--plain", default="iechor-plain", help="a user with one id")
    parser.add_argument("--sub", default="iechor-sub", help="a user with a range in /etc/subuid")
    parser.add_argument("--work", nargs="*", choices=list(WORK), default=list(WORK))
    parser.add_argument("--mode", nargs="*", choices=MODES, default=list(MODES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    bench = Bench(options)
    print(f"{'work':14} {'mode':12} {'wall':>9} {'CPU':>9} {'CPU seconds':>13}")
    for work in options.work:
        modes = [mode for mode in options.mode if mode != "buildah" or work.startswith("install")]
        for line in compare(bench, work, modes, options.rounds):
            print(line, flush=True)
    bench.remove()


if __name__ == "__main__":
    main()
