"""The three streams between a caller and a process in a container: pipes, or one terminal, and the copying."""

import contextlib
import os
import select
from collections.abc import Callable
from contextlib import AbstractContextManager

from ..values import dataclass
from .console import SignalProxy
from .logs import STDERR, STDOUT
from .pump import Loop, Pump

_CHECK_EVERY = 0.2  # seconds
_AGAIN = 0.5  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The caller's descriptors; None for one that leads nowhere."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


class Plumbing:
    """interactive: the process can read, from streams.stdin or, without one, for ever nothing; else it reads
    /dev/null. tee(stream, bytes) sees all output.

    The caller's own descriptors never go into the container: there they could be opened anew, for more than what
    they were opened for.
    """

    def __init__(self, loop: Loop, streams: Streams, *, tty: bool, interactive: bool,
                 tee: Callable[[int, bytes], None] | None = None) -> None:
        self._loop, self._streams, self._tee = loop, streams, tee
        self._tty, self._interactive = tty, interactive
        self._terminal: int | None = None
        self._outputs: list[Pump] = []
        self._input: Pump | None = None
        self._inner: list[int] = []  # their ends of 0, 1, 2
        self._outer: list[int] = []  # our ends of 1, 2, and of 0 where there is one
        self._held: list[int] = []
        if not tty:
            self._make_pipes()

    def _make_pipes(self) -> None:
        output, errors = os.pipe(), os.pipe()
        self._outer = [output[0], errors[0]]
        if self._interactive:
            given = os.pipe()
            os.set_blocking(given[1], False)
            self._inner, self._outer = [given[0]], [*self._outer, given[1]]
        else:
            self._inner = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)]
        self._inner += [output[1], errors[1]]

    @property
    def inner(self) -> tuple[int, ...]:
        """What the process gets as 0, 1, 2; nothing where it makes a terminal."""
        return tuple(self._inner)

    def started(self, terminal: int | None) -> None:
        """The process runs, with copies of `inner`, or with the other end of `terminal`, which is ours from now on."""
        self._close_inner()
        streams, given = self._streams, None
        if terminal is not None:
            self._terminal = terminal
            self.resize()
            self._outputs = [self._pump(terminal, STDOUT, streams.stdout)]
            given = os.dup(terminal) if self._interactive else None
        elif self._outer:
            sinks = (STDOUT, streams.stdout), (STDERR, streams.stderr)
            self._outputs = [self._pump(fd, *sink) for fd, sink in zip(self._outer, sinks, strict=False)]
            given = self._outer[2] if self._interactive else None
        self._outer = []
        if given is not None and streams.stdin is not None and not self._tty:
            self._input = Pump(self._loop, streams.stdin, given, own_source=False, own_sink=True)
        elif given is not None:
            self._held = [given]
            if streams.stdin is not None:
                self._input = Pump(self._loop, streams.stdin, given, own_source=False, on_end=self._type_end)

    def _pump(self, source: int, stream: int, sink: int | None) -> Pump:
        tee = self._tee
        return Pump(self._loop, source, sink, tee=None if tee is None else lambda data: tee(stream, data))

    def _type_end(self) -> None:
        """A terminal has no end but Ctrl-D, which is lost when it comes just before a program changes the terminal's
        mode: it is typed until somebody minds.
        """
        if self._held and select.select([], self._held, [], 0)[1]:
            with contextlib.suppress(OSError):
                os.write(self._held[0], b"\x04")
        if self._held:
            self._loop.after(_AGAIN, self._type_end)

    def raw(self) -> AbstractContextManager[None]:
        """Around the life of a process whose terminal stands for the caller's."""
        if self._terminal is not None and self._interactive and self._streams.stdin is not None:
            from ..sandbox import terminal

            return terminal.raw(self._streams.stdin)
        return contextlib.nullcontext()

    def resize(self) -> None:
        if self._terminal is not None:
            from ..sandbox import terminal

            for fd in (self._streams.stdout, self._streams.stdin):
                if fd is not None:
                    terminal.copy_size(fd, self._terminal)

    def finish(self) -> None:
        """The process has ended: takes in what it wrote last. After this `tee` has seen everything."""
        if self._input is not None:
            self._input.close()
        for pump in self._outputs:
            pump.finish()

    def drain(self, proxy: SignalProxy) -> None:
        """Waits until the caller has taken all; a signal ends the waiting."""
        strikes = proxy.strikes
        while not all(pump.done for pump in self._outputs) and proxy.strikes == strikes:
            self._loop.turn(_CHECK_EVERY)

    def close(self) -> None:
        self._close_inner()
        for pump in (*self._outputs, *([self._input] if self._input is not None else [])):
            pump.close()
        for fd in (*self._outer, *self._held):
            os.close(fd)
        self._outer = self._held = []

    def _close_inner(self) -> None:
        for fd in self._inner:
            os.close(fd)
        self._inner = []
