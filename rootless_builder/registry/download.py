"""One layer on its way in: every byte is written, hashed, inflated, hashed again and read as tar in one pass.

    partial blob ┐
                 ├─▶ BlobStream ══▶ inflated ══▶ TarStream ─▶ read_index ─▶ the index of its files
    network ─────┘   digest, size                diff_id

Three threads, one before, between and behind the double arrows: the slowest of them is what a pull takes.
A connection that breaks is taken up again where it ended, now (Range) or by the next pull (the partial blob stays).
Whatever lies about its digest, its length or its diff_id leaves nothing behind.
"""

import os
from collections.abc import Callable, Iterator

from ..errors import RegistryError, UnsafeArchive
from ..layer.compress import Readable, inflated
from ..layer.readahead import ReadAhead
from ..layer.reader import read_index
from ..oci.descriptor import Descriptor, compression_of
from ..store.blobwriter import BlobWriter
from ..store.images import LayerRef
from ..store.inflate import TarStream
from ..store.store import Store
from .client import Fetched, RegistryClient
from .http import CHUNK, BrokenTransfer, Response

# What a layer may inflate to: deflate's own limit is 1032 to 1; zstd has none, and sparse files compress well.
INFLATED_RATIO, INFLATED_FREE = 1100, 16 << 30
_CHUNKS_AHEAD = 8  # of CHUNK bytes each, that the network may be before the inflating

_PROGRESS = 1 << 16  # bytes: an attempt that brought less is one that failed, or a blob could take ages

Progress = Callable[[int], object]


class BlobStream:
    """The bytes of a blob, `read` once from first to last: those in the partial blob, then the registry's."""

    def __init__(self, client: RegistryClient, fetched: Fetched, path: str, blob: Descriptor, writer: BlobWriter,
                 progress: Progress) -> None:
        self._client = client
        self._fetched = fetched
        self._path = path
        self._blob = blob
        self._fd = writer.fd
        self._kept = writer.size
        self._progress = progress
        self._hash = blob.digest.hasher()
        self._position = 0
        self._held = memoryview(b"")
        self._response: Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._failures = self._brought = 0
        self._unwanted = False

    def read(self, size: int = CHUNK, /) -> bytes:
        """At most `size` bytes, none at the end. Errors: UnsafeArchive (it is longer than it should be),
        RegistryError (it breaks off again and again), OSError of the disk.
        """
        if not self._held:
            self._held = memoryview(self._next())
        data, self._held = bytes(self._held[:size]), self._held[size:]
        return data

    def finish(self) -> None:
        """Reads what is left and compares. Errors: UnsafeArchive."""
        while self.read():
            pass
        if self._hash.hexdigest() != self._blob.digest.hex:
            raise UnsafeArchive(f"the blob {self._blob.digest} arrived with the digest "
                                f"{self._hash.name}:{self._hash.hexdigest()}")

    def abort(self) -> None:
        """From another thread, while this one may wait for the network: a `read` fails soon."""
        self._unwanted = True
        response = self._response
        if response is not None:
            response.abort()

    def close(self) -> None:
        if self._response is not None:
            self._response.close()

    def _next(self) -> bytes:
        if self._position < self._kept:
            data = os.pread(self._fd, min(CHUNK, self._kept - self._position), self._position)
        else:
            data = self._receive()
            _write_at(self._fd, data, self._position)
        self._hash.update(data)
        self._position += len(data)
        self._progress(self._position)
        return data

    def _receive(self) -> bytes:
        """The next bytes from the network; none when all are here."""
        while self._position < self._blob.size or self._response is not None:
            try:
                if self._response is None:
                    self._open()
                data = next(self._chunks, b"")
            except BrokenTransfer as error:
                self._again(error)
                continue
            if self._position + len(data) > self._blob.size:
                self.close()
                raise UnsafeArchive(f"the blob {self._blob.digest} is longer than the {self._blob.size} bytes "
                                    "that its manifest says")
            if data:
                self._brought += len(data)
                if self._brought >= _PROGRESS:
                    self._failures = 0
                return data
            self._response = None
            if self._position < self._blob.size:
                self._again(BrokenTransfer(f"the blob {self._blob.digest} ended after {self._position} of "
                                           f"{self._blob.size} bytes"))
        return b""

    def _open(self) -> None:
        offset = self._position
        response = self._client.blob(self._fetched, self._path, self._blob.digest, offset)
        start, length = 0, response.length()
        if response.status == 206:
            start = _range_start(response.headers.get("Content-Range", ""))
        if start not in (0, offset) or length not in (None, self._blob.size - start):
            response.close()
            raise UnsafeArchive(f"{response.host} sends {length} bytes from {start} of the blob {self._blob.digest}, "
                                f"which has {self._blob.size} and was asked for from {offset}")
        self._response = response
        self._chunks = _without(response.chunks(), offset - start)

    def _again(self, error: RegistryError) -> None:
        """Waits before the next attempt. Attempts that brought enough do not count."""
        self.close()
        self._response = None
        self._brought = 0
        self._failures += 1
        if self._failures > self._client.retries or self._client.cancelled or self._unwanted:
            raise error
        self._client.pause(self._client.delay(self._failures))


class _Bounded:
    """Refuses to read more than `limit` bytes."""

    def __init__(self, source: Readable, limit: int, what: str) -> None:
        self._source = source
        self._left = limit
        self._what = what

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise UnsafeArchive(f"{self._what} inflates to far more than any layer needs",
                                hint="it may be meant to fill the disk; do not use this image")
        return data


def download_layer(layer: LayerRef, store: Store, client: RegistryClient, fetched: Fetched, path: str,
                   progress: Progress) -> None:
    """Brings the layer's blob into the store, and the index of its files. path: the repository.

    Errors: UnsafeArchive (it lies; then nothing of it is kept), RegistryError, AuthError, DiskFull, StoreError.
    """
    with store.blobs.partial(layer.blob.digest) as writer:
        resumed = 0 < writer.size <= layer.blob.size
        if not resumed:
            writer.restart()
        for last in (False, True) if resumed else (True,):
            stream = BlobStream(client, fetched, path, layer.blob, writer, progress)
            try:
                _receive(layer, stream, store)
                break
            except UnsafeArchive:
                writer.restart()  # nothing of it is kept
                if last:  # else: what an earlier download left may have been damaged by a power loss
                    raise
            finally:
                stream.close()
        writer.commit(layer.blob.digest, layer.blob.size)


def _receive(layer: LayerRef, stream: BlobStream, store: Store) -> None:
    limit = layer.blob.size * INFLATED_RATIO + INFLATED_FREE
    with ReadAhead(stream, piece=CHUNK, depth=_CHUNKS_AHEAD, stop=stream.abort) as arriving:
        source = inflated(arriving, compression_of(layer.blob.media_type))
        with ReadAhead(_Bounded(source, limit, str(layer.blob.digest))) as inflating:
            tar = TarStream(layer, inflating)
            packed = read_index(tar)
            while tar.read(CHUNK):
                pass
        while arriving.read(CHUNK):
            pass
    stream.finish()  # first: whose fault it is when both digests are wrong
    tar.finish()
    store.trees.keep(layer.diff_id, packed)


def _range_start(content_range: str) -> int:
    """"bytes 100-199/200" → 100; -1 when it is not so."""
    text = content_range.removeprefix("bytes ").partition("-")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _without(chunks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    """The stream from byte `skip` on: a registry without ranges sends all of it again."""
    for chunk in chunks:
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
