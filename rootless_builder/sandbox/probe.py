"""Trying out what this host allows, each in a process of its own, so that nothing of it stays.

Every answer is an errno, 0 for "it works". The parent's half is `probe`; the other runs in the child.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..values import dataclass
from . import hostroot, idmap, linux

BOOT = "import sys; sys.path[:0] = sys.argv[2:]; from rootless_builder.sandbox.probe import main; main(sys.argv[1])"
SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """namespace: unshare(CLONE_NEWUSER) itself; mapping: 0 → our id; mount: a first tmpfs; proc: a fresh procfs in a
    pid namespace; overlay: an overlay with its upper in the scratch folder, and a whiteout in it; network: a network
    namespace with lo up. None: not reached. A real root is asked without the user namespace.
    """

    namespace: int | None = None
    mapping: int | None = None
    mount: int | None = None
    proc: int | None = None
    overlay: int | None = None
    network: int | None = None


def probe(folder: Path) -> Answers:
    """folder: an existing folder of the scratch file system; a subfolder is made in it and removed again."""
    done = subprocess.run([sys.executable, "-I", "-S", "-X", "utf8", "-c", BOOT, str(folder),
                           str(Path(__file__).parents[2])],
                          stdin=subprocess.DEVNULL, capture_output=True, env={}, timeout=SECONDS, check=False)
    try:
        return Answers(**json.loads(done.stdout))
    except (ValueError, TypeError):
        return Answers()


def main(folder: str) -> None:
    """The child: host namespaces at first, the caller's uid."""
    answers: dict[str, int] = {}
    uid, gid = os.geteuid(), os.getegid()

    def attempt(name: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except OSError as error:
            answers[name] = error.errno or 1
            return False
        answers[name] = 0
        return True

    unshared = attempt("namespace", lambda: linux.unshare(
        linux.CLONE_NEWNS | (linux.CLONE_NEWUSER if uid else 0)))
    if unshared and attempt("mapping", lambda: _map(uid, gid)) and attempt("mount", _mount):
        attempt("overlay", lambda: _overlay(folder))
        attempt("network", _network)
        attempt("proc", _proc)
    sys.stdout.write(json.dumps(answers))


def _map(uid: int, gid: int) -> None:
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1\n")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1\n")


def _mount() -> None:
    hostroot.set_propagation(linux.MS_PRIVATE)
    linux.mount("tmpfs", "/sys", "tmpfs", 0)
    linux.umount2("/sys", linux.MNT_DETACH)


def _overlay(folder: str) -> None:
    base = os.path.join(folder, f"probe-{os.getpid()}")
    lower, upper, work, merged = (os.path.join(base, name) for name in ("lower", "upper", "work", "merged"))
    inner = (base, lower, upper, work, merged)
    for path in inner:
        os.mkdir(path, 0o700)
    try:
        Path(lower, "file").touch()
        here = os.open(base, os.O_PATH | os.O_DIRECTORY)
        os.fchdir(here)  # relative names: the folder's own may hold commas and colons
        option = "" if idmap.in_initial_namespace() else "userxattr,"
        options = f"{option}lowerdir=lower,upperdir=upper,workdir=work"
        linux.mount("overlay", "merged", "overlay", linux.MS_NODEV, options)
        try:
            os.remove("merged/file")
            os.mkdir("merged/folder")
        finally:
            linux.umount2("merged", linux.MNT_DETACH)
            os.chmod("work/work", 0o700)
    finally:
        os.chdir("/")
        _remove(base)


def _remove(folder: str) -> None:
    """A few entries of our own: shutil is a late import that the child does without."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            _remove(path)
        else:
            os.remove(path)
    os.rmdir(folder)


def _network() -> None:
    from .network import raise_loopback

    linux.unshare(linux.CLONE_NEWNET)
    raise_loopback()


def _proc() -> None:
    """By a child, since a pid namespace begins with the next process."""
    linux.unshare(linux.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        number = 1
        try:
            linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
            number = 0
        except OSError as error:
            number = error.errno or 1
        finally:
            os._exit(number)
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number:
        raise OSError(number, os.strerror(number))
