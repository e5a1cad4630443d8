"""The sandbox where a plain user may make no namespace: proot(1) shows the command another root by ptrace.

    P1                    as ever, but in the host's own namespaces
     └─ P2                makes mount points and generated files; ends what the command left when that has ended
         └─ proot         traces, and rewrites every path
              └─ command  its root is the folder; every file of ours is shown as root's, every change of owner "done"

What cannot be had: owners, a network or processes of its own, read-only mounts, an overlay. It is no boundary at all.
Nothing is imported once P2 has begun.
"""

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from ..errors import NamespaceError, SandboxError
from . import denied, execute, linux, mounts, passwd, plainfilter, wire
from .failures import ExecFailed, act
from .follower import follow
from .idmap import find_program
from .passwd import Identity
from .plan import Op, Step
from .rootdir import is_directory_in_root, open_in_root
from .spec import DEFAULT_PATH, Network, SandboxSpec
from .treebind import TreeBind

STAGING = "proot"  # beside the root folder, gone with it
PAUSE = 0.01  # seconds between two looks at what proot has started or left


def proot_program() -> str | None:
    """None where it is not installed."""
    return find_program("proot")


def prepare(spec: SandboxSpec) -> tuple[mounts.Place, list[str]]:
    """P2, host's files in sight: mount points, generated files, and proot's words up to the command.

    Errors: NamespaceError, SandboxError, ExecFailed, UserNotFound.
    """
    if spec.network is not Network.HOST:
        raise NamespaceError("cannot make a network namespace: under proot there are none",
                             hint="take --network=host, which is all that works here")
    if spec.read_only:
        raise SandboxError("cannot make the root read-only: proot cannot")
    with act(f"open the root folder {spec.root}"):
        root = os.open(spec.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        staging = os.path.join(os.path.dirname(spec.root), STAGING)
        os.makedirs(staging, 0o700, exist_ok=True)
    place = mounts.Place(root=spec.root, root_fd=root, own_network=False, host_root=False, mount_proc=mounts.mount_proc,
                         staging_fd=os.open(staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    identity = _identify(root, spec.user)
    if not is_directory_in_root(root, spec.cwd):
        raise SandboxError(f"cannot enter {spec.cwd}: no such folder", hint="make it with WORKDIR")
    _look_up(root, spec)
    words = [spec.proot, "-r", spec.root, "-w", spec.cwd, "-i", f"{identity.uid}:{identity.gid}"]
    for mount in spec.mounts:
        with act(mount.describe()):
            source = _source(mount, place, staging)
            (place.directory if os.path.isdir(source) else place.file)(mount.target)
            words += ["-b", f"{source}:{mount.target}"]
    return place, words


def _identify(root: int, user: str) -> Identity:
    texts = []
    for name in ("/etc/passwd", "/etc/group"):
        try:
            fd = open_in_root(root, name, directory=False)
        except OSError:
            texts.append("")
            continue
        texts.append(passwd.read_database(mounts.fd_path(fd)))
        os.close(fd)
    return passwd.resolve(user, *texts)


def _look_up(root: int, spec: SandboxSpec) -> None:
    """proot itself would say that with its own words, and exit code 1. Errors: ExecFailed."""
    name = spec.argv[0] if spec.argv else ""
    if not name:
        raise ExecFailed("cannot run the command: it is empty", hint="set CMD or ENTRYPOINT, or name a command")
    path = execute.with_home(spec.env, "/").get("PATH", DEFAULT_PATH)
    for folder in ["" if name.startswith("/") else spec.cwd] if "/" in name else path.split(":"):
        if is_directory_in_root(root, f"{folder}/{name}") is False:
            return
    where = "no such file in the image" if "/" in name else f"not found in PATH ({path})"
    raise ExecFailed(f"cannot run {name}: {where}", status=127)


def _source(mount: Any, place: mounts.Place, staging: str) -> str:
    """The host's path that stands for the mount."""
    if isinstance(mount, mounts.FileBind):
        path = os.path.join(staging, _new_name(place))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as stream:
            stream.write(mount.content.encode("utf-8", "surrogateescape"))
        os.chmod(path, mount.mode | 0o600)
        return path
    if isinstance(mount, mounts.Tmpfs):
        path = os.path.join(staging, _new_name(place))
        os.makedirs(path, 0o700, exist_ok=True)  # `exec` finds the container's own
        os.chmod(path, mount.mode | 0o700)
        return path
    if isinstance(mount, mounts.Bind):
        if mount.read_only:
            raise OSError(0, "proot mounts nothing read-only")
        return mount.source
    if isinstance(mount, TreeBind) and mount.overlay is None:
        tree = os.open(mount.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        directory = is_directory_in_root(tree, mount.source)
        if directory is None:
            raise FileNotFoundError(2, f"there is no {mount.source} in what is mounted")
        return os.readlink(mounts.fd_path(open_in_root(tree, mount.source, directory=directory)))
    if isinstance(mount, mounts.Proc | mounts.Dev | mounts.Sysfs):
        return str(mount.target)  # the host's
    raise OSError(0, "proot cannot")


def _new_name(place: mounts.Place) -> str:
    place.staged += 1
    return str(place.staged)


def start(spec: SandboxSpec, words: Sequence[str], fds: Sequence[int], report: socket.socket,
          link: socket.socket) -> NoReturn:
    """P2's child: becomes proot. fds: the command's 0, 1, 2 (not with a terminal) and further ones. report, link: as
    a follower has them. Errors: SandboxError, OwnershipError, ExecFailed.
    """
    identity = _identify(os.open(spec.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), spec.user)
    if spec.tty:
        os.setsid()
        with act("open a terminal"):
            master, slave = execute.open_terminal(identity, spec.size)
        wire.send(report, {"master": True}, (master,))
        os.close(master)
        fds = (slave, slave, slave, *fds[3:])
    # proot takes EPERM for "done" by itself, but in an outer container the kernel has other answers, too.
    steps = (*((Step(op=Op.TERMINAL),) if spec.tty else ()), Step(op=Op.FDS, a=len(fds)), *execute.limits(spec),
             Step(op=Op.UMASK, a=0o022), Step(op=Op.SIGNALS), Step(op=Op.NO_NEW_PRIVILEGES),
             *(denied.steps() if spec.confined else ()), plainfilter.step(), Step(op=Op.WATCH),
             execute.run([*words, *spec.argv], execute.with_home(spec.env, identity.home)))
    follow(steps, report.fileno(), fds, link.fileno())


def attend(tracer: int, forward: Callable[[int], None]) -> int:
    """P2: until proot has ended; its wait status. What the command leaves running ends with it: proot would wait.

    forward: told the command's pid once it is there, for signals. Orphans are ours to reap (adopt_orphans).
    """
    command = _first_child(tracer)
    if command:
        forward(command)
        try:
            _await_end(command)
        except OSError:  # no pidfd before Linux 5.3: then proot waits for all that the command left, and we for proot
            os.waitid(os.P_PID, tracer, os.WEXITED | os.WNOWAIT)
    while True:
        for pid in [*_descendants(os.getpid())]:
            if pid != tracer:
                _kill(pid)
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if found[0] == tracer:
                return found[1]
        select.select([], [], [], PAUSE)


def _first_child(tracer: int) -> int:
    """The command; 0 when it has ended already, which proot's end tells, or an orphan that it left."""
    while os.waitid(os.P_PID, tracer, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if children := _children(tracer):
            return children[0]
        if _children(os.getpid()) != [tracer]:
            break
        select.select([], [], [], PAUSE)
    return 0


def _await_end(command: int) -> None:
    try:
        fd = linux.pidfd_open(command)
    except ProcessLookupError:
        return
    select.select([fd], [], [])
    os.close(fd)


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
