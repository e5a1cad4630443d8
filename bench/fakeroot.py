"""What the fakeroot supervisor costs, side by side with the kernel, fakeroot(1) and proot. As root:

    python3 bench/fakeroot.py [--rounds 3] [--files 100000] [--user iechor-plain]

A Debian base with a compiler, fakeroot and proot is made with mmdebstrap once (/var/tmp/iechor-bench), unpacked as
the user, and every workload runs in the same sandbox; only what keeps the owners differs:

    kernel        nobody: one mapped id, owners are lost        (what the same work costs without an illusion)
    supervisor    rootless_builder's
    fakeroot(1)   LD_PRELOAD and a daemon                        proot    ptrace

    install       apt-get install of packages already downloaded (kernel: by real root, fsync answered by eatmydata)
    find          find -ls over --files files                    find-owned   the same, each with an owner of its own
    compile       a C file of 2,000 functions, -O2

Figures: wall-clock seconds, and CPU seconds of the whole tree, the supervisor included; the best of the rounds.
"""

import argparse
import json
import os
import pwd
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = Path("/var/tmp/iechor-bench")
PACKAGES = "gcc,libc6-dev,fakeroot,proot,eatmydata,ca-certificates"
INSTALL = "man-db openssh-server vim python3-pip"
WRAPPERS = {"kernel": [], "supervisor": [], "fakeroot(1)": ["fakeroot"], "proot": ["proot", "-0"]}
SOURCE = "for i in $(seq 2000); do echo \"int f$i(int x) { int s = 0; for (int i = 0; i < x; i++) s += i * $i % 7; " \
         "return s; }\"; done > /tmp/a.c; "
WORK = {
    "install": f"apt-get -qq -y --no-install-recommends install {INSTALL} >/dev/null 2>&1",
    "find": "find /many -ls >/dev/null",
    "find-owned": "find /many -ls >/dev/null",
    "compile": "gcc -O2 -c -o /tmp/a.o /tmp/a.c",
}
PREPARE = {
    "install": f"apt-get -qq update && apt-get -qq -y -d --no-install-recommends install {INSTALL} >/dev/null 2>&1; ",
    "compile": SOURCE,
}


def child(request: dict[str, object]) -> None:
    """As the user (or root): one workload in a sandbox; says how it went on stdout."""
    sys.path.insert(0, str(ROOT))
    from rootless_builder.sandbox.idmap import IdMap
    from rootless_builder.sandbox.launcher import Launcher
    from rootless_builder.sandbox.mounts import KernelOverlay, standard
    from rootless_builder.sandbox.spec import FakerootSpec, Network, SandboxSpec

    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(dir=str(request["lower"]) + "/..", prefix="work-") as work:
        for name in ("upper", "work", "root"):
            Path(work, name).mkdir()
        overlay = KernelOverlay(lowers=(str(request["lower"]),), upper=f"{work}/upper", work=f"{work}/work",
                                userxattr=not is_root, target="/")
        generated = standard(resolv_conf=Path("/etc/resolv.conf").read_text(), hosts=Path("/etc/hosts").read_text())
        spec = SandboxSpec(
            root=f"{work}/root", mounts=(overlay, *generated), argv=tuple(request["argv"]),  # type: ignore[arg-type]
            env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"),
            ids=None if is_root else IdMap.single(os.getuid(), os.getgid()), hostname="bench", network=Network.HOST,
            init=True, fakeroot=FakerootSpec(table=str(request["table"])) if request["table"] is not None else None)
        with Launcher() as launcher:
            sandbox = launcher.launch(spec, stdin=None, stdout=1, stderr=2)
            code = sandbox.wait(None).code
            sandbox.close()
    print(json.dumps({"code": code}))


def as_user(user: str, lower: Path, table: str | None, argv: list[str]) -> tuple[float, float]:
    """(wall, CPU of all) of one sandbox of `user`, its preparation included."""
    account = pwd.getpwnam(user)
    request = json.dumps({"lower": str(lower), "table": table, "argv": argv})
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, __file__, "--child", request], check=True, stdout=subprocess.DEVNULL,
                   user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/",
                   env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"})
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def net(user: str, lower: Path, table: str | None, wrapper: list[str], work: str) -> tuple[float, float]:
    """A workload less its preparation, which runs alone the second time."""
    prepare = PREPARE.get(work, "")
    whole = as_user(user, lower, table, ["sh", "-c", prepare + " ".join([*wrapper, "sh", "-c", f"'{WORK[work]}'"])])
    idle = as_user(user, lower, table, ["sh", "-c", prepare + "true"])
    return whole[0] - idle[0], whole[1] - idle[1]


def make_lower(user: str, files: int) -> tuple[Path, str, str]:
    """The unpacked base (kept), its table, and the table in which each of the many files has its own owner."""
    sys.path.insert(0, str(ROOT))
    from rootless_builder.sandbox.fakeroot import OwnerRecord, encode

    account = pwd.getpwnam(user)
    place = PLACE / user
    lower = place / "lower"
    if not lower.exists():
        place.mkdir(parents=True)
        subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", f"--include={PACKAGES}", "--skip=cleanup/apt",
                        "stable" if not Path("/etc/os-release").exists() else codename(), lower], check=True)
        for name in ("99artifact-registry", "docker-clean"):  # how this machine's apt is told to fetch
            if (source := Path("/etc/apt/apt.conf.d", name)).exists():
                (lower / "etc/apt/apt.conf.d" / name).write_text(source.read_text())
        for folder in range(100):
            (lower / f"many/{folder}").mkdir(parents=True)
            for file in range(files // 100):
                (lower / f"many/{folder}/{file}").touch()
        records, owned = [], []
        for top, names, entries in os.walk(lower):
            for name in (*names, *entries):
                path = os.path.join(top, name)
                status = os.lstat(path)
                if status.st_uid or status.st_gid or (status.st_mode & 0o6000):
                    records.append(OwnerRecord(status.st_ino, status.st_mode, status.st_uid, status.st_gid))
                elif "/many/" in path:
                    owned.append(OwnerRecord(status.st_ino, status.st_mode, 1 + status.st_ino % 5, 7))
                if account.pw_uid != 0:
                    os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        os.chown(lower, account.pw_uid, account.pw_gid)
        os.chown(place, account.pw_uid, account.pw_gid)
        (place / "table").write_bytes(encode(records))
        (place / "owned").write_bytes(encode(records + owned))
    return lower, str(place / "table"), str(place / "owned")


def codename() -> str:
    return next(line.split("=")[1] for line in Path("/etc/os-release").read_text().splitlines()
                if line.startswith("VERSION_CODENAME="))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--user", default="iechor-plain")
    parser.add_argument("--work", nargs="*", choices=list(WORK), default=list(WORK))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    lower, table, owned = make_lower(options.user, options.files)
    print(f"{'':12}{'':14}{'wall':>8}{'CPU':>8}{'CPU ratio':>11}")
    for work in options.work:
        base = 0.0
        for name, wrapper in WRAPPERS.items():
            user, tree, used, words = options.user, lower, table if name == "supervisor" else None, wrapper
            if work == "find-owned" and name == "supervisor":
                used = owned
            if work == "install" and name != "supervisor":
                if name != "kernel":
                    continue  # neither can start apt as a single id
                user, words = "root", ["eatmydata"]
                tree = make_lower("root", options.files)[0]
            found = [net(user, tree, used, words, work) for _ in range(options.rounds)]
            wall, cpu = min(one[0] for one in found), min(one[1] for one in found)
            base = base or cpu
            print(f"{work:12}{name:14}{wall:8.2f}{cpu:8.2f}{cpu / base:11.2f}", flush=True)


if __name__ == "__main__":
    main()
