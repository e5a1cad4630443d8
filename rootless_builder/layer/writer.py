"""ChangeSet → an uncompressed layer tar, the same bytes everywhere; its digest is taken in the same pass.

    at each path, canonical order:   Put → header [content]     then what was deleted there, as a marker
    a File met a second time         a hard link to the first path

`write_layer` also returns where in the tar each file's bytes are: the index that lets the tree be loaded
without reading the tar again.
"""

import errno
import os
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import NoReturn

from .. import layercore
from ..errors import DiskFull, SourceError
from ..oci.digest import Digest
from ..paths import ImagePath, decode
from ..tree.changes import Change, ChangeSet, Opaque, Put, Remove
from ..tree.node import Directory, File, HostFile, Inline, Node
from ..values import dataclass, replace
from .content import TarRange
from .header import SECOND, node_header, padded, whiteout_header
from .whiteout import check_name, marker

_BATCH = 256  # entries handed to the core in one call
_PIECE = 1 << 28  # bytes of content in one call; a multiple of the block, so that nothing is padded in between


@dataclass(frozen=True, slots=True)
class WrittenLayer:
    """diff_id: SHA-256 of the whole tar, `size` bytes long. entries: the changes, each File's content a place in it."""

    diff_id: Digest
    size: int
    entries: tuple[Change, ...]


def write_layer(changes: ChangeSet, out_fd: int, *, clamp: int | None = None, forced: bool = False) -> WrittenLayer:
    """Write `changes` as a tar to `out_fd` (-1: nowhere, for the digest alone).

    clamp: seconds since the epoch, SOURCE_DATE_EPOCH; later modification times are set to it, by `forced` all are.
    Errors: SourceError when a file cannot be read or changes under us, DiskFull, OSError for other trouble with
    `out_fd`, UnsupportedError for names that a layer cannot hold. After an error what was written is no layer.
    """
    writer = _Writer(out_fd, clamp, forced)
    for change in _as_written(changes):
        if isinstance(change, Put):
            writer.put(change.path, change.node)
        else:
            writer.mark(change)
    return writer.finish()


def _as_written(changes: ChangeSet) -> Iterator[Change]:
    """Each path's Put before its marker, and no more than one marker: a Put of anything but a folder replaces what
    was there by itself, and a folder removed and put again is an opaque one."""
    for path, at_path in groupby(changes, key=attrgetter("path")):
        kinds: dict[type[Change], Change] = {type(change): change for change in at_path}
        put = kinds.get(Put)
        if isinstance(put, Put):
            yield put
            if isinstance(put.node, Directory) and len(kinds) > 1:
                yield Opaque(path)
        else:
            yield kinds.get(Opaque) or kinds[Remove]


class _Writer:
    """The tar so far: how long it is, what stands where, which file was first under which path."""

    def __init__(self, out_fd: int, clamp: int | None, forced: bool) -> None:
        self._sink = layercore.TarSink(out_fd)
        self._latest = None if clamp is None else clamp * SECOND
        self._forced = forced
        self._length = 0
        self._first: dict[File, Put] = {}
        self._entries: list[Change] = []
        self._batch: list[tuple[bytes, bytes | None, int]] = []
        self._batch_size = 0
        self._batch_fd = -1

    def mark(self, change: Remove | Opaque) -> None:
        last = self._entries[-1] if self._entries else None
        if isinstance(last, Put) and last.path == change.path:
            self._entries.insert(-1, change)  # in canonical order the marker comes first
        else:
            self._entries.append(change)
        self._queue(whiteout_header(marker(change)))

    def put(self, path: ImagePath, node: Node) -> None:
        check_name(path)
        original = node
        if self._latest is not None and (self._forced or node.meta.mtime > self._latest):
            node = node.with_meta(replace(node.meta, mtime=self._latest))
        if not isinstance(node, File) or not isinstance(original, File):
            self._entries.append(Put(path, node))
            self._queue(node_header(path, node))
        elif original in self._first:
            first = self._first[original]
            self._entries.append(Put(path, first.node))
            self._queue(node_header(path, node, link=first.path))
        else:
            content = self._put_file(path, node)
            entry = Put(path, File(node.meta, content, node.size))
            self._first[original] = entry
            self._entries.append(entry)

    def finish(self) -> WrittenLayer:
        self._flush()
        try:
            digest, size = self._sink.finish()
        except OSError as error:
            refuse(error, None)
        return WrittenLayer(Digest.of_raw(digest), size, tuple(self._entries))

    def _put_file(self, path: ImagePath, node: File) -> TarRange:
        source, header = node.content, node_header(path, node)
        place = TarRange(self._length + len(header), node.size)
        if not node.size:
            self._queue(header)
        elif isinstance(source, HostFile) and node.size <= _PIECE:
            self._queue(header, source.dir_fd, source.path, node.size)
        elif isinstance(source, Inline):
            self._queue(header + source.data + bytes(padded(node.size) - node.size))
        else:
            self._put_opened(path, node, header)
        return place

    def _put_opened(self, path: ImagePath, node: File, header: bytes) -> None:
        """In pieces, between which Ctrl-C is heard."""
        self._flush()
        try:
            fd, start = node.content.open()
            try:
                for offset in range(0, node.size, _PIECE):
                    length = min(_PIECE, node.size - offset)
                    self._sink.add_range(header, fd, start + offset, length)
                    self._length += len(header) + padded(length)
                    header = b""
                if isinstance(node.content, HostFile) and os.fstat(fd).st_size != node.size:
                    raise OSError(errno.ESTALE, "file changed while it was read")
            finally:
                os.close(fd)
        except OSError as error:
            refuse(error, path)

    def _queue(self, header: bytes, dir_fd: int = -1, path: bytes | None = None, size: int = 0) -> None:
        full = len(self._batch) >= _BATCH or self._batch_size >= _PIECE
        if full or (path is not None and dir_fd != self._batch_fd):
            self._flush()
        if path is not None:
            self._batch_fd = dir_fd
        self._batch.append((header, path, size))
        self._batch_size += size
        self._length += len(header) + padded(size)

    def _flush(self) -> None:
        try:
            self._sink.add_many(self._batch_fd, self._batch)
        except OSError as error:
            refuse(error, None)
        self._batch, self._batch_size = [], 0


def refuse(error: OSError, path: ImagePath | None) -> NoReturn:
    """The core names a file in what it could not read, and none in what it could not write.

    Errors: DiskFull, SourceError.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DiskFull(f"cannot write the layer: {error.strerror}",
                       hint="free some space, or run iechor prune") from error
    if error.errno == errno.EPIPE or error.filename is None and (path is None or error.errno == errno.EIO):
        raise error  # who read us has gone; or the disk fails
    name = path if path is not None else error.filename
    name = decode(name) if isinstance(name, bytes) else name
    raise SourceError(f"cannot read {name}: {error.strerror}") from error
