"""Removing trees that a container wrote: folders without permissions, any depth, names in any bytes."""

import contextlib
import errno
import os
import queue
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from ..store import atomic
from ..threads import Thread, start

_PATIENCE = 0.3  # seconds
_PAUSES = (0.01, 0.05, 0.2)  # seconds
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Remover:
    """Removes folders while its user goes on. Context manager: ends when all is gone, or at once on an error: what is
    left lies in gone/, where the next command finds it."""

    def __init__(self) -> None:
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
        _open_up(os.fsencode(path), None)  # a folder that cannot be written cannot be moved to another one
        atomic.move(path, target)
        if remover is not None:
            remover.later(target)
            return
        try:
            remove_tree(target)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # FUSE and NFS keep an open file under another name: swept later
                raise


def remove_tree(path: Path) -> None:
    """All of it; what another process removes meanwhile is fine. One that is being killed may still write there, or
    its mount hold a folder: that is over in a moment. Errors: OSError."""
    for pause in _PAUSES:
        try:
            return _remove_tree(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EBUSY):
                raise
        time.sleep(pause)
    _remove_tree(path)


def _remove_tree(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            _open_up(os.fsencode(path), None)
            root = os.open(path, _FOLDER)
            try:
                _empty(root)
            finally:
                os.close(root)
            os.rmdir(path)
        else:
            os.unlink(path)


def _empty(root: int) -> None:
    """Depth first with one descriptor: a folder that is empty is left by ".." and removed from above."""
    folder = os.dup(root)
    trail: list[tuple[bytes, list[bytes]]] = [(b"", _clear(folder))]
    try:
        while trail:
            name, folders = trail[-1]
            if folders:
                below = folders.pop()
                with contextlib.suppress(FileNotFoundError):
                    _open_up(below, folder)
                    deeper = os.open(below, _FOLDER, dir_fd=folder)
                    os.close(folder)
                    folder = deeper
                    trail.append((below, _clear(folder)))
                continue
            trail.pop()
            if trail:
                above = os.open("..", _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = above
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(name, dir_fd=folder)
    finally:
        os.close(folder)


def _clear(folder: int) -> list[bytes]:
    """Unlinks all that is no folder; the names of the folders."""
    folders = []
    with os.scandir(folder) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if is_folder:
            folders.append(name)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
    return folders


def _open_up(name: bytes, folder: int | None) -> None:
    """A folder with mode 000 (overlayfs makes work/work so) can be read and emptied after this."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o700 != 0o700:
        with contextlib.suppress(PermissionError):
            os.chmod(name, stat.S_IMODE(status.st_mode) | 0o700, dir_fd=folder)
