"""The last acts before the command: who it is, where it stands, what it may do, and exec.

Runs in the process that becomes the command, with the container's root as its own, as root of the container's user
namespace. Nothing may be imported from here on: a module would be looked for in the image.
"""

import contextlib
import errno
import fcntl
import os
import resource
import stat
import struct
import termios
from collections.abc import Callable, Sequence
from typing import NoReturn

from ..errors import SandboxError
from ..values import dataclass
from . import denied, linux, passwd, privileges, wall
from .failures import ExecFailed, UserNotFound, act
from .passwd import Identity
from .spec import DEFAULT_PATH, SandboxSpec

_HIGH_FD = 64  # above what a command is given
TIOCGPTN = 0x80045430
TIOCSPTLCK = 0x40045431


def high_fd() -> int:
    """The lowest number of fds that are still in use when a command's own become 0, 1, 2 …; below RLIMIT_NOFILE."""
    return min(_HIGH_FD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


def identify(user: str) -> Identity:
    return passwd.resolve(user, passwd.read_database("/etc/passwd"), passwd.read_database("/etc/group"))


def with_home(env: Sequence[str], home: str) -> dict[str, str]:
    """A later K=V wins, as in execve's readers."""
    pairs = dict(item.split("=", 1) for item in env if "=" in item)
    pairs.setdefault("HOME", home)
    return pairs


def open_terminal(identity: Identity, size: Sequence[int]) -> tuple[int, int]:
    """A new terminal of the container's own /dev/pts: (master, slave). It becomes the controlling one.

    size: (rows, columns), or () when nobody knows; set before the command begins, who may ask for it at once.
    """
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, struct.pack("i", 0)))[0]
    name = f"/dev/pts/{number}"
    slave = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        os.fchown(slave, identity.uid, -1)
    except OSError:  # an id that is not mapped here: the fakeroot supervisor answers for it
        pass
    if size:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    return master, slave


def bind_console(slave: int) -> None:
    """/dev/console is the terminal, as Docker has it. Needs the mounts' privileges, so before capabilities go."""
    with act("mount the terminal on /dev/console"):
        os.close(os.open("/dev/console", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600))
        linux.mount(os.ttyname(slave), "/dev/console", None, linux.MS_BIND)


def own_pipes(fds: Sequence[int], identity: Identity) -> None:
    """A program of a plain user may open /dev/stdout anew (nginx does): the pipe behind it has to be its own."""
    for fd in fds:
        if identity.uid and stat.S_ISFIFO(os.fstat(fd).st_mode):
            try:
                os.fchown(fd, identity.uid, -1)
            except OSError:
                pass


def limit(spec: SandboxSpec) -> None:
    """Errors: SandboxError."""
    for item in spec.limits:
        number = getattr(resource, f"RLIMIT_{item.name.upper()}", None)
        if number is None:
            raise SandboxError(f"cannot set limit {item.name}: this system has no such limit")
        soft, hard = (resource.RLIM_INFINITY if value < 0 else value for value in (item.soft, item.hard))
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as error:
            raise SandboxError(f"cannot set limit {item.name} to {item.soft}:{item.hard}: {error}",
                               hint="A plain user cannot raise a hard limit of its own.") from None


def enter_directory(path: str) -> bool:
    """False where it takes the user's own rights to enter it (tried again after the change of user).

    Errors: SandboxError.
    """
    try:
        os.chdir(path)
    except PermissionError:
        return False
    except OSError as error:
        raise SandboxError(f"cannot enter {path}: {os.strerror(error.errno or 0)}",
                           hint="Make it with WORKDIR, or name another folder.") from None
    try:
        inside = os.getcwdb().startswith(b"/")  # "(unreachable)", or ENOENT, through a leaked fd (CVE-2024-21626)
    except OSError:
        inside = False
    if not inside:
        raise SandboxError(f"cannot enter {path}: it is outside the container")
    return True


def make_folders(path: str) -> list[str]:
    """mkdir -p; those that were made. What is in the way is said by whoever enters it."""
    missing = [path]
    while not os.path.lexists(above := os.path.dirname(missing[-1])):
        missing.append(above)
    if os.path.lexists(path):
        return []
    umask = os.umask(0o022)
    try:
        with contextlib.suppress(OSError):
            os.makedirs(path, 0o755)
    finally:
        os.umask(umask)
    return [folder for folder in missing if os.path.isdir(folder)]


def give(path: str, uid: int, gid: int) -> None:
    """Where uid 0 alone exists, and nobody keeps owners, it stays root's. Errors: OSError."""
    try:
        os.chown(path, uid, gid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def become(identity: Identity, *, emulated: bool) -> None:
    """The change of user, group and supplementary groups. emulated: the fakeroot supervisor carries it out."""
    try:
        os.setgroups(identity.groups)
    except PermissionError:  # one mapped id: the kernel denies setgroups, the user's own groups stay
        if emulated:
            raise
    try:
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise UserNotFound(f"cannot become uid {identity.uid}, gid {identity.gid}: only uid 0 exists in this sandbox",
                           hint="Use --userns=subuid, or run as root.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What becomes the command. stdio: three fds (not used with a tty); passed: further ones, to be 3, 4, …

    joining: into a running container (`exec`). show_master: gives a terminal's other end away. install_filter: loads
    the fakeroot filter into this process, or None. Channels still in use lie at high_fd() and above.
    """

    spec: SandboxSpec
    stdio: tuple[int, ...]
    passed: tuple[int, ...]
    joining: bool
    show_master: Callable[[int], None]
    install_filter: Callable[[], None] | None


def prepare(command: Command) -> dict[str, str]:
    """Everything but exec. Returns the environment. Errors: SandboxError."""
    spec, stdio = command.spec, command.stdio
    identity = identify(spec.user)
    if os.getsid(0) != os.getpid():
        os.setsid()
    if spec.tty:
        with act("open a terminal"):
            master, slave = open_terminal(identity, spec.size)
        command.show_master(master)
        os.close(master)
        if not command.joining and spec.root:
            bind_console(slave)
        stdio = (slave, slave, slave)
    own_pipes(stdio, identity)
    made = make_folders(spec.cwd) if spec.make_cwd and not command.joining else []
    entered = enter_directory(spec.cwd)
    place_fds([*stdio, *command.passed])
    limit(spec)
    keep = privileges.capability_numbers(spec.capabilities)
    with act("bound the capabilities"):
        privileges.bound(keep)
    wall.around_command(spec)
    if spec.confined:
        denied.install()
    emulated = command.install_filter is not None
    if command.install_filter is not None:
        command.install_filter()  # needs CAP_SYS_ADMIN, which the exec will not keep
        for one in spec.given:
            with act(f"give {one.path} to {one.uid}:{one.gid}"):
                os.chown(one.path, one.uid, one.gid)
    for folder in made:
        give(folder, identity.uid, identity.gid)
    with act(f"become user {spec.user or 'root'}"):
        become(identity, emulated=emulated)
    if not entered and not enter_directory(spec.cwd):
        raise SandboxError(f"cannot enter {spec.cwd}: Permission denied", hint="Name a folder this user may enter.")
    if not emulated:
        privileges.reduce(keep)
    if spec.no_new_privileges:
        privileges.forbid_new_privileges()
    umask = os.umask(0o022)
    privileges.restore_signals()
    if not spec.root:
        os.umask(umask)  # the caller's own
    return with_home(spec.env, identity.home)


def place_fds(fds: Sequence[int]) -> None:
    """Make `fds` 0, 1, 2, 3 …, and everything else close-on-exec, whoever opened it."""
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high_fd()) for fd in fds]
    for target, fd in enumerate(moved):
        os.dup2(fd, target)
    try:
        linux.close_range_cloexec(len(fds))
    except OSError:
        for name in os.listdir("/proc/self/fd"):
            if int(name) >= len(fds):
                try:
                    os.set_inheritable(int(name), False)
                except OSError:  # the listing's own fd
                    pass


def run_command(argv: Sequence[str], env: dict[str, str]) -> NoReturn:
    """exec, looking argv[0] up in the command's own PATH. ExecFailed: 127 not found, 126 not executable."""
    name = argv[0] if argv else ""
    if not name:
        raise ExecFailed("cannot run the command: it is empty", hint="Set CMD or ENTRYPOINT, or name a command.")
    folders = [""] if "/" in name else env.get("PATH", DEFAULT_PATH).split(":")
    failed: OSError | None = None
    for folder in folders:
        path = name if "/" in name else os.path.join(folder or ".", name)
        try:
            os.execve(path, list(argv), env)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) or os.path.lexists(path) and os.path.isfile(path):
                failed = failed or error
    raise _explain(name, failed, env)


def _explain(name: str, failed: OSError | None, env: dict[str, str]) -> ExecFailed:
    wanted = f"cannot run {name}"
    if failed is None:
        if "/" in name:
            return ExecFailed(f"{wanted}: no such file in the image", status=127)
        return ExecFailed(f"{wanted}: not found in PATH ({env.get('PATH', DEFAULT_PATH)})", status=127)
    if failed.errno in (errno.ENOENT, errno.ENOTDIR):
        return ExecFailed(f"{wanted}: it is there, its interpreter or loader is not", status=127,
                          hint="Look at its first line, or at the C library it was linked for.")
    if failed.errno == errno.ENOEXEC:
        return ExecFailed(f"{wanted}: Exec format error", status=126,
                          hint="It is for another architecture, or a script without a #! line.")
    return ExecFailed(f"{wanted}: {os.strerror(failed.errno or 0)}", status=126)
