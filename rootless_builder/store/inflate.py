"""A layer's blob as a stream of its uncompressed tar, checked against its diff_id when it ends."""

import contextlib
from collections.abc import Iterator

from ..errors import UnsafeArchive
from ..layer.compress import Readable, inflated
from ..oci.descriptor import compression_of
from . import atomic
from .blobs import Blobs
from .images import LayerRef
from .layout import REMEDY

_CHUNK = 1 << 20


class TarStream:
    """read(size) as of a pipe. `finish` reads what is left and compares the digest."""

    def __init__(self, layer: LayerRef, source: Readable) -> None:
        self._layer = layer
        self._source = source
        self._hash = layer.diff_id.hasher()
        self.position = 0  # bytes of the tar handed out

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        self.position += len(data)
        return data

    def skip_to(self, position: int) -> None:
        """Errors: UnsafeArchive when the tar ends before."""
        while self.position < position:
            if not self.read(min(_CHUNK, position - self.position)):
                raise UnsafeArchive(f"cannot read the layer {self._layer.diff_id}: its tar is cut off")

    def finish(self) -> None:
        """Errors: UnsafeArchive when the bytes are not those that the image's config names."""
        while self.read(_CHUNK):
            pass
        if self._hash.hexdigest() != self._layer.diff_id.hex:
            raise UnsafeArchive(f"cannot read the layer {self._layer.blob.digest}: uncompressed, its digest is "
                                f"{self._hash.name}:{self._hash.hexdigest()} instead of {self._layer.diff_id}",
                                hint="remove the image, then pull it again")


@contextlib.contextmanager
def tar_stream(blobs: Blobs, layer: LayerRef) -> Iterator[TarStream]:
    """Errors: StoreError when the blob is not here, UnsafeArchive while reading."""
    kind = compression_of(layer.blob.media_type)
    with contextlib.ExitStack() as opened:
        with atomic.explained("read a blob", blobs.path(layer.blob.digest), remedy=REMEDY):  # it may be a folder
            source = opened.enter_context(open(blobs.open(layer.blob.digest), "rb", buffering=0))
        if kind == "none":
            yield TarStream(layer, inflated(source, kind))
            return
        from ..layer.readahead import ReadAhead

        with ReadAhead(inflated(source, kind)) as inflating:  # another thread inflates while this one hashes
            yield TarStream(layer, inflating)
