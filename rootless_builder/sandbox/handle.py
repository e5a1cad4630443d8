"""A sandbox as its launcher holds it: how it started, how it ended, how to end it."""

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import NamespaceError, SandboxError
from . import linux, outbound, wire
from .failures import cause, decode
from .fakeroot import read_final
from .idmap import IdMode, map_text
from .spec import ExitStatus, Network, Port, SandboxSpec, Usage, with_owners

PIPE = -1
NO_WAY_OUT = ("the container reaches nothing outside: a private network needs slirp4netns and access to "
              f"{outbound.TUN} for that")


class Sandbox:
    """A running command. pid: P1, the process to `join`. init_pid: pid 1 inside. outputs: stream → fd to read, for
    PIPEs. master: the terminal's other end. created: mount points made in the root, as image paths. notices: what
    the user should know. ports: the host's ports as bound.
    """

    def __init__(self, spec: SandboxSpec, status: socket.socket, report: socket.socket, final: int | None,
                 ports: tuple[int, ...]) -> None:
        self.spec = spec
        self.pid = 0
        self.init_pid = 0
        self.pidfd: int | None = None
        self.outputs: dict[int, int] = {}
        self.master: int | None = None
        self.created: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self.ports: tuple[Port, ...] = tuple(
            Port(host_ip=port.host_ip, host_port=number, container_port=port.container_port)
            for port, number in zip(spec.ports, ports, strict=False))
        self._init_pidfd: int | None = None
        self._status = status
        self._report: socket.socket | None = report
        self._final = final
        self._exit: ExitStatus | None = None
        self._ended = False
        self._outbound: outbound.Outbound | None = None
        self._afterwards: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def inner_fd(self, stream: int, given: int | None, ours: list[int]) -> int:
        """The child's fd for 0, 1 or 2: what was given, nothing, or a pipe."""
        if self.spec.tty or given is None:
            ours.append(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        elif given == PIPE:
            self.outputs[stream], inner = os.pipe2(os.O_CLOEXEC)
            ours.append(inner)
        else:
            return given
        return ours[-1]

    def await_start(self) -> None:
        """Until the command runs, which is when the report socket ends. Errors: SandboxError."""
        assert self._report is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._report, selectors.EVENT_READ)
            selector.register(self._status, selectors.EVENT_READ)
            while self._report is not None:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._report in ready:
                    self._read_report(selector)
                elif not self._read_status():
                    selector.unregister(self._status)
        while not self.init_pid and self._read_status():  # sent before P2 could exec
            pass
        if self._ended and self._exit is None:
            raise SandboxError("cannot start the command: the sandbox was killed")

    def _read_report(self, selector: selectors.BaseSelector) -> None:
        assert self._report is not None
        message = wire.receive(self._report)
        if message is None:
            selector.unregister(self._report)
            self._report.close()
            self._report = None
            return
        if "error" in message.body:
            raise decode(message.body["error"])
        if "master" in message.body:
            self.master = message.fds[0]
        if "created" in message.body:
            self.created = tuple(message.body["created"])
            self.notices += tuple(message.body["notices"])

    def _read_status(self) -> bool:
        """One message of P1. False at its end."""
        message = wire.receive(self._status)
        if message is None:
            self._ended = True
            return False
        body = message.body
        if "pid" in body:
            self.pid, self.pidfd = body["pid"], next(iter(message.fds), None)
        elif "init" in body:
            self.init_pid, self._init_pidfd = body["init"], next(iter(message.fds), None)
        elif "unshared" in body:
            self._map_ids()
            self._connect()
            wire.send(self._status, {"go": True})
        elif "exit" in body:
            self._exit = exit_status(body["exit"], body["usage"])
        return True

    def _map_ids(self) -> None:
        ids = self.spec.ids
        if ids is None or ids.mode is not IdMode.SUBUID:
            return
        try:
            Path(f"/proc/{self.pid}/uid_map").write_text(map_text(ids.uids))
            Path(f"/proc/{self.pid}/gid_map").write_text(map_text(ids.gids))
        except OSError as error:
            raise NamespaceError(f"cannot map ids into the sandbox: {cause(error)}") from error

    def _connect(self) -> None:
        if self.spec.network is not Network.PRIVATE:
            return
        self._outbound = outbound.start_outbound(self.pid)
        if self._outbound is None:
            self.notices += (NO_WAY_OUT,)

    def end_fd(self) -> int:
        """Readable when the end is near: then poll until it answers."""
        return self._status.fileno() if self.pidfd is None else self.pidfd

    def poll(self) -> ExitStatus | None:
        """How the command ended, None while it runs. Not None: every process of it is dead, its mounts are gone."""
        return self.wait(timeout=0)

    def wait(self, timeout: float | None = None) -> ExitStatus | None:
        """Like poll, after at most `timeout` seconds. A sandbox killed from outside counts as ended by SIGKILL."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._status, selectors.EVENT_READ)
            while not self._ended:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not selector.select(left):
                    return None
                self._read_status()
        if self.pidfd is not None:  # P1's fds close before its mount namespace goes; the pidfd tells when all is gone
            with selectors.DefaultSelector() as selector:
                selector.register(self.pidfd, selectors.EVENT_READ)
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not selector.select(left):
                    return None
        if self._exit is None:
            self._send_signal(self._init_pidfd, 0, signal.SIGKILL)
            self._exit = exit_status(signal.SIGKILL, None)
        return self._exit

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal pid 1 inside. SIGKILL ends every process; another one counts only if pid 1 has a handler for it."""
        if self._ended:
            return
        if self.init_pid:
            self._send_signal(self._init_pidfd, self.init_pid, number)
        else:  # not that far yet
            self._send_signal(self.pidfd, self.pid, signal.SIGKILL)

    def _send_signal(self, pidfd: int | None, pid: int, number: int) -> None:
        try:
            if pidfd is not None:
                linux.pidfd_send_signal(pidfd, number)
            elif pid and not self._ended:  # before Linux 5.3; P1 has not reaped it while we are told of no end
                os.kill(pid, number)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """Kill what still runs and give everything back. May be called twice."""
        if self._report is not None:
            self._report.close()
            self._report = None
        if self._status.fileno() >= 0:
            self.end()
            self._status.close()
        if self._outbound is not None:
            self._outbound.close()
        for fd in (*self.outputs.values(), self.master, self.pidfd, self._init_pidfd, self._final):
            if fd is not None:
                os.close(fd)
        self.outputs = {}
        self.master = self.pidfd = self._init_pidfd = self._final = self._outbound = None
        if self._afterwards is not None:
            self._afterwards()

    def end(self) -> None:
        """Kill what still runs, and wait until it is gone; the supervisor has written its tables then."""
        while not self._ended and not self.pid:
            self._read_status()
        if self._exit is None:
            self.kill()
        self.wait()

    def final_table(self) -> bytes | None:
        """The fakeroot supervisor's last owner table, once the command has ended; None without a supervisor, b"" when
        it was killed."""
        if self._final is None:
            return None
        return next(iter(read_final(self._final)), b"")

    def lost_owners(self) -> tuple[str, ...] | None:
        """Without a supervisor (FakerootSpec.lost): "OWNER PATH" for each given away in vain. None: nobody saw."""
        text = b"" if self._final is None else os.pread(self._final, os.fstat(self._final).st_size, 0)
        from .tracing import HEADER

        if not text.startswith(HEADER):
            return None
        return tuple(line.decode("utf-8", "surrogateescape") for line in text.splitlines()[1:])

    def final_mount_tables(self) -> dict[str, bytes]:
        """The same of mounts that have owners of their own, by target. None of them when the supervisor was killed."""
        if self._final is None or self.spec.fakeroot is None or self.spec.fakeroot.lost:
            return {}
        targets = [mount.target for mount in with_owners(self.spec)]
        return dict(zip(targets, read_final(self._final)[1:], strict=False))

    def when_closed(self, action: Callable[[], None]) -> Self:
        self._afterwards = action
        return self


def exit_status(raw: int, usage: Sequence[float] | None) -> ExitStatus:
    """From a status as waitpid gives it, and (user s, system s, KiB)."""
    used = None if usage is None else Usage(user_seconds=usage[0], system_seconds=usage[1],
                                            peak_memory=int(usage[2]) * 1024)
    if os.WIFSIGNALED(raw):
        return ExitStatus(code=128 + os.WTERMSIG(raw), signal=os.WTERMSIG(raw), usage=used)
    return ExitStatus(code=os.WEXITSTATUS(raw), usage=used)
