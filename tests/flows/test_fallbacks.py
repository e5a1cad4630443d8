"""What a host may lack, really lacking: a system call that a seccomp filter refuses, a file system without attributes,
a limit of 0, a chroot. The same layers all the same, or a refusal that names the remedy.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Person
from tests.flows.running import until
from tests.flows.test_build import members
from tests.registry_server import Registry

FILE = """FROM busybox
RUN echo x > /o && chown 42:4204350 /o && chmod 4751 /o && mknod /n c 1 3 && ln /o /o2 && chown 7 /home/app \\
    && touch /home/app/new && echo changed >> /etc/passwd && rm -r /var && mkdir -m 711 /d && chown 5 /d \\
    && su app -c 'echo mine > /tmp/mine' && chmod 4711 /tmp/mine && chown 42:4204350 /tmp/mine
RUN stat -c '%n %u:%g %a' /o /d /home/app /tmp/mine && mv /tmp/mine /moved && chown 9 /etc/group && rm -r /d && mkdir /d
"""
# Loads a filter for what it execs: the system call ARGV[1] with argument ARGV[2] equal to ARGV[3] answers errno ARGV[4]
# (argument -1: always). no_new_privs, since a plain user does it.
REFUSE = """
import ctypes, os, struct, sys
number, argument, value, errno = map(int, sys.argv[1:5])
def line(code, k, yes=0, no=0): return struct.pack("HBBI", code, yes, no, k)
end = [line(6, 0x50000 | errno), line(6, 0x7fff0000)]
test = [line(0x20, 16 + 8 * argument), line(0x15, value, 0, 1)] if argument >= 0 else []
code = b"".join([line(0x20, 0), line(0x15, number, 0, len(test) + 1), *test, *end])
buffer = ctypes.create_string_buffer(code, len(code))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, ctypes.addressof(buffer)))) == 0
os.execvp(sys.argv[5], sys.argv[5:])
"""
I386 = """void _start(void)
{
    int rc;
    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(212), "b"("/f"), "c"(3), "d"(4) : "memory"); /* chown32 */
    __asm__ volatile("int $0x80" : : "a"(1), "b"(rc == 0 ? 0 : 9)); /* exit */
}
"""
LOST = """FROM busybox
RUN chown 3:4 /etc/group && chown -h 5 /bin/sh && cd /etc && chown :6 passwd && chown 0:0 passwd && \\
    touch /f1 /f2 && chown 1:1 /f1 && chown 2:2 ../f2; mkdir /m && cd /m && \\
    for i in $(seq 60); do touch $i; chown $i:8 $i; done; (sleep 0.1; chown 9:9 /old) & \\
    kill -STOP $! && kill -CONT $! && touch /old && wait
"""
NUMBERS = {"x86_64": {"mount": 165, "seccomp": 317}, "aarch64": {"mount": 40, "seccomp": 277}}[os.uname().machine]
MS_NODEV = 4  # how overlays are mounted, and nothing else
EINVAL, ENODEV = 22, 19
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def refusing(call: str, argument: int, value: int, errno: int, command: list[str]) -> list[str]:
    return [sys.executable, "-c", REFUSE, str(NUMBERS[call]), str(argument), str(value), str(errno), *command]


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    plain_user.mirror(registry)
    plain_user.write("c/iEchorfile", FILE)
    return plain_user


def diff_ids(person: Person, name: str) -> list[str]:
    return json.loads(person.iechor("inspect", name).stdout)[0]["RootFS"]["Layers"]  # type: ignore[no-any-return]


@pytest.fixture
def usual(user: Person) -> list[str]:
    """The layers where nothing lacks."""
    user.iechor("build", "-q", "-t", "usual", "c", env=EPOCH)
    return diff_ids(user, "usual")


def same(user: Person, usual: list[str], done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("each step works on a copy") == 1  # said once, for two steps
    assert "/o 42:4204350 4751" in done.stderr and "/tmp/mine 42:4204350 711" in done.stderr
    assert diff_ids(user, "other") == usual


def test_no_overlayfs_in_user_namespaces(user: Person, usual: list[str]) -> None:
    env = {**EPOCH, "IECHOR_SCRATCH": str(user.home / "other")}
    build = user.command("build", "--progress=plain", "--no-cache", "-t", "other", "c")
    same(user, usual, user.run(*refusing("mount", 3, MS_NODEV, ENODEV, build), env=env))
    run = user.command("run", "--rm", "other", "stat", "-c", "%u:%g", "/moved", "/etc/group")
    done = user.run(*refusing("mount", 3, MS_NODEV, ENODEV, run), env=env)
    assert (done.returncode, done.stdout) == (0, "42:4204350\n9:0\n"), done.stderr
    said = user.run(*refusing("mount", 3, MS_NODEV, ENODEV, user.command("info")), env=env).stdout
    assert "trees are checked out and compared" in said


@contextlib.contextmanager
def mounted(folder: Path, *argv: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run([*argv, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_scratch_on_a_file_system_without_attributes(user: Person, usual: list[str]) -> None:
    source = user.home / "source"
    source.mkdir()
    os.chown(source, user.uid, user.gid)
    with mounted(user.home / "fuse", "bindfs", "--xattr-none", str(source)) as fuse:
        env = {**EPOCH, "IECHOR_SCRATCH": str(fuse / "scratch")}
        build = user.command("build", "--progress=plain", "--no-cache", "-t", "other", "c")
        same(user, usual, user.run(*build, env=env))
        assert user.iechor("run", "--rm", "other", "stat", "-c", "%u:%g %t:%T", "/moved", "/n", env=env).stdout == (
            "42:4204350 0:0\n0:0 1:3\n")
        said = user.iechor("doctor", env=env).stdout  # slower, and all owners are kept
        assert "no  overlayfs: refused" in said and "mend:  Set IECHOR_SCRATCH to a folder on a local" in said


def test_scratch_that_lies_on_an_overlay_itself(user: Person, usual: list[str]) -> None:
    """Iechor in a container of docker's, whose root is one: an overlay cannot be the upper of another."""
    layers = [user.home / name for name in ("lower", "upper", "work")]
    for folder in layers:
        folder.mkdir()
        os.chown(folder, user.uid, user.gid)
    options = "lowerdir={},upperdir={},workdir={}".format(*layers)
    with mounted(user.home / "merged", "mount", "-t", "overlay", "overlay", "-o", options) as merged:
        build = user.command("build", "--progress=plain", "--no-cache", "-t", "other", "c")
        same(user, usual, user.run(*build, env={**EPOCH, "IECHOR_SCRATCH": str(merged / "scratch")}))


def without_notification(command: list[str]) -> list[str]:
    """seccomp(2) as before Linux 5.0, and in many an outer container: there is none."""
    return refusing("seccomp", -1, 0, EINVAL, command)


def test_no_user_notification_is_a_refusal(user: Person) -> None:
    done = user.run(*without_notification(user.command("build", "--progress=plain", "-t", "other", "c")))
    assert done.returncode == 12, done.stderr
    assert "iEchorfile:2: cannot keep the owners of files: the kernel has no seccomp user notification" in done.stderr
    assert "--allow-lost-owners" in done.stderr
    assert user.iechor("images", "--format", "{{.Repository}}").stdout == "busybox\n"
    run = user.run(*without_notification(user.command("run", "--rm", "busybox", "true")))
    assert run.returncode == 125 and "fakeroot supervisor" in run.stderr
    doctor = user.run(*without_notification(user.command("doctor")))
    assert doctor.returncode == 1 and "--userns=fakeroot needs fakeroot" in doctor.stderr
    copies = user.write("d/iEchorfile", "FROM busybox\nCOPY --chown=42:43 iEchorfile /\n").parent  # needs no sandbox
    done = user.run(*without_notification(user.command("build", "-q", copies)))
    assert done.returncode == 0, done.stderr


def test_owners_may_be_lost_when_that_is_allowed_and_each_is_named(user: Person, usual: list[str]) -> None:
    words = ("build", "--progress=plain", "--allow-lost-owners", "-t")
    done = user.run(*without_notification(user.command(*words, "other", "c")), env=EPOCH)
    assert done.returncode == 0, done.stderr
    assert "/o 0:0 4751" in done.stderr and "/home/app 0:0" in done.stderr
    assert "warning: lost: /home/app was 1000:1000's" in done.stderr
    for line in ("/o was to be of 42:4204350", "/n was to be device c 1:3", "/home/app was to be of 7:0",
                 "/tmp/mine was to be of 42:4204350", "/etc/group was to be of 9:0"):
        assert f"warning: lost: {line}\n" in done.stderr, done.stderr
    [first, second] = re.findall(r"paths of this step are root's, whomever it gave them to: (\S+)", done.stderr)
    assert {"/o", "/o2", "/d", "/tmp/mine"} <= set(Path(first).read_text().split())
    assert {"/moved", "/d"} <= set(Path(second).read_text().split())
    assert diff_ids(user, "other")[1:] != usual[1:]
    user.write("more/iEchorfile", LOST)
    done = user.run(*without_notification(user.command(*words, "more", "more")))
    assert done.returncode == 0, done.stderr
    assert re.findall(r"lost: (\S+) was to be of (\S+)\n", done.stderr) == [
        ("/etc/group", "3:4"), ("/bin/sh", "5:0"), ("/etc/passwd", "0:6"), ("/f1", "1:1"), ("/f2", "2:2"),
        *((f"/m/{number}", f"{number}:8") for number in range(1, 16))]
    [name] = re.findall(r"66 owners were given in vain: (\S+) lists them", done.stderr)
    assert Path(name).read_text().splitlines()[-2:] == ["60:8 /m/60", "9:9 /old"]
    if os.uname().machine == "x86_64":  # which runs i386 programs, too
        user.write("more/i386.c", I386)
        subprocess.run(["gcc", "-m32", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie",
                        "-no-pie", "-o", user.home / "more/i386", user.home / "more/i386.c"], check=True)
        user.write("more/iEchorfile", "FROM busybox\nCOPY i386 /\nRUN touch /f && /i386\n")
        done = user.run(*without_notification(user.command(*words, "more", "more")))
        assert done.returncode == 0 and "lost: /f was to be of 3:4\n" in done.stderr, done.stderr
    # Where nothing lacks the flag means nothing, and what was built without owners is not taken from the cache.
    shown = user.iechor(*words, "third", "c", env=EPOCH).stderr
    assert "lost" not in shown and diff_ids(user, "third") == usual


def test_without_the_c_module(user: Person) -> None:
    """An installation without a compiler has no _fakeroot."""
    copy = user.home / "package"
    subprocess.run(["cp", "-r", str(ROOT / "rootless_builder"), str(user.write("package/x", "").parent)], check=True)
    for path in copy.rglob("_fakeroot*.so"):
        path.unlink()
    env = {"PYTHONPATH": str(copy)}
    done = user.run(*user.command("build", "-q", "c"), env=env, cwd=user.home)
    assert done.returncode == 12 and "without its C module _fakeroot" in done.stderr, done.stderr
    assert "install a C compiler" in done.stderr
    assert "not built" in user.run(*user.command("info"), env=env, cwd=user.home).stdout
    done = user.run(*user.command("build", "--allow-lost-owners", "-q", "c"), env=env, cwd=user.home)
    assert done.returncode == 0, done.stderr


def test_no_user_namespaces_for_a_plain_user(user: Person) -> None:
    """Really: the limit is 0, in a namespace of the test's own, without proot. The error names the remedy; COPY needs
    none.
    """
    copies = user.write("d/iEchorfile", "FROM busybox\nCOPY --chown=42:43 iEchorfile /\n").parent
    limits = 'mount --bind /dev/null /usr/bin/proot && echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    limited = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", limits, "sh"]
    remedy = "sudo sysctl -w user.max_user_namespaces=15000"
    done = user.run(*limited, *user.command("build", "-q", "c"))
    assert done.returncode == 10 and remedy in done.stderr, done.stderr
    assert "With proot installed, --allow-lost-owners would run it" in done.stderr
    run = user.run(*limited, *user.command("run", "--rm", "busybox", "true"))
    assert run.returncode == 125 and remedy in run.stderr
    unshared = user.run(*limited, *user.command("unshare", "true"))
    assert unshared.returncode == 125 and remedy in unshared.stderr
    assert user.run(*limited, *user.command("build", "-q", copies)).returncode == 0


def test_a_proc_that_is_masked(user: Person, usual: list[str]) -> None:
    """As inside a container of Docker's, where the kernel refuses a fresh one: the outer one is seen, owners stay."""
    masking = ("mount --bind /dev/null /proc/keys && mount -t tmpfs none /proc/bus && uid=$1 && shift && "
               'exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"')
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", masking, "sh", str(user.uid),
               *user.command("build", "--progress=plain", "--no-cache", "-t", "other", "c")]
    done = subprocess.run(command, env=user.environment(EPOCH), cwd=user.home, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    assert "the container sees the outer /proc, read-only" in done.stderr
    assert diff_ids(user, "other") == usual
    user.write("more/iEchorfile", "FROM busybox\nRUN : > /a && chown 5 /proc/self/root/a && exec 3</a && "
                                  "stat -L -c '%n %u' /proc/self/fd/3 && su app -c 'id -u; id -u'\n")
    command[-3:] = ["-t", "third", "more"]
    done = subprocess.run(command, env=user.environment(EPOCH), cwd=user.home, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0 and "/proc/self/fd/3 5\n" in done.stderr, done.stderr
    assert len(re.findall(r"^#2 \S+ 1000$", done.stderr, re.MULTILINE)) == 2


# No user namespace can be made in it; the uid is the user's own, and no capability is left.
NONE = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c",
        'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all "$@"', "sh"]
PROOT = """FROM busybox AS made
RUN mkdir /o && echo a > /o/a && chown 42 /o/a
FROM busybox
ARG N
WORKDIR /w
RUN id -u && pwd && grep -q nameserver /etc/resolv.conf && test -c /dev/null && test -d /proc/self && touch /tmp/x /w/y
RUN chown 42:43 /w/y && mknod /w/null c 1 3; touch /etc/group; (sleep 6262 &) ; cp /etc/passwd /w; ln -s y /w/l
RUN --mount=type=cache,target=/c --mount=from=made,source=o,target=/missing/m --mount=type=tmpfs,target=/t \\
    --mount=type=secret,id=s --mount=target=/ctx echo $N >> /c/log && cat /c/log /missing/m/a && touch /t/x \\
    && test -f /ctx/iEchorfile && cat /run/secrets/s
USER app
RUN id -u; id -un; echo > /home/app/mine; exit 0
RUN <<END
echo heredoc $(id -u) "$HOME"
END
"""


def test_proot_where_a_plain_user_has_no_namespaces(user: Person) -> None:
    """Owners cannot be kept, so it is refused unless the user allows it; then all the rest works."""
    user.write("p/iEchorfile", PROOT)
    build = user.command("build", "--progress=plain", "--secret=id=s,env=S", "-t", "x", "p")
    done = user.run(*NONE, *build, env={"S": "hush"})
    assert done.returncode == 10 and "sudo sysctl -w user.max_user_namespaces=15000" in done.stderr, done.stderr
    assert "give --allow-lost-owners: proot runs it then" in done.stderr
    for number in "12":
        done = user.run(*NONE, *build, "--allow-lost-owners", f"--build-arg=N={number}", env={"S": "hush"})
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert re.search(r" 1\n#\d+ \S+ 2\n#\d+ \S+ a\n", done.stderr) and "hush" in done.stderr
    assert re.search(r" 1000\n#\d+ \S+ app\n", done.stderr) and "heredoc 1000 /home/app" in done.stderr
    assert "of this step are root's" in done.stderr
    found = members(user, "x")
    assert {"w/y", "w/l", "w/passwd", "home/app/mine"} <= found.keys()
    assert not {"w/null", "c", "missing", "t", "ctx", "run/secrets", "proc/self"} & found.keys()
    assert {(entry.uid, entry.gid) for name, entry in found.items() if name.startswith("w")} == {(0, 0)}
    assert not user.processes() and not list(user.scratch.glob("*/run/*"))


def test_proot_and_what_goes_wrong(user: Person) -> None:
    """Exit codes, a command that is not there, what proot cannot do, Ctrl-C."""
    def build(text: str, *options: str) -> str:
        user.write("p/iEchorfile", "FROM busybox\n" + text)
        done = user.run(*NONE, *user.command("build", "--allow-lost-owners", *options, "p"))
        assert done.returncode not in (0, 1) and "Traceback" not in done.stderr, done.stderr
        return done.stderr

    assert "exit code 7" in build("RUN exit 7\n") and "iEchorfile:2" in build("RUN kill -9 $$\n")
    assert "cannot run nothing: not found in PATH" in build('RUN ["nothing"]\n')
    assert "under proot there are none" in build("RUN --network=none true\n")
    assert "proot mounts nothing read-only" in build("RUN true\n", f"--volume={user.home}:/v:ro")
    user.write("p/iEchorfile", "FROM busybox\nRUN (sleep 6363 &) ; echo begun; sleep 6363\n")
    process = user.start(*NONE, *user.command("build", "--allow-lost-owners", "--progress=plain", "p"),
                         stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert any("begun" in line and "RUN" not in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    until(lambda: not user.processes())


def test_containers_under_proot(user: Person) -> None:
    """No layer is at stake: they run, and say what is missing."""
    def iechor(*words: str, code: int = 0) -> str:
        done = user.run(*NONE, *user.command(*words))
        assert done.returncode == code and "Traceback" not in done.stderr, (done.stdout, done.stderr)
        return done.stdout + done.stderr

    user.write("v/f", "volume")
    shown = iechor("run", "--rm", "-v", f"{user.home}/v:/v", "-e", "A=b", "busybox", "sh", "-c",
                   "id -u; cat /v/f; echo $A; echo made > /v/made; exit 3", code=3)
    assert "0\nvolume" in shown and "b\n" in shown and "user namespaces are not allowed here: proot" in shown
    assert (user.home / "v/made").read_text() == "made\n"
    assert "not found in PATH" in iechor("run", "--rm", "busybox", "nothing", code=127)
    assert "take --network=host" in iechor("run", "--rm", "-p", "80", "busybox", "true", code=125)
    iechor("run", "-d", "--name", "x", "-u", "app", "busybox", "sh", "-c",
           "trap 'echo bye; exit 4' TERM; echo up > /tmp/up; echo $(id -u); while :; do sleep 0.1; done")
    until(lambda: "1000" in iechor("logs", "x"))
    assert "up\n1000" in iechor("exec", "x", "sh", "-c", "cat /tmp/up; id -u")
    iechor("stop", "-t", "10", "x")
    assert "bye" in iechor("logs", "x") and "Exited (4)" in iechor("ps", "-a")
    iechor("rm", "x")
    assert not user.processes()


@pytest.mark.parametrize("kind", ["mount point", "folder"])
def test_real_root_in_a_chroot(root_user: Person, registry: Registry, busybox: str, kind: str) -> None:
    """The kernel makes no user namespace there, and no pivot_root where the root is no mount point."""
    person = root_user
    person.mirror(registry)
    person.write("c/iEchorfile", FILE)
    jail = person.home / "jail"
    (jail / "root").mkdir(parents=True)
    script = ["set -e; j=$1; shift"]
    if kind == "mount point":
        script += ["mount --rbind / $j/root"]
    else:
        script += ["mount -t tmpfs jail $j; mkdir $j/root; cd /",
                   "for d in *; do if [ -L $d ]; then cp -P $d $j/root/; elif [ -d $d ]; then mkdir $j/root/$d",
                   "mount --rbind /$d $j/root/$d; fi; done"]
    script += ['exec chroot $j/root env -C "$HOME" "$@"']
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(script), "sh", str(jail)]
    done = person.run(*inside, "unshare", "--user", "true")
    assert done.returncode != 0  # it really is one
    done = person.run(*inside, *person.command("build", "-q", "-t", "other", "c"), env={**EPOCH, "IECHOR_USERNS": ""})
    assert done.returncode == 0, done.stderr
    person.iechor("build", "-q", "--no-cache", "-t", "usual", "c", env=EPOCH)
    assert diff_ids(person, "other") == diff_ids(person, "usual")
    iechor = " ".join(person.command())
    lives = f"{iechor} run --name x -d other sleep 60 && {iechor} exec x ls -d /moved /jail; {iechor} rm -f x"
    told = person.run(*inside, "sh", "-c", lives, env={"IECHOR_USERNS": ""})
    assert "/moved" in told.stdout.split() and "/jail" not in told.stdout.split(), told.stderr
