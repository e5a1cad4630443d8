"""What native/pid1.c and pid1_plan.c do, in Python: for an installation without them, for a command that is traced, and
for proot. plan.py says what the steps mean; tests hold the two equal.
"""

import contextlib
import errno
import fcntl
import os
import resource
import select
import socket
import stat
import struct
import termios
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn

from . import linux, mounts, plainfilter, plan, privileges, reaper, tracing, wire
from .fakeroot import load
from .plan import Op, Step
from .tracing import Gate

_MOST_FDS = 200
_HIGH_FD = 64  # above what a command is given


def live(link: int, gate: Gate | None, final: int | None) -> NoReturn:
    """Pid 1. gate: the command waits there; where it can be traced, the owners that it loses go to `final`."""
    try:
        _close_all_but((0, 1, 2, link, *(() if gate is None else gate.fds), *(() if final is None else (final,))))
        os.setsid()
        privileges.die_with_parent()
        _serve(wire.opened(link), gate, final)
    finally:
        os._exit(1)


def _close_all_but(kept: Iterable[int]) -> None:
    low = 0
    for fd in sorted(kept):
        if low < fd:  # an empty range at 0 is all of them to CPython 3.11
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _serve(link: socket.socket, gate: Gate | None, final: int | None) -> None:
    while True:
        kind, fds, _, _ = socket.recv_fds(link, 1, _MOST_FDS, socket.MSG_CMSG_CLOEXEC)
        if not fds:
            return
        if kind == b"p":
            _mount_proc(link, fds[0])
            continue
        file, report, *given = fds
        with open(file, "rb") as stream:
            steps = list(plan.unpack(os.pread(file, os.fstat(stream.fileno()).st_size, 0)))
        command = 0
        if kind == b"c" or (command := os.fork()) == 0:
            follow(steps, report, given, link.fileno(), gate)
        _attend(command, link, gate, final)


def _mount_proc(link: socket.socket, folder: int) -> None:
    number = 0
    try:
        mounts.mount_proc(folder)
    except OSError as error:
        number = error.errno or errno.EIO
    os.close(folder)
    link.send(number.to_bytes(4, "little", signed=True))


def _attend(command: int, link: socket.socket, gate: Gate | None, final: int | None) -> NoReturn:
    """Root inside with every capability there, so it shows its memory to nobody. Holds none of the step's output,
    whose readers wait for its end. When it ends, the kernel kills whoever is left.
    """
    privileges.hide_memory()
    linux.set_name("iechor-init")
    _close_all_but((0, 1, 2, link.fileno(), *(() if gate is None else gate.fds), *(() if final is None else (final,))))
    status = None
    if gate is not None and final is not None:
        reaper.forward_signals(command)
        if gate.open(command):
            os.write(final, tracing.HEADER)
            status = tracing.follow(command, lambda line: os.write(final, line))
    wire.send(link, {"status": reaper.await_command(command) if status is None else status})
    os._exit(0)


def follow(steps: Iterable[Step], report: int, given: Sequence[int], link: int, gate: Gate | None = None) -> NoReturn:
    """Become the command. A step that fails says so on `report`."""
    process = _Follower(report, given, link, gate)
    for step in steps:
        try:
            _CALLS[Op(step.op)](process, step)
        except OSError as error:
            text = plan.explained(step, error.errno or 0)
            if text:
                os.write(process.report, text)
                break
    os._exit(1)


class _Follower:
    """The process. Each step is a method; OSError says that it failed."""

    def __init__(self, report: int, given: Sequence[int], link: int, gate: Gate | None) -> None:
        self.report = report
        self._given = list(given)
        self._link = link
        self._gate = gate
        self._refused = False

    def session(self, _: Step) -> None:
        if os.getsid(0) != os.getpid():
            os.setsid()

    def terminal(self, step: Step) -> None:
        fcntl.ioctl(self._given[step.a], termios.TIOCSCTTY, 0)

    def fds(self, step: Step) -> None:
        high = min(_HIGH_FD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._link, self.report, *self._given = (
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high) for fd in (self._link, self.report, *self._given))
        for target, fd in enumerate(self._given[:step.a]):
            os.dup2(fd, target)
        try:
            linux.close_range_cloexec(step.a)
        except OSError:
            for fd in range(step.a, resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
                with contextlib.suppress(OSError):
                    os.set_inheritable(fd, False)

    def enter(self, step: Step) -> None:
        if step.a and not self._refused:
            return
        self._refused = False
        try:
            os.chdir(step.data[:-1])
        except PermissionError:
            self._refused = True
            if step.a:
                raise

    def inside(self, _: Step) -> None:
        if not self._refused and not os.getcwdb().startswith(b"/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def limit(self, step: Step) -> None:
        try:
            resource.setrlimit(step.a, struct.unpack("=qq", step.data))
        except ValueError:  # so Python says EPERM and EINVAL
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None

    def bound(self, step: Step) -> None:
        privileges.bound(step.a)

    def keyring(self, _: Step) -> None:
        with contextlib.suppress(OSError):
            linux.join_new_session_keyring()

    def scope(self, step: Step) -> None:
        with contextlib.suppress(OSError):
            linux.landlock_scope(step.a)

    def filter(self, step: Step) -> None:
        linux.set_seccomp_filter(step.data)

    def listener(self, step: Step) -> None:
        listener = load(fsync=bool(step.b))
        with socket.socket(fileno=os.dup(self._link if step.a < 0 else self._given[step.a])) as channel:
            socket.send_fds(channel, [b"1"], [listener])
        os.close(listener)

    def owner(self, step: Step) -> None:
        os.chown(step.data[:-1], step.a, step.b)

    def groups(self, step: Step) -> None:
        os.setgroups(struct.unpack(f"={len(step.data) // 4}I", step.data))

    def user(self, step: Step) -> None:
        os.setresgid(step.b, step.b, step.b)
        os.setresuid(step.a, step.a, step.a)

    def reduce(self, step: Step) -> None:
        privileges.reduce(step.a)

    def no_new_privileges(self, _: Step) -> None:
        privileges.forbid_new_privileges()

    def signals(self, _: Step) -> None:
        privileges.restore_signals()

    def umask(self, step: Step) -> None:
        os.umask(step.a)

    def watch(self, _: Step) -> None:
        privileges.die_with_parent()
        if select.select([self._link], [], [], 0)[0]:
            os._exit(1)

    def gate(self, _: Step) -> None:
        linux.set_seccomp_filter(plainfilter.program(os.uname().machine,
                                                     traced=self._gate is not None and self._gate.wait()))

    def exec(self, step: Step) -> None:
        paths, argv, env = plan.words(step.data)
        failed: OSError | None = None
        for path in paths:
            try:
                os.execve(path, argv, dict(pair.split(b"=", 1) for pair in env))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR) or _is_file(path):
                    failed = failed or error
        raise failed or OSError(plan.NOTHING_FOUND, "")


_CALLS: Mapping[Op, Callable[[_Follower, Step], None]] = MappingProxyType({
    Op.SESSION: _Follower.session, Op.TERMINAL: _Follower.terminal, Op.FDS: _Follower.fds, Op.ENTER: _Follower.enter,
    Op.INSIDE: _Follower.inside, Op.LIMIT: _Follower.limit, Op.BOUND: _Follower.bound, Op.KEYRING: _Follower.keyring,
    Op.SCOPE: _Follower.scope, Op.FILTER: _Follower.filter, Op.LISTENER: _Follower.listener,
    Op.OWNER: _Follower.owner, Op.GROUPS: _Follower.groups, Op.USER: _Follower.user, Op.REDUCE: _Follower.reduce,
    Op.NO_NEW_PRIVILEGES: _Follower.no_new_privileges, Op.SIGNALS: _Follower.signals, Op.UMASK: _Follower.umask,
    Op.WATCH: _Follower.watch, Op.GATE: _Follower.gate, Op.EXEC: _Follower.exec})


def _is_file(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
