"""Where the bytes of a layer's files are: inside its uncompressed tar, in one range or in several.

    TarRange, TarExtents       offsets alone, as the writer and the reader of a tar leave them; not yet readable
    LayerEntry, LayerExtents   the same, bound to an opener that yields a descriptor of that tar

An opener is any callable that returns a *new* read-only descriptor of the uncompressed tar at each call.
"""

import errno
import os
from collections.abc import Callable

from ..tree.changes import Change, ChangeSet, Put
from ..tree.node import Content, File
from ..values import dataclass

Opener = Callable[[], int]
Extent = tuple[int, int, int]  # offset in the tar, offset in the file, length: bytes, all three

_COPY_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class TarRange:
    """`size` bytes from `offset` of a tar that this value does not know."""

    offset: int
    size: int

    def open(self) -> tuple[int, int]:
        raise OSError(errno.EBADF, "the tar of this file is not known here")


@dataclass(frozen=True, slots=True)
class TarExtents:
    """A sparse file of `size` bytes: zeros, but for `extents`, which ascend and do not overlap."""

    extents: tuple[Extent, ...]
    size: int

    def open(self) -> tuple[int, int]:
        raise OSError(errno.EBADF, "the tar of this file is not known here")


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """A plain file inside a layer."""

    opener: Opener
    offset: int
    size: int

    def open(self) -> tuple[int, int]:
        return self.opener(), self.offset


@dataclass(frozen=True, slots=True)
class LayerExtents:
    """A sparse file inside a layer: opened as an unnamed sparse file in memory that holds its data parts."""

    opener: Opener
    extents: tuple[Extent, ...]
    size: int

    def open(self) -> tuple[int, int]:
        tar = self.opener()
        try:
            fd = os.memfd_create("sparse", os.MFD_CLOEXEC)
            try:
                os.ftruncate(fd, self.size)
                for source, target, length in self.extents:
                    _copy(tar, source, fd, target, length)
            except BaseException:
                os.close(fd)
                raise
            return fd, 0
        finally:
            os.close(tar)


def _copy(source: int, source_offset: int, target: int, target_offset: int, length: int) -> None:
    while length:
        data = os.pread(source, min(length, _COPY_CHUNK), source_offset)
        if not data:
            raise OSError(errno.EIO, "the layer's tar is shorter than its index says")
        os.pwrite(target, data, target_offset)
        source_offset += len(data)
        target_offset += len(data)
        length -= len(data)


def bound(content: Content, opener: Opener) -> Content:
    """`content` readable through `opener`, if it is an offset in a tar; else `content` itself."""
    if isinstance(content, TarRange):
        return LayerEntry(opener, content.offset, content.size)
    if isinstance(content, TarExtents):
        return LayerExtents(opener, content.extents, content.size)
    return content


def bind(changes: ChangeSet, opener: Opener) -> ChangeSet:
    """`changes` as read from a tar, with files that can be opened. Hard links stay one File object."""
    files: dict[File, File] = {}
    done: list[Change] = []
    for change in changes:
        if isinstance(change, Put) and isinstance(change.node, File):
            node = change.node
            if node not in files:
                files[node] = File(node.meta, bound(node.content, opener), node.size)
            change = Put(change.path, files[node])
        done.append(change)
    return ChangeSet(tuple(done))
