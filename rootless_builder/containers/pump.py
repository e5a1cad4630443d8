"""Copying between descriptors without ever blocking the process that does it.

A descriptor of the caller (a terminal, a pipe of a shell) is shared with others, so O_NONBLOCK is not ours to
set. Instead poll(2) is asked before each write, and no write is longer than PIPE_BUF: that much fits whenever
a pipe, a terminal or a socket says it is writable (pipe(7)).
"""

import os
import select
import time
from collections.abc import Callable

PORTION = select.PIPE_BUF
_BLOCK = 1 << 16
READABLE, WRITABLE = select.POLLIN, select.POLLOUT


class Loop:
    """poll(2), a few timers, and who wants to know. Regular files are always ready, which epoll(7) refuses to say."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def watch(self, fd: int, events: int, call: Callable[[], None]) -> None:
        """Calls `call` each time `fd` is ready, in place of an earlier one."""
        self._poll.register(fd, events)
        self._calls[fd] = call

    def forget(self, fd: int) -> None:
        if self._calls.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Calls `call` once, in the turn that comes when the time is over."""
        self._timers.append((time.monotonic() + seconds, call))

    def turn(self, seconds: float | None = None) -> bool:
        """Waits (None: for ever) and serves once; False when no descriptor was ready in time."""
        now = time.monotonic()
        waits = [due - now for due, _ in self._timers] + ([] if seconds is None else [seconds])
        ready = self._poll.poll(max(0.0, min(waits)) * 1000 + 1 if waits else None)
        now = time.monotonic()
        due_now = [timer for timer in self._timers if timer[0] <= now]
        for timer in due_now:
            self._timers.remove(timer)
            timer[1]()
        for fd, _ in ready:
            call = self._calls.get(fd)
            if call is not None:
                call()
        return bool(ready)


class Pump:
    """One direction. Reads from `source`, shows each portion to `tee`, writes it to `sink` (None: nowhere).

    own_source, own_sink: closed when there is no more. on_end: called when all that the source had is written.
    done: nothing is left to copy.
    """

    def __init__(self, loop: Loop, source: int, sink: int | None, *, tee: Callable[[bytes], None] | None = None,
                 own_source: bool = True, own_sink: bool = False,
                 on_end: Callable[[], None] = lambda: None) -> None:
        self._loop, self._source, self._sink, self._tee = loop, source, sink, tee
        self._own_source, self._own_sink, self._on_end = own_source, own_sink, on_end
        self._pending = b""
        self._reading = True
        self.done = False
        self._next()

    def _next(self) -> None:
        if self._pending and self._sink is not None:
            self._loop.forget(self._source)
            self._loop.watch(self._sink, WRITABLE, self._write)
            return
        if self._sink is not None:
            self._loop.forget(self._sink)
        if self._reading:
            self._loop.watch(self._source, READABLE, self._read)
        else:
            self.close()
            self._on_end()

    def _read(self) -> None:
        self._take()
        self._next()

    def _take(self) -> None:
        try:
            data = os.read(self._source, _BLOCK)
        except BlockingIOError:
            return
        except OSError:  # EIO: no one has the other side of this terminal open any more
            data = b""
        self._reading = bool(data)
        if data and self._tee is not None:
            self._tee(data)
        if self._sink is not None:
            self._pending += data

    def _write(self) -> None:
        assert self._sink is not None
        try:
            written = os.write(self._sink, self._pending[:PORTION])
        except BlockingIOError:
            return
        except OSError:  # EPIPE, EIO: whoever read us is gone; so is our reason to read
            self.close()
            return
        self._pending = self._pending[written:]
        self._next()

    def finish(self) -> None:
        """The writers are gone: takes what is left (no more than a pipe holds), though the other end may stay open
        in some process. What the sink has not taken yet goes on being written.
        """
        if self.done:
            return
        poll = select.poll()
        poll.register(self._source, READABLE)
        while self._reading and poll.poll(0):
            self._take()
        self._reading = False
        self._next()

    def close(self) -> None:
        if self.done:
            return
        self.done = True
        self._loop.forget(self._source)
        if self._own_source:
            os.close(self._source)
        if self._sink is not None:
            self._loop.forget(self._sink)
            if self._own_sink:
                os.close(self._sink)
