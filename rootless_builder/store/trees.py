"""Layers as trees: what a layer changes, from a packed index, without reading its tar again.

    trees/XX/HEX     packed index of the layer with this diff_id (layer/index.py)
    TARS/HEX         a compressed layer inflated once, for random access; lies on scratch and may go at any moment

An index that is missing, damaged or of another version is made again by reading the blob once.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..layer import index
from ..layer.content import Opener
from ..oci.descriptor import compression_of
from ..oci.digest import Digest
from ..tree.changes import Change, ChangeSet
from ..tree.tree import Tree
from . import atomic
from .blobs import Blobs
from .images import LayerRef
from .layout import Layout

if TYPE_CHECKING:
    from .inflate import TarStream

TARS_REMEDY = "free space there (everything in it may be deleted), or set IECHOR_SCRATCH to a larger disk"
_CHUNK = 1 << 20
_READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class Trees:
    def __init__(self, layout: Layout, blobs: Blobs, tars: Path) -> None:
        self._layout = layout
        self._blobs = blobs
        self._tars = tars

    def load(self, layers: Sequence[LayerRef]) -> Tree:
        """The files of an image, the lowest layer first. Errors: as `changes`."""
        tree = Tree.empty()
        for layer in layers:
            tree = tree.apply(self.changes(layer))
        return tree

    def changes(self, layer: LayerRef) -> ChangeSet:
        """What the layer changes; contents are opened in its tar when asked for.

        Errors: StoreError (blob absent), UnsafeArchive (a tar that lies, or is not what the config says), DiskFull.
        """
        opener = self._opener(layer)
        with contextlib.suppress(OSError, StoreError):
            return index.load(self._layout.tree(layer.diff_id).read_bytes(), opener)
        from ..layer.reader import read_index
        from .inflate import tar_stream

        with tar_stream(self._blobs, layer) as stream:
            packed = read_index(stream)
            stream.finish()
        self.keep(layer.diff_id, packed)
        return index.load(packed, opener)

    def known(self, diff_id: Digest) -> bool:
        """Whether the layer's index is here, so that it need not be read for it."""
        return self._layout.tree(diff_id).exists()

    def remember(self, diff_id: Digest, entries: Iterable[Change]) -> None:
        """The index of a layer just written or read: its changes in canonical order, each File's content a place
        in its tar. Errors: DiskFull, StoreError.
        """
        self.keep(diff_id, index.dump(entries))

    def keep(self, diff_id: Digest, packed: bytes) -> None:
        """`remember`, of an index that is packed already."""
        self._layout.write(self._layout.tree(diff_id), packed, "remember a layer's files")

    def stream(self, layer: LayerRef) -> "contextlib.AbstractContextManager[TarStream]":
        """The uncompressed tar from its beginning, verified at the end by `finish`. Errors: as `changes`."""
        from .inflate import tar_stream

        return tar_stream(self._blobs, layer)

    def tar(self, layer: LayerRef) -> int:
        """A new read-only fd of the uncompressed tar, for random access. Errors: as `changes`."""
        if compression_of(layer.blob.media_type) == "none":
            return self._blobs.open(layer.blob.digest)
        path = self._trusted_tars() / layer.diff_id.hex
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, _READ_ONLY)
        return self._inflate(layer, path)

    def _inflate(self, layer: LayerRef, path: Path) -> int:
        """Of two that do so at once, each has its own file, and the later name wins. The fd is of a whole tar even
        when somebody removes the file at once."""
        from .inflate import tar_stream

        part = atomic.temporary_name(path.parent, "part.")
        with atomic.explained("inflate a layer", path, remedy=TARS_REMEDY), tar_stream(self._blobs, layer) as stream:
            fd = atomic.create(part)
            try:
                while data := stream.read(_CHUNK):
                    atomic.write_all(fd, data)
                stream.finish()
                kept = os.open(part, _READ_ONLY)
                atomic.move(part, path)
                return kept
            except BaseException:
                atomic.remove(part)
                raise
            finally:
                os.close(fd)

    def _trusted_tars(self) -> Path:
        """The folder given, unless somebody else could put files there: scratch may lie in /var/tmp."""
        for folder in (self._tars, self._tars.parent):
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(folder)
                if status.st_uid != os.geteuid() or status.st_mode & 0o022 or not stat.S_ISDIR(status.st_mode):
                    return self._layout.own / "tars"
        return self._tars

    def _opener(self, layer: LayerRef) -> Opener:
        return lambda: self.tar(layer)
