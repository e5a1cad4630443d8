"""A stream read ahead by a thread of its own, so that who makes the bytes and who uses them work at the same time.

    source.read ──▶ pieces, a few at most ──▶ ReadAhead.read    one thread on each side

Worth it where both sides let go of the GIL: the network, the disk, inflating, hashing. Where no thread can begin, the
bytes are made when they are asked for.
"""

import contextlib
import queue
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..threads import Thread, start
from .compress import Readable

_PIECE = 1 << 20  # bytes asked for at once
_DEPTH = 4  # pieces that wait; with the one on each side this bounds the memory
_LOOK = 0.1  # seconds between two looks whether anybody still wants the bytes


class ReadAhead:
    """Context manager around `source`, which nobody else may read meanwhile.

    stop: called first when the stream is closed before its end, to wake a source that waits for a network.
    """

    def __init__(self, source: Readable, *, piece: int = _PIECE, depth: int = _DEPTH,
                 stop: Callable[[], object] = bool) -> None:
        self._source = source
        self._piece = piece
        self._stop = stop
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(depth)
        self._closed = False
        self._held = memoryview(b"")
        self._end: bytes | BaseException | None = None
        self._thread: Thread | None = None
        with contextlib.suppress(MemoryError):
            self._thread = start(self._run)

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, none at the end. Errors: what the source raised, in its place and ever after."""
        if not self._held:
            if self._end is None:
                piece = self._next()
                if isinstance(piece, BaseException) or not piece:
                    self._end = piece
                else:
                    self._held = memoryview(piece)
            if isinstance(self._end, BaseException):
                raise self._end
        if size >= len(self._held):
            whole, self._held = self._held, memoryview(b"")
            return whole.obj if len(whole) == len(whole.obj) else bytes(whole)  # type: ignore[arg-type, return-value]
        data, self._held = bytes(self._held[:size]), self._held[size:]
        return data

    def close(self) -> None:
        """The thread is gone afterwards."""
        self._closed = True
        if self._thread is not None:
            if self._end is None:
                self._stop()
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _next(self) -> bytes | BaseException:
        if self._thread is None:
            try:
                return self._source.read(self._piece)
            except Exception as error:  # noqa: BLE001 raised by `read`, again and again
                return error
        while True:
            alive = self._thread.is_alive()  # asked first: what it left is there then
            with contextlib.suppress(queue.Empty):
                return self._pieces.get(timeout=_LOOK if alive else 0)
            if not alive:
                return MemoryError("no memory to tell what ended the thread")

    def _run(self) -> None:
        try:
            while not self._closed:
                data = self._source.read(self._piece)
                if not self._put(data) or not data:
                    return
        except BaseException as error:  # noqa: BLE001 it is the reader's to hear
            self._put(error)

    def _put(self, piece: bytes | BaseException) -> bool:
        """Whether there was still somebody to take it."""
        while not self._closed:
            try:
                self._pieces.put(piece, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False
