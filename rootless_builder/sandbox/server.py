"""The server: exec'ed once for a build, single-threaded, forks a P1 for each step and reaps them (see child.py)."""

import gc
import os
import select
import signal
import socket
from typing import NoReturn

from ..errors import SandboxError
from . import child, denied, execute, linux, mounts, passwd, plan, privileges, wire
from .failures import encode
from .fakeroot import MountTable, Served
from .spec import prepare_classes


def main(control_fd: int) -> NoReturn:
    """The server: host namespaces, the caller's uid (root of the mapped namespace with --userns=subuid)."""
    control = socket.socket(fileno=control_fd)
    linux.set_name("iechor-server")
    os.chdir("/")  # P1 stands there too, so that P2's pivot_root moves it
    privileges.adopt_orphans()
    privileges.forget_ignored_signals()
    wake, wake_inner = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_inner, warn_on_full_buffer=False)
    running: dict[int, socket.socket | None] = {}  # P1 → where it takes the listeners of those who join
    prepare_forks()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if wake in ready:
            os.read(wake, 4096)
            reap(running)
        if control.fileno() in ready:
            message = wire.receive(control)
            if message is None:
                end(running)
            start_step(message, running, (control.fileno(), wake, wake_inner))


def prepare_forks() -> None:
    """What each of them would else do for itself; and what it writes to is a page that the kernel copies first."""
    prepare_classes(wire.Message, child.Request, mounts.Place, passwd.Identity, execute.Command,
                    execute.Prepared, plan.Step, MountTable, Served)
    denied.prepare()
    gc.freeze()


def start_step(message: wire.Message, running: dict[int, socket.socket | None], own: tuple[int, ...]) -> None:
    """Fork a P1, which keeps nothing of ours (`own`, `running`) but the channel it is meant to use."""
    server = os.getpid()
    target = message.body["join"]
    ours, theirs = (None, running.get(target)) if target else wire.pair()
    pid = fork_for(message)
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for channel in (ours, *running.values()):
            if channel is not None and channel is not theirs:
                channel.close()
        for fd in own:
            os.close(fd)
        child.supervise_step(message, server, theirs)
    if pid > 0:
        running[pid] = ours
    if theirs is not None and not target:
        theirs.close()
    for fd in message.fds:
        os.close(fd)


def fork_for(message: wire.Message) -> int:
    """The pid of a new P1, 0 in it; -1 where the system has no room for one, which the launcher is told."""
    try:
        return os.fork()
    except OSError as error:
        with socket.socket(fileno=os.dup(message.fds[2])) as report:
            wire.send(report, {"error": encode(SandboxError(f"cannot start a process: {error.strerror}"))})
        return -1


def reap(running: dict[int, socket.socket | None]) -> None:
    """Collect what has ended. What we inherited from a killed P1 is killed."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in running:
            running.pop(pid)
            if status:
                kill_inherited(running)


def kill_inherited(running: dict[int, socket.socket | None]) -> None:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as stream:
            children = stream.read().split()
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN: P2's death signal is what remains
        return
    for pid in set(map(int, children)) - running.keys():
        os.kill(pid, signal.SIGKILL)


def end(running: dict[int, socket.socket | None]) -> NoReturn:
    """The launcher is gone, or done: nothing may be left."""
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    while True:
        try:
            pid, _ = os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)
        running.pop(pid, None)
        kill_inherited(running)
