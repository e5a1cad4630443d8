"""Layers as trees: what a layer changes, from a packed index, without reading its tar again.

    trees/XX/HEX     packed index of the layer with this diff_id (layer/index.py)
    TARS/HEX         a compressed layer inflated once, for random access; lies on scratch and may go at any moment

An index that is missing, damaged or of another version is made again by reading the blob once.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import UnsafeArchive
from ..layer.content import Opener
from ..oci.descriptor import compression_of
from ..oci.digest import Digest
from ..tree.changes import Change, ChangeSet
from ..tree.tree import Tree
from . import atomic
from .blobs import Blobs
from .images import LayerRef
from .layout import REMEDY, Layout

TARS_REMEDY = "free space there (everything in it may be deleted), or set IECHOR_SCRATCH to a larger disk."
_CHUNK = 1 << 20


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
        from ..layer import index  # TODO until layer/index.py is there
        opener = self._opener(layer)
        with contextlib.suppress(OSError, ValueError, UnsafeArchive):
            return index.load(self._layout.tree(layer.diff_id).read_bytes(), opener)
        self.remember(layer.diff_id, self._read(layer))
        return index.load(self._layout.tree(layer.diff_id).read_bytes(), opener)

    def known(self, diff_id: Digest) -> bool:
        """Whether the layer's index is here, so that it need not be read for it."""
        return self._layout.tree(diff_id).exists()

    def remember(self, diff_id: Digest, entries: Iterable[Change]) -> None:
        """The index of a layer just written or read: its changes, each File's content a place in its tar.

        Errors: DiskFull, StoreError.
        """
        from ..layer import index
        self._layout.write(self._layout.tree(diff_id), index.dump(tuple(entries)), "remember a layer's files")

    def tar(self, layer: LayerRef) -> int:
        """A new read-only fd of the uncompressed tar, for random access. Errors: as `changes`."""
        if compression_of(layer.blob.media_type) == "none":
            return self._blobs.open(layer.blob.digest)
        path = self._tars / layer.diff_id.hex
        for _ in range(3):
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._inflate(layer, path)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _opener(self, layer: LayerRef) -> Opener:
        return lambda: self.tar(layer)
