"""`iechor exec`, the caller's half: streams and signals here, the process is started by the monitor (doorman.py)."""

import contextlib
import socket
from collections.abc import Callable

from ..errors import ContainerError
from ..sandbox import terminal as terminals
from ..sandbox.failures import decode
from ..values import dataclass
from . import channel
from .console import SignalProxy
from .control import reach
from .folders import Containers
from .plumbing import Plumbing, Streams
from .process import join_env
from .pump import READABLE, Loop
from .state import LOST, Container, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """What `iechor exec` was asked. env: "K=V" only, on top of the container's; user, workdir None: the container's."""

    container: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None
    interactive: bool = False
    tty: bool = False
    detach: bool = False


def execute(containers: Containers, request: ExecRequest, streams: Streams, *,
            warn: Callable[[str], None] = lambda text: None) -> int:
    """The exit code of the command. Errors: ContainerError, ExecFailed and the sandbox's others."""
    container = containers.get(request.container)
    if container.state().status is not Status.RUNNING:
        raise ContainerError(f"cannot run a command in container {container.name}: it is not running",
                             hint="list those that run: iechor ps")
    with reach(container) as end, SignalProxy(warn=warn) as proxy:
        return _Session(end, request, Streams() if request.detach else streams).run(container, proxy)


class _Session:
    def __init__(self, end: socket.socket, request: ExecRequest, streams: Streams) -> None:
        self._end, self._request = end, request
        self._tty = request.tty and not request.detach
        self._size = terminals.size_of(streams.stdout, streams.stdin) if self._tty else ()
        self._loop = Loop()
        self._plumbing = Plumbing(self._loop, streams, tty=self._tty,
                                  interactive=request.interactive and not request.detach)
        self._code: int | None = None

    def run(self, container: Container, proxy: SignalProxy) -> int:
        try:
            self._plumbing.started(self._begin(container))
            if self._request.detach:
                return 0
            proxy.connect(self._send_signal, self._plumbing.resize)
            self._loop.watch(self._end.fileno(), READABLE, self._answered)
            with self._plumbing.raw():
                while self._code is None:
                    self._loop.turn()
                self._loop.forget(self._end.fileno())
                self._plumbing.finish()
                self._plumbing.drain(proxy)
            return self._code
        finally:
            self._plumbing.close()

    def _begin(self, container: Container) -> int | None:
        """Asks the monitor; the other end of the terminal, if there is one. Errors: as `execute`."""
        config, request = container.config, self._request
        terminal = ("TERM=xterm",) if self._tty else ()
        channel.send(self._end, {
            "op": "exec", "argv": request.command, "tty": self._tty, "size": self._size,
            "env": join_env(terminal, config.env, request.env), "cwd": request.workdir or config.cwd,
            "user": config.user if request.user is None else request.user},
            () if request.detach else self._plumbing.inner)
        answer = channel.receive(self._end, 1)
        if answer is None:
            raise ContainerError(f"cannot run a command in container {container.name}: it has just ended",
                                 hint="list those that run: iechor ps")
        message, fds = answer
        if "error" in message:
            raise decode(message["error"])
        return fds[0] if fds else None

    def _send_signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            channel.send(self._end, {"op": "signal", "signal": number})

    def _answered(self) -> None:
        try:
            answer = channel.receive(self._end)
        except OSError:
            answer = None
        self._code = int(answer[0]["exit_code"]) if answer else LOST
