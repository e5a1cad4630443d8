"""A container from its launch to its end, seen by the process that owns its sandbox: `iechor run` itself in the
foreground, the monitor (monitor.py) with -d. One thread, one poll(2), no write that can block.

    application ──pipes or terminal──▶ Plumbing ──▶ log; in the foreground, the caller's streams as well
    commands ──▶ Doorman ──▶ signals, exec
    the sandbox's end ──▶ the rest of the output, state.json or --rm, answers to those who wait
"""

import contextlib
import os
from collections.abc import Callable

from ..sandbox.handle import PIPE, Sandbox
from ..sandbox.launcher import Launcher
from ..sandbox.spec import SandboxSpec
from ..values import replace
from .console import SignalProxy
from .doorman import Doorman
from .folders import Containers
from .logs import LogWriter
from .marks import ProcessMark
from .options import PublishedPort
from .plumbing import Plumbing, Streams
from .pump import READABLE, Loop
from .state import Container, ContainerState, Status


class Watch:
    """clock: seconds since the epoch. proxy: open already, so that no signal falls between. launcher: closed at the
    end."""

    def __init__(self, containers: Containers, container: Container, proxy: SignalProxy, launcher: Launcher, *,
                 clock: Callable[[], float]) -> None:
        self._containers, self._container, self._config = containers, container, container.config
        self._proxy, self._launcher, self._clock = proxy, launcher, clock
        self._loop = Loop()
        self._state = ContainerState(status=Status.CREATED, monitor=ProcessMark.of(os.getpid()))

    def run(self, spec: SandboxSpec, streams: Streams, on_start: Callable[[tuple[str, ...]], None]) -> int:
        """The exit code. on_start: called once the application runs, with what the user should know.

        Errors: SandboxError and its kin when it cannot be started; nothing is left of the container then.
        """
        try:
            with contextlib.ExitStack() as stack:
                launcher = stack.enter_context(self._launcher)
                doorman = stack.enter_context(Doorman(self._container.folder, self._loop, launcher))
                plumbing = self._plumbing(stack, streams)
                sandbox = stack.enter_context(self._launch(launcher, spec, plumbing))
                self._began(sandbox)
                self._proxy.connect(sandbox.kill, plumbing.resize)
                doorman.serve(sandbox)
                on_start(sandbox.notices)
                with plumbing.raw():
                    code = self._until_end(sandbox)
                    plumbing.finish()
                    sandbox.close()
                    self._ended(code)
                    doorman.dismiss(code)
                    plumbing.drain(self._proxy)
                return code
        except BaseException:
            self._containers.discard(self._config.id, self._config.name)
            raise

    def _plumbing(self, stack: contextlib.ExitStack, streams: Streams) -> Plumbing:
        log = os.open(self._container.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, log)
        plumbing = Plumbing(self._loop, streams, tty=self._config.tty, interactive=self._config.interactive,
                            tee=LogWriter(log, self._clock).write)
        stack.callback(plumbing.close)
        return plumbing

    def _launch(self, launcher: Launcher, spec: SandboxSpec, plumbing: Plumbing) -> Sandbox:
        stdin, stdout, stderr = plumbing.inner or (None, PIPE, PIPE)
        sandbox = launcher.launch(spec, stdin=stdin, stdout=stdout, stderr=stderr)
        plumbing.started(None if sandbox.master is None else os.dup(sandbox.master))
        return sandbox

    def _began(self, sandbox: Sandbox) -> None:
        self._state = replace(self._state, status=Status.RUNNING, started=self._clock(),
                              init=_mark(sandbox.init_pid), ports=_bound(sandbox))
        self._container.write_state(self._state)

    def _until_end(self, sandbox: Sandbox) -> int:
        """Serves everybody until pid 1 has ended; --timeout ends it."""
        if self._config.timeout is not None:
            self._loop.after(self._config.timeout, sandbox.kill)
        self._loop.watch(sandbox.end_fd(), READABLE, lambda: None)
        while (status := sandbox.poll()) is None:
            self._loop.turn()
        self._loop.forget(sandbox.end_fd())
        return status.code

    def _ended(self, code: int) -> None:
        """Before anybody is told, so that whoever waited finds it done."""
        self._proxy.disconnect()
        if self._config.remove:
            self._containers.discard(self._config.id, self._config.name)
            return
        self._state = replace(self._state, status=Status.EXITED, finished=self._clock(), exit_code=code)
        self._container.write_state(self._state)


def _mark(pid: int) -> ProcessMark | None:
    try:
        return ProcessMark.of(pid)
    except ProcessLookupError:  # it has ended already
        return None


def _bound(sandbox: Sandbox) -> tuple[PublishedPort, ...]:
    return tuple(PublishedPort(host_ip=port.host_ip, host_port=port.host_port, container_port=port.container_port)
                 for port in sandbox.ports)
