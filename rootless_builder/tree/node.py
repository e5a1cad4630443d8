"""What a path of an image holds: a node. Values only; a disk is touched by Content.open() alone.

    Node = File | Directory | Symlink | Device
    Content = HostFile | Inline | the store's LayerEntry | whatever else has open() and size

A hard link is one File object reached by two paths: File compares by identity.
"""

import os
from collections.abc import Mapping
from typing import Protocol

from ..values import dataclass, field


@dataclass(frozen=True, slots=True)
class Meta:
    """POSIX metadata as the *image* sees it, never the host's.

    mode: permission bits with suid, sgid, sticky (0o7777), no type bits. mtime: nanoseconds since the epoch.
    xattrs: full names ("security.capability", "user.x") in byte order → raw value.
    """

    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()


class Content(Protocol):
    """Where the bytes of a regular file can be read, now or later."""

    def open(self) -> tuple[int, int]:
        """(fd, offset): a read-only fd that the caller closes, and where in it the file's first byte is.

        Errors: OSError as open(2); the bytes are `File.size` long from there.
        """


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file below a folder of the host, opened without following a symlink in any component.

    dir_fd: the folder (kept open by whoever made this value); path: relative, as bytes.
    """

    dir_fd: int
    path: bytes

    def open(self) -> tuple[int, int]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(self.path, flags, dir_fd=self.dir_fd), 0


@dataclass(frozen=True, slots=True)
class Inline:
    """Bytes we hold ourselves: a heredoc, a generated file."""

    data: bytes

    def open(self) -> tuple[int, int]:
        fd = os.memfd_create("inline", os.MFD_CLOEXEC)
        with open(fd, "wb", closefd=False) as sink:
            sink.write(self.data)
        return fd, 0


@dataclass(frozen=True, slots=True, eq=False)
class File:
    meta: Meta
    content: Content
    size: int

    def with_meta(self, meta: Meta) -> "File":
        return File(meta, self.content, self.size)


@dataclass(frozen=True, slots=True)
class Directory:
    """`entries` (name → Node) is never changed after the Directory is handed to anyone: trees share it.

    It may be a Mapping that reads a host's folder when first asked, so that a context is walked only where needed.
    """

    meta: Meta
    entries: Mapping[str, "Node"] = field(default_factory=dict, repr=False)

    def with_meta(self, meta: Meta) -> "Directory":
        return Directory(meta, self.entries)


@dataclass(frozen=True, slots=True)
class Symlink:
    """meta.mode is 0o777 always: Linux has no other."""

    meta: Meta
    target: str

    def with_meta(self, meta: Meta) -> "Symlink":
        return Symlink(meta, self.target)


@dataclass(frozen=True, slots=True)
class Device:
    """A character or block device, or a FIFO (`kind` is S_IFCHR, S_IFBLK or S_IFIFO; a FIFO has 0:0)."""

    meta: Meta
    kind: int
    major: int = 0
    minor: int = 0

    def with_meta(self, meta: Meta) -> "Device":
        return Device(meta, self.kind, self.major, self.minor)


Node = File | Directory | Symlink | Device
