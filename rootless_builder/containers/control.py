"""What the commands do to containers: list, signal, stop, wait, remove. exec is in execute.py."""

import contextlib
import os
import select
import signal
import socket
import time

from ..errors import ContainerError
from ..values import dataclass
from . import channel
from .folders import Containers
from .state import LOST, Container, ContainerState, Status

_PATIENCE = 10.0  # seconds: from SIGKILL, or from the start of a monitor, until we take it for stuck
_ANSWER = 5.0  # seconds: for one answer of a monitor
_PAUSE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A container and what became of it, read at one moment."""

    container: Container
    state: ContainerState


def list_containers(containers: Containers, *, all: bool = False) -> list[Listed]:
    """Newest first; without `all` only those that run."""
    found = []
    for container in containers.newest_first():
        with contextlib.suppress(ContainerError):  # removed between the two reads, or damaged
            state = container.state()
            if all or state.status is Status.RUNNING:
                found.append(Listed(container=container, state=state))
    return found


def status_text(state: ContainerState, now: float) -> str:
    """As ps shows it: "Up 3 seconds", "Exited (0) 2 minutes ago", "Created"."""
    if state.status is Status.RUNNING:
        return f"Up {age(now - state.started)}"
    if state.status is Status.EXITED:
        return f"Exited ({state.exit_code}) {age(now - state.finished)} ago"
    return "Created"


def age(seconds: float) -> str:
    """ "3 seconds", "About a minute", "2 hours", "5 days": docker's words."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return f"{whole} second{'s' * (whole != 1)}"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    return f"{days} days" if days < 14 else f"{days // 7} weeks"


def signal_container(container: Container, number: int) -> None:
    """Sends `number` to pid 1. Errors: ContainerError when it does not run."""
    if container.state().status is Status.EXITED:
        raise ContainerError(f"cannot send a signal to container {container.name}: it is not running",
                             hint="see its state: iechor ps -a --format json")
    with reach(container) as end:
        _ask(end, {"op": "signal", "signal": number}, container)


def wait(container: Container) -> int:
    """The exit code, once the container has ended."""
    if container.state().status is Status.EXITED:
        return container.state().exit_code
    try:
        with reach(container) as end:
            channel.send(end, {"op": "wait"})
            return _exit_code(container, end)
    except (OSError, ContainerError):
        return _recorded(container)


def stop(container: Container, *, number: int | None = None, timeout: float = 10.0) -> None:
    """STOPSIGNAL (or `number`), and SIGKILL after `timeout` seconds. One that has ended already is no error.

    Errors: ContainerError when even SIGKILL does not end it.
    """
    if container.state().status is Status.EXITED:
        return
    try:
        with reach(container) as waiting:
            channel.send(waiting, {"op": "wait"})
            signal_container(container, number or container.config.stop_signal)
            if _readable(waiting, timeout):
                return
            signal_container(container, signal.SIGKILL)
            if _readable(waiting, _PATIENCE):
                return
    except (OSError, ContainerError):
        if _gone(container):
            return
    _force(container)


def remove(containers: Containers, container: Container, *, force: bool = False, timeout: float = 10.0) -> None:
    """Errors: ContainerError when it runs and `force` is off."""
    if container.state().status is not Status.EXITED:
        if not force:
            raise ContainerError(f"cannot remove container {container.name}: it is running",
                                 hint=f"stop it first, or: iechor rm -f {container.name}")
        stop(container, timeout=timeout)
    containers.discard(container.id, container.name)


def _gone(container: Container) -> bool:
    try:
        return container.state().status is Status.EXITED
    except ContainerError:
        return True


def _recorded(container: Container) -> int:
    """The exit code that state.json tells once the monitor is out of reach."""
    with contextlib.suppress(ContainerError):
        _await_monitor(container, None)
        return container.state().exit_code
    return LOST


def _force(container: Container) -> None:
    """The monitor does not answer. It and pid 1 are killed; each takes the sandbox along."""
    with contextlib.suppress(ContainerError):
        state = container.state()
        for mark in (state.init, state.monitor):
            if mark is not None and mark.alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(mark.pid, signal.SIGKILL)
        _await_monitor(container, _PATIENCE)
        if not _gone(container):
            raise ContainerError(f"cannot stop container {container.name}: it does not end on SIGKILL",
                                 hint="a process in it waits for a device or a network file system; see `ps -ef`")


def _await_monitor(container: Container, timeout: float | None) -> None:
    monitor = container.state().monitor
    if monitor is None or not monitor.alive:
        return
    try:
        pidfd = os.pidfd_open(monitor.pid)
    except ProcessLookupError:
        return
    try:
        _readable(pidfd, timeout)
    finally:
        os.close(pidfd)


def reach(container: Container) -> socket.socket:
    """A connection to the monitor; one that is just starting gets a moment. Errors: ContainerError."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return channel.connect(container.folder)
        except OSError as error:
            if container.state().status is Status.EXITED or time.monotonic() > deadline:
                raise ContainerError(f"cannot reach the monitor of container {container.name}: {error.strerror}",
                                     hint=f"remove it: iechor rm -f {container.name}") from error
        time.sleep(_PAUSE)


def _ask(end: socket.socket, message: dict[str, object], container: Container) -> None:
    """One message and its answer."""
    channel.send(end, message)
    answer = channel.receive(end) if _readable(end, _ANSWER) else None
    if answer is None:
        raise ContainerError(f"cannot reach container {container.name}: its monitor does not answer",
                             hint=f"remove it: iechor rm -f {container.name}")
    if "error" in answer[0]:
        raise ContainerError(str(answer[0]["error"]))


def _exit_code(container: Container, end: socket.socket) -> int:
    answer = channel.receive(end)
    return int(answer[0]["exit_code"]) if answer else _recorded(container)


def _readable(what: int | socket.socket, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(what, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0, timeout) * 1000))
