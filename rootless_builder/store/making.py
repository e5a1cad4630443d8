"""A blob that can be read while a thread of its own still writes it.

    work ──▶ the blob's file ──▶ pread        who reads ahead of the work waits for it
       └───▶ what it is (its digest) ──▶ made
"""

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..layer.compress import Buffer
from ..oci.descriptor import Descriptor
from ..threads import Thread, start
from .atomic import write_all

_LOOK = 1.0  # seconds between two looks whether the thread still lives


class NotMade(Exception):
    """The work failed; `wait` tells how. No OSError: who sends must not take it for one of the network."""


class _Unwanted(Exception):
    """Ends the work."""


class Making:
    """Context manager: at its end the thread is gone. work(sink) gives every byte to `sink`, in order, which writes it
    to `fd`. Where no thread can begin, it is done at once.
    """

    def __init__(self, fd: int, work: Callable[[Callable[[Buffer], object]], Descriptor]) -> None:
        self._fd = fd
        self._work = work
        self._change = threading.Condition()
        self._size = 0
        self._made: Descriptor | None = None
        self._error: BaseException | None = None
        self._unwanted = False
        self._thread: Thread | None = None

    @classmethod
    def finished(cls, fd: int, blob: Descriptor) -> Self:
        """Of a blob that is all there."""
        self = cls(fd, lambda sink: blob)
        self._size, self._made = blob.size, blob
        return self

    @property
    def made(self) -> Descriptor | None:
        """What it is, None while it is not known yet."""
        return self._made

    def pread(self, size: int, offset: int) -> bytes:
        """At least one byte and at most `size`, none at the end. Errors: NotMade."""
        self._wait(lambda: self._size > offset)
        if self._error is not None:
            raise NotMade from self._error
        return os.pread(self._fd, size, offset)

    def wait(self) -> Descriptor:
        """Errors: those of the work."""
        self._wait(lambda: False)
        if self._error is not None:
            raise self._error
        assert self._made is not None
        return self._made

    def __enter__(self) -> Self:
        if self._made is None:
            try:
                self._thread = start(self._run)
            except MemoryError:
                self._run()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._unwanted = True
        if self._thread is not None:
            self._thread.join()

    def _wait(self, enough: Callable[[], bool]) -> None:
        with self._change:
            while self._made is None and self._error is None and not enough():
                alive = self._thread is None or self._thread.is_alive()  # asked first: what it told is there then
                if not self._change.wait(_LOOK) and not alive and self._made is None:
                    self._error = self._error or MemoryError("no memory to tell what ended the thread")

    def _run(self) -> None:
        made, failed = None, None
        try:
            made = self._work(self._add)
        except BaseException as error:  # noqa: BLE001 it is for who waits
            failed = error
        with self._change:
            self._made, self._error = made, failed
            self._change.notify_all()

    def _add(self, data: Buffer) -> None:
        if self._unwanted:
            raise _Unwanted
        write_all(self._fd, data)
        with self._change:
            self._size += len(data)
            self._change.notify_all()
