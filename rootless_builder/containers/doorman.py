"""The monitor's ear: answers the messages of channel.py, one Visit for each connection.

A message is at most a request of the container's own user (the folder is 0700): what is wrong with it is answered,
and never ends the monitor.
"""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ..errors import IechorError, SandboxError
from ..sandbox.failures import encode
from ..sandbox.handle import Sandbox
from ..sandbox.launcher import Launcher
from ..values import replace
from . import channel
from .pump import READABLE, Loop
from .state import LOST


class Doorman:
    """Opened before the application starts; commands that come early wait at the socket until `serve`."""

    def __init__(self, folder: Path, loop: Loop, launcher: Launcher) -> None:
        self._folder, self._loop, self._launcher = folder, loop, launcher
        self._visits: list[Visit] = []
        self._sandbox: Sandbox | None = None

    def __enter__(self) -> Self:
        self._server = channel.listen(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.forget(self._server.fileno())
        self._server.close()
        for visit in tuple(self._visits):
            visit.close()

    def serve(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._loop.watch(self._server.fileno(), READABLE, self._accept)

    def dismiss(self, exit_code: int) -> None:
        """The container has ended: all who wait are told, those still at the door, too."""
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._server.accept()
                channel.send(end, {"exit_code": exit_code})
                end.close()
        for visit in tuple(self._visits):
            visit.container_ended(exit_code)

    def _accept(self) -> None:
        assert self._sandbox is not None
        with contextlib.suppress(OSError):
            end, _ = self._server.accept()
            self._visits.append(Visit(end, self._sandbox, self._launcher, self._loop, self._visits.remove))


class Visit:
    """One connection: a signal, a wait, or the life of one exec'ed command."""

    def __init__(self, end: socket.socket, sandbox: Sandbox, launcher: Launcher, loop: Loop,
                 leave: Callable[["Visit"], None]) -> None:
        self._end, self._sandbox, self._launcher, self._loop, self._leave = end, sandbox, launcher, loop, leave
        self._command: Sandbox | None = None
        self._waits = False
        loop.watch(end.fileno(), READABLE, self._receive)

    def container_ended(self, exit_code: int) -> None:
        """Everything in it is dead. An exec'ed command tells of its own end, as it was."""
        if self._command is not None:
            status = self._command.wait(5)
            self._answer({"exit_code": LOST if status is None else status.code})
        elif self._waits:
            self._answer({"exit_code": exit_code})
        self.close()

    def close(self) -> None:
        self._loop.forget(self._end.fileno())
        self._end.close()
        if self._command is not None:
            self._loop.forget(self._command.end_fd())
            self._command.close()
            self._command = None
        self._leave(self)

    def _receive(self) -> None:
        try:
            received = channel.receive(self._end)
        except (OSError, ValueError):
            received = None
        if received is None:
            self._caller_left()
            return
        message, fds = received
        try:
            self._serve(message, fds)
        except IechorError as error:
            self._answer({"error": encode(error)})
        except (KeyError, TypeError, ValueError, OSError) as error:
            self._answer({"error": encode(SandboxError(f"cannot serve the request: {error}"))})
        finally:
            for fd in fds:
                os.close(fd)

    def _caller_left(self) -> None:
        """A command that was started goes on without its caller, whose end it notices at its own streams."""
        if self._command is None:
            self.close()
        else:
            self._loop.forget(self._end.fileno())

    def _serve(self, message: dict[str, Any], fds: list[int]) -> None:
        match message["op"]:
            case "wait":
                self._waits = True
            case "signal" if self._command is not None:
                self._command.kill(int(message["signal"]))
            case "signal":
                self._sandbox.kill(int(message["signal"]))
                self._answer({})
            case "exec":
                self._execute(message, fds)
            case other:
                raise ValueError(f"unknown op {other}")

    def _execute(self, message: dict[str, Any], fds: list[int]) -> None:
        spec = replace(self._sandbox.spec, argv=tuple(message["argv"]), env=tuple(message["env"]), cwd=message["cwd"],
                       user=message["user"], tty=message["tty"], size=tuple(message["size"]))
        with open(os.devnull, "rb+", buffering=0) as nowhere:
            stdin, stdout, stderr = fds if len(fds) == 3 else (nowhere.fileno(),) * 3
            command = self._launcher.join(self._sandbox.pid, spec, stdin=stdin, stdout=stdout, stderr=stderr)
        self._command = command
        terminal = () if command.master is None else (command.master,)
        self._answer({"pid": command.init_pid}, terminal)
        self._loop.watch(command.end_fd(), READABLE, self._command_ended)

    def _command_ended(self) -> None:
        assert self._command is not None
        status = self._command.poll()
        if status is not None:
            self._answer({"exit_code": status.code})
            self.close()

    def _answer(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        with contextlib.suppress(OSError):  # the caller has gone
            channel.send(self._end, message, fds)
