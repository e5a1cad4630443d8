"""The last acts before the command: who it is, where it stands, what it may do, and exec.

P1 does here what needs files of the container, whose root is its own by then and of whose user namespace it is root,
and makes a plan of the rest for the process that becomes the command. Nothing may be imported from here on: a module
would be looked for in the image.
"""

import contextlib
import errno
import fcntl
import os
import resource
import stat
import struct
import termios
from collections.abc import Callable, Iterator, Sequence

from ..errors import SandboxError
from ..values import dataclass
from . import denied, linux, passwd, privileges, wall
from .failures import ExecFailed, UserNotFound, act
from .passwd import Identity
from .plan import CAUSE, NOTHING_FOUND, Op, Step, failure, program
from .spec import DEFAULT_PATH, Given, SandboxSpec

TIOCGPTN = 0x80045430
TIOCSPTLCK = 0x40045431


def identify(user: str) -> Identity:
    return passwd.resolve(user, passwd.read_database("/etc/passwd"), passwd.read_database("/etc/group"))


def with_home(env: Sequence[str], home: str) -> dict[str, str]:
    """A later K=V wins, as in execve's readers."""
    pairs = dict(item.split("=", 1) for item in env if "=" in item)
    pairs.setdefault("HOME", home)
    return pairs


def open_terminal(identity: Identity, size: Sequence[int]) -> tuple[int, int]:
    """A new terminal of the container's own /dev/pts: (master, slave).

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


def limits(spec: SandboxSpec) -> Iterator[Step]:
    """Errors: SandboxError."""
    for item in spec.limits:
        number = getattr(resource, f"RLIMIT_{item.name.upper()}", None)
        if number is None:
            raise SandboxError(f"cannot set limit {item.name}: this system has no such limit")
        soft, hard = (resource.RLIM_INFINITY if value < 0 else value for value in (item.soft, item.hard))
        refused = SandboxError(f"cannot set limit {item.name} to {item.soft}:{item.hard}: {CAUSE}",
                               hint="a plain user cannot raise a hard limit of its own")
        yield Step(op=Op.LIMIT, a=number, data=struct.pack("=qq", soft, hard), failures=(failure(refused),))


def enter(path: str) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """What is done as root, and what remains where it takes the user's own rights to enter."""
    data = os.fsencode(path) + b"\0"
    refused = failure(SandboxError(f"cannot enter {path}: {CAUSE}", hint="name a folder this user may enter"),
                      errno.EACCES)
    missing = failure(SandboxError(f"cannot enter {path}: {CAUSE}",
                                   hint="make it with WORKDIR, or name another folder"))
    outside = failure(SandboxError(f"cannot enter {path}: it is outside the container"))
    first, again = (Step(op=Op.ENTER, a=number, data=data, failures=(refused, missing)) for number in (0, 1))
    inside = Step(op=Op.INSIDE, failures=(outside,))
    return (first, inside), (again, inside)


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


def become(user: str, identity: Identity, *, emulated: bool) -> tuple[Step, Step]:
    """The change of user, group and supplementary groups. emulated: the fakeroot supervisor carries it out."""
    refused = failure(SandboxError(f"cannot become user {user or 'root'}: {CAUSE}"))
    unmapped = failure(UserNotFound(
        f"cannot become uid {identity.uid}, gid {identity.gid}: only uid 0 exists in this sandbox",
        hint="use --userns=subuid, or run as root"), errno.EINVAL)
    kept = () if emulated else ((errno.EPERM, b""),)  # one mapped id: the kernel denies it, the user's own groups stay
    return (Step(op=Op.GROUPS, data=struct.pack(f"={len(identity.groups)}I", *identity.groups),
                 failures=(*kept, refused)),
            Step(op=Op.USER, a=identity.uid, b=identity.gid, failures=(unmapped, refused)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What becomes the command. stdio: three fds (not used with a tty); passed: further ones, to be 3, 4, …

    joining: into a running container (`exec`). show_master: gives a terminal's other end away. fakeroot_filter: loads
    it, or nothing is faked.
    """

    spec: SandboxSpec
    stdio: tuple[int, ...]
    passed: tuple[int, ...]
    joining: bool
    show_master: Callable[[int], None]
    fakeroot_filter: Step | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """fds: the command's own, as the steps count them; given away with the plan, ours to close."""

    steps: tuple[Step, ...]
    fds: tuple[int, ...]


def prepare(command: Command) -> Prepared:
    """P1, the container's root is its own. Errors: SandboxError."""
    spec, stdio = command.spec, command.stdio
    identity = identify(spec.user)
    terminal: tuple[Step, ...] = ()
    if spec.tty:
        with act("open a terminal"):
            master, slave = open_terminal(identity, spec.size)
        command.show_master(master)
        os.close(master)
        if not command.joining and spec.root:
            bind_console(slave)
        stdio = (slave, slave, slave)
        terminal = (Step(op=Op.TERMINAL, failures=(failure(SandboxError(f"cannot open a terminal: {CAUSE}")),)),)
    own_pipes(stdio, identity)
    made = make_folders(spec.cwd) if spec.make_cwd and not command.joining else []
    fds = (*stdio, *command.passed)
    entering, entering_again = enter(spec.cwd)
    keep = privileges.mask(privileges.capability_numbers(spec.capabilities))
    emulated = command.fakeroot_filter is not None
    steps = (Step(op=Op.SESSION), *terminal, *entering, Step(op=Op.FDS, a=len(fds)), *limits(spec),
             Step(op=Op.BOUND, a=keep, failures=(_UNBOUND,)), *wall.around_command(spec),
             *(denied.steps() if spec.confined else ()),
             *((command.fakeroot_filter, *map(_give, spec.given)) if command.fakeroot_filter else ()),
             *(Step(op=Op.OWNER, a=identity.uid, b=identity.gid, data=os.fsencode(folder) + b"\0", failures=_UNOWNED)
               for folder in made),
             *become(spec.user, identity, emulated=emulated), *entering_again,
             *(() if emulated else (Step(op=Op.REDUCE, a=keep),)),
             *((Step(op=Op.NO_NEW_PRIVILEGES),) if spec.no_new_privileges else ()), Step(op=Op.SIGNALS),
             *((Step(op=Op.UMASK, a=0o022),) if spec.root else ()), Step(op=Op.WATCH),
             run(spec.argv, with_home(spec.env, identity.home)))
    return Prepared(steps=steps, fds=fds)


_UNBOUND = failure(SandboxError(f"cannot bound the capabilities: {CAUSE}"))
# Where uid 0 alone exists, and nobody keeps owners, it stays root's.
_UNOWNED = ((errno.EINVAL, b""), failure(SandboxError(f"cannot give the working directory to its user: {CAUSE}")))


def _give(given: Given) -> Step:
    refused = SandboxError(f"cannot give {given.path} to {given.uid}:{given.gid}: {CAUSE}")
    return Step(op=Op.OWNER, a=given.uid, b=given.gid, data=os.fsencode(given.path) + b"\0",
                failures=(failure(refused),))


def run(argv: Sequence[str], env: dict[str, str]) -> Step:
    """exec, looking argv[0] up in the command's own PATH. ExecFailed: 127 not found, 126 not executable."""
    name = argv[0] if argv else ""
    if not name:
        raise ExecFailed("cannot run the command: it is empty", hint="set CMD or ENTRYPOINT, or name a command")
    path = env.get("PATH", DEFAULT_PATH)
    paths = [name] if "/" in name else [os.path.join(folder or ".", name) for folder in path.split(":")]
    wanted = f"cannot run {name}"
    where = "no such file in the image" if "/" in name else f"not found in PATH ({path})"
    loader = ExecFailed(f"{wanted}: it is there, its interpreter or loader is not", status=127,
                        hint="look at its first line, or at the C library it was linked for")
    foreign = ExecFailed(f"{wanted}: Exec format error", status=126,
                         hint="it is for another architecture, or a script without a #! line")
    return Step(op=Op.EXEC, data=program(paths, argv, [f"{key}={value}" for key, value in env.items()]), failures=(
        failure(ExecFailed(f"{wanted}: {where}", status=127), NOTHING_FOUND), failure(loader, errno.ENOENT),
        failure(loader, errno.ENOTDIR), failure(foreign, errno.ENOEXEC),
        failure(ExecFailed(f"{wanted}: {CAUSE}", status=126))))
