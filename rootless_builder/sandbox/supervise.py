"""Watching a sandbox until its end: output, terminal, signals, timeout, and nobody left alive.

The only psutil: it is imported when a tree has to be killed, to make sure that all of it is gone.
"""

import contextlib
import errno
import functools
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from ..values import replace
from .handle import Sandbox
from .spec import ExitStatus
from .terminal import following_size, raw
from .wire import write_all

CHUNK = 1 << 16
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
PATIENCE = 5.0

OnOutput = Callable[[int, bytes], None]


def supervise(sandbox: Sandbox, *, on_output: OnOutput | None = None, timeout: float | None = None,
              forward_signals: bool = False, terminal: tuple[int, int] | None = None) -> ExitStatus:
    """Until the command has ended and everything below it, which is dead too when this raises.

    on_output(stream, data): what came from the pipes of Sandbox.outputs, stream 1 or 2, in order, all of it.
    timeout: seconds, then everything is killed and the status says timed_out. forward_signals: pid 1 gets
    the signals we get (main thread only); without it KeyboardInterrupt kills everything and goes on upward.
    terminal: our (stdin, stdout) for Sandbox.master: raw meanwhile, its size followed.
    """
    try:
        with contextlib.ExitStack() as stack:
            if forward_signals:
                stack.enter_context(forwarding(sandbox, FORWARDED))
            if terminal is not None and sandbox.master is not None:
                stack.enter_context(following_size(terminal[0], sandbox.master))
                stack.enter_context(raw(terminal[0]))
            return _Watch(sandbox, on_output, terminal).run(timeout)
    except BaseException:
        kill_tree(sandbox)
        sandbox.end()
        raise


class _Watch:
    """The loop's state: what is still open of the pipes and the terminal."""

    def __init__(self, sandbox: Sandbox, on_output: OnOutput | None, terminal: tuple[int, int] | None) -> None:
        self._sandbox = sandbox
        self._on_output = on_output
        self._terminal = terminal
        self._selector = selectors.DefaultSelector()
        for stream, fd in sandbox.outputs.items():
            self._add(fd, functools.partial(self._read_output, stream))
        if terminal is not None and sandbox.master is not None:
            self._add(sandbox.master, self._read_master)
            with contextlib.suppress(PermissionError):  # a plain file as stdin cannot be waited for
                self._add(terminal[0], self._read_keys)
        self._ending = sandbox.end_fd()
        self._add(self._ending, lambda fd: None)

    def _add(self, fd: int, action: Callable[[int], object]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, action)

    def run(self, timeout: float | None) -> ExitStatus:
        deadline = None if timeout is None else time.monotonic() + timeout
        timed_out = False
        with self._selector:
            while (status := self._sandbox.poll()) is None:
                left = None if deadline is None or timed_out else max(0.0, deadline - time.monotonic())
                ready = self._selector.select(left)
                if not ready and left is not None:
                    kill_tree(self._sandbox)
                    timed_out = True
                for key, _ in ready:
                    key.data(key.fd)
            self._drain()
        return replace(status, timed_out=timed_out)

    def _drain(self) -> None:
        """What the pipes still hold. All writers are dead, so this ends; a copy of the pipe that was sent out of the
        sandbox over a socket must not make us wait, so it ends when they are empty, too.
        """
        while True:
            ready = [key for key, _ in self._selector.select(0) if key.fd != self._ending and key.fd != self._keys()]
            if not ready:
                return
            for key in ready:
                key.data(key.fd)

    def _keys(self) -> int:
        return -1 if self._terminal is None else self._terminal[0]

    def _read_output(self, stream: int, fd: int) -> None:
        data = os.read(fd, CHUNK)
        if not data:
            self._selector.unregister(fd)
        elif self._on_output is not None:
            self._on_output(stream, data)

    def _read_master(self, fd: int) -> None:
        assert self._terminal is not None
        try:
            data = os.read(fd, CHUNK)
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: nobody has the terminal open any more
                raise
            data = b""
        if not data:
            self._selector.unregister(fd)
        write_all(self._terminal[1], data)

    def _read_keys(self, fd: int) -> None:
        assert self._sandbox.master is not None
        data = os.read(fd, CHUNK)
        if not data:
            self._selector.unregister(fd)
            data = b"\x04"  # the end of a file is Ctrl-D on a terminal
        with contextlib.suppress(OSError):
            write_all(self._sandbox.master, data)


@contextlib.contextmanager
def forwarding(sandbox: Sandbox, numbers: Sequence[int]) -> Iterator[None]:
    """Pid 1 gets these signals instead of us. The kernel drops one that pid 1 has no handler for."""
    before = {number: signal.signal(number, lambda got, _: sandbox.kill(got)) for number in numbers}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def kill_tree(sandbox: Sandbox) -> None:
    """SIGKILL for pid 1, with which the kernel ends the whole pid namespace; then for whoever is left of P1's tree."""
    import psutil  # type: ignore[import-untyped]

    try:
        tree = psutil.Process(sandbox.pid).children(recursive=True) if sandbox.pid else []
    except psutil.Error:
        tree = []
    sandbox.kill()
    _, alive = psutil.wait_procs(tree, timeout=PATIENCE)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=PATIENCE)
