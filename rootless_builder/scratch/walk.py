"""A walk over files on disk by descriptors: no symlink is followed, any depth, any length of path."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..values import dataclass

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """path: below the folder walked. folder_fd, name: how to reach it; valid until the walk goes on."""

    path: bytes
    folder_fd: int
    name: bytes
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def proc_path(self) -> bytes:
        """For calls that know no dir_fd (xattrs); the last part is not followed if the call is told so."""
        return b"/proc/self/fd/%d/%s" % (self.folder_fd, self.name)


def walk(root_fd: int, *, after: bool = False) -> Iterator[Entry]:
    """Everything below the folder, each folder before what it holds (or behind it: `after`), names in byte order.

    Only one descriptor is open at a time, whatever the depth. Errors: OSError, ESTALE when a folder is moved
    meanwhile. Permissions of the folders must allow it.
    """
    folder = os.open(".", FOLDER, dir_fd=root_fd)
    try:
        stack = [_Level(b"", _identity(folder), _names(folder), None)]
        while stack:
            level = stack[-1]
            if level.names:
                entry = _entry(folder, level.prefix, level.names.pop())
                if not after or not entry.is_folder:
                    yield entry
                if entry.is_folder:
                    below = os.open(entry.name, FOLDER, dir_fd=folder)
                    os.close(folder)
                    folder = below
                    stack.append(_Level(entry.path + b"/", _identity(folder), _names(folder), entry))
                continue
            stack.pop()
            if stack:
                folder = _up(folder, stack[-1].identity)
                if after and level.entry is not None:
                    yield Entry(level.entry.path, folder, level.entry.name, level.entry.status)
    finally:
        os.close(folder)


def disk_usage(path: Path) -> int:
    """Bytes that removing the tree gives back, hard links counted once. Errors: OSError."""
    fd = os.open(path, FOLDER)
    try:
        seen = {}
        for entry in walk(fd):
            seen[entry.status.st_ino] = entry.status.st_blocks * 512
        return sum(seen.values())
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _Level:
    prefix: bytes
    identity: tuple[int, int]
    names: list[bytes]
    entry: Entry | None


def _entry(folder: int, prefix: bytes, name: bytes) -> Entry:
    return Entry(prefix + name, folder, name, os.lstat(name, dir_fd=folder))


def _names(folder: int) -> list[bytes]:
    """The last first: they are popped."""
    return sorted(map(os.fsencode, os.listdir(folder)), reverse=True)


def _identity(folder: int) -> tuple[int, int]:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino


def _up(folder: int, identity: tuple[int, int]) -> int:
    above = os.open("..", FOLDER, dir_fd=folder)
    if _identity(above) != identity:
        os.close(above)
        raise OSError(116, "a folder was moved while it was read")
    os.close(folder)
    return above
