"""Removing what nobody needs any more, out of sight first: renamed into gone/, then emptied, perhaps by a thread."""

import contextlib
import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ..removing import enter, remove_tree
from ..store import atomic
from ..threads import Thread, start

_PATIENCE = 0.3  # seconds


class Remover:
    """Removes folders while its user goes on. Context manager: ends when all is gone, or at once on an error: what is
    left lies in gone/, where the next command finds it."""

    def __init__(self) -> None:
        import queue  # a warm start removes nothing

        self._queue: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread: Thread | None = None
        with contextlib.suppress(MemoryError):
            self._thread = start(self._work)

    def later(self, path: Path) -> None:
        """Now, where no thread can begin."""
        self._queue.put(path)
        if self._thread is None:
            self._queue.put(None)
            self._work()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(-1 if error is None else _PATIENCE)

    def _work(self) -> None:
        while (path := self._queue.get()) is not None:
            with contextlib.suppress(OSError):
                remove_tree(path)


def discard(path: Path, gone: Path, remover: Remover | None = None) -> None:
    """Out of sight at once by a rename into `gone` (same file system), then removed, by `remover` if there is one.
    Absent: fine. Errors: OSError."""
    target = atomic.temporary_name(gone)
    with contextlib.suppress(FileNotFoundError):
        with contextlib.suppress(NotADirectoryError):
            os.close(enter(os.fsencode(path)))  # a folder that cannot be written cannot be moved to another one
        atomic.move(path, target)
        if remover is not None:
            remover.later(target)
            return
        try:
            remove_tree(target)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # FUSE and NFS keep an open file under another name: swept later
                raise
