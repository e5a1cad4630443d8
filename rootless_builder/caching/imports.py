"""--cache-from: what other places have recorded, read at the start of a build; their layers only when needed.

    registry   a cache of its own, or an image that carries one (inline)
    local      a folder that --cache-to type=local wrote, an OCI image layout

    manifest ─▶ the document of records (wire.py) ─▶ offers      a layer: blob ─▶ inflated ─▶ the store

Nothing of what is read is believed: documents are bounded, a layer must inflate to exactly the digest and the size of
its record while it is written, else nothing of it stays.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..config import Settings
from ..errors import AuthError, ImageNotFound, RegistryError, UnsafeArchive
from ..events import Emit, Notice, Transfer
from ..layer.compress import Readable, inflated
from ..layer.reader import read_index
from ..oci import document
from ..oci.config import CONFIG_LIMIT
from ..oci.descriptor import Descriptor, compression_of, is_layer
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_LIMIT, Index, Manifest, blob_path, parse_manifest
from ..oci.platform import Platform, best, host_platform
from ..oci.reference import Reference
from ..store.atomic import write_all
from ..store.buildcache import StepRecord
from ..store.images import LayerRef
from ..store.inflate import TarStream
from ..store.names import REF_NAME
from ..store.store import Store
from ..values import dataclass, field, replace
from .carried import CacheSourceFailed, Offer
from .wire import INLINE, LIMIT, MEDIA_TYPE, load

if TYPE_CHECKING:
    from ..registry.client import Fetched, RegistryClient

CHUNK = 1 << 20
UNCOMPRESSED = "containerd.io/uncompressed"  # annotation of a layer: its diff id, as BuildKit's caches have it
PACKED = "iechor.compression"  # annotation of a layer: "KIND LEVEL", how it was compressed
_FAILURES = (UnsafeArchive, RegistryError, AuthError, ImageNotFound, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSource:
    """Where to read: a registry's reference, or a folder and in it a tag or a digest. text: as the user named it."""

    text: str
    reference: Reference | None = None
    folder: Path | None = None
    tag: str = "latest"
    digest: Digest | None = None
    insecure: bool = False


class BlobStream(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def finish(self) -> None:
        """Reads what is left and compares its digest. Errors: UnsafeArchive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A source that answered. document: the records as JSON; layers: diff id → its blob there; stream: opens one."""

    document: bytes | Mapping[str, Any]
    layers: Mapping[Digest, Descriptor]
    stream: Callable[[Descriptor, Store], AbstractContextManager[BlobStream]]


@dataclass(slots=True)
class CacheImports:
    """The sources of one build; a context manager: connections stay open until the build ends."""

    settings: Settings
    store: Store
    platform: Platform | None
    emit: Emit
    _stack: ExitStack = field(default_factory=ExitStack)
    _clients: dict[bool, "RegistryClient"] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if error is not None:
            for client in self._clients.values():
                client.cancel()
        self._stack.close()

    def read(self, sources: Sequence[CacheSource]) -> Iterator[dict[str, Offer]]:
        """What each source offers. One that cannot be read is told, and offers nothing."""
        for source in sources:
            try:
                opened = self._layout(source) if source.folder else self._registry(source)
                records = load(opened.document)
            except _FAILURES as error:
                self._told(source, error)
            else:
                yield {key: one for key, record in records.items()
                       if (one := self._offer(record, source, opened)) is not None}

    def _told(self, source: CacheSource, error: Exception) -> None:
        cause = error.message if isinstance(error, (RegistryError, AuthError, ImageNotFound, UnsafeArchive)) \
            else getattr(error, "strerror", None) or str(error)
        self.emit(Notice(level="warning", text=f"the build cache {source.text} is not used: {cause}"))

    def _offer(self, record: StepRecord, source: CacheSource, opened: Opened) -> Offer | None:
        if record.diff_id is None:
            return Offer(record=record, where=source.text)
        blob = opened.layers.get(record.diff_id)
        if blob is None:
            return None
        lock = threading.Lock()

        def fetch() -> None:
            assert record.diff_id is not None
            with lock:
                if not self.store.blobs.has(record.diff_id, record.size):
                    self._fetch(record, blob, source, opened)

        return Offer(record=record, where=source.text, blob=blob, fetch=fetch)

    def _fetch(self, record: StepRecord, blob: Descriptor, source: CacheSource, opened: Opened) -> None:
        assert record.diff_id is not None
        told = Transfer(verb="pulling", name=source.text, digest=str(blob.digest), done=0, total=blob.size)
        self.emit(told)
        try:
            with opened.stream(blob, self.store) as stream:
                receive(LayerRef(diff_id=record.diff_id, blob=blob), record.size, stream, self.store)
        except _FAILURES as error:
            message = getattr(error, "message", None) or str(error)
            failed = CacheSourceFailed(f"cannot use the build cache {source.text}: {message}",
                                       hint="build without this --cache-from")
            failed.where = source.text
            raise failed from error
        remember_packing(record.diff_id, blob, self.store)
        self.emit(replace(told, done=blob.size))

    # ---- a registry ----

    def client(self, *, insecure: bool, domain: str) -> "RegistryClient":
        """One for all sources and targets; those that may be spoken to without TLS have another."""
        from ..registry.client import RegistryClient

        if insecure not in self._clients or insecure:
            settings = self.settings
            if insecure:
                known = settings.registry(domain)
                settings = replace(settings, registries={**settings.registries, domain: replace(known, insecure=True)})
            self._clients[insecure] = self._stack.enter_context(RegistryClient.of(settings, self.emit))
        return self._clients[insecure]

    def _registry(self, source: CacheSource) -> Opened:
        from ..registry.client import doing

        assert source.reference is not None
        reference, path = source.reference.with_default_tag(), source.reference.path
        client = self.client(insecure=source.insecure, domain=reference.domain)
        with doing(f"read {reference.familiar()}"):
            fetched = client.manifest(reference)
            parsed = parse_manifest(fetched.data, fetched.descriptor.media_type)
            if isinstance(parsed, Index):
                chosen = best(parsed.manifests, self.platform or host_platform())
                if chosen is None:
                    raise ImageNotFound(f"it has nothing for {self.platform or host_platform()}")
                fetched = client.manifest(reference.with_digest(chosen.digest), sources=fetched.sources)
                parsed = parse_manifest(fetched.data, fetched.descriptor.media_type)
            if isinstance(parsed, Index):
                raise UnsafeArchive("its index names another index")
            data = client.blob(fetched, path, parsed.config.digest).read(max(LIMIT, CONFIG_LIMIT))
        return _opened(parsed, data, _remote_streams(client, fetched, path))

    # ---- a folder ----

    def _layout(self, source: CacheSource) -> Opened:
        assert source.folder is not None
        folder = source.folder
        index = Index.from_json(_bounded_file(folder / "index.json", MANIFEST_LIMIT))
        entry = next((one for one in index.manifests if one.digest == source.digest
                      or (source.digest is None and one.annotations.get(REF_NAME) == source.tag)), None)
        if entry is None and source.digest is None:
            raise ImageNotFound(f"it has no cache with the tag {source.tag}")
        parsed = parse_manifest(_verified(folder, entry.digest if entry else source.digest, MANIFEST_LIMIT), None)
        if isinstance(parsed, Index):
            raise UnsafeArchive("its index names another index")
        data = _verified(folder, parsed.config.digest, max(LIMIT, CONFIG_LIMIT))

        @contextmanager
        def stream(blob: Descriptor, store: Store) -> Iterator[BlobStream]:
            with open(folder / blob_path(blob.digest), "rb") as opened:
                yield FileStream(opened, blob)

        return _opened(parsed, data, stream)


def _opened(manifest: Manifest, data: bytes, stream: Any) -> Opened:
    """Of a cache of its own, or of an image that carries one. Errors: UnsafeArchive, ImageNotFound."""
    if len(data) != manifest.config.size or Digest.of(data, manifest.config.digest.algorithm) != manifest.config.digest:
        raise UnsafeArchive(f"its config does not have the digest {manifest.config.digest}")
    if manifest.config.media_type == MEDIA_TYPE:
        layers = {}
        for blob in manifest.layers:
            with suppress(UnsafeArchive):
                layers[Digest.parse(blob.annotations.get(UNCOMPRESSED, ""))] = blob
        return Opened(document=data, layers=_readable(layers), stream=stream)
    config = document.load(data, "image config")
    inline = config.get(INLINE)
    if not isinstance(inline, dict):
        raise ImageNotFound("there is no build cache of iechor in it")
    texts = document.texts(document.mapping(config, "rootfs", "image config"), "diff_ids", "image config") or ()
    layers = {Digest.parse(text): blob for text, blob in zip(texts, manifest.layers, strict=False)}
    return Opened(document=inline, layers=_readable(layers), stream=stream)


def _readable(layers: Mapping[Digest, Descriptor]) -> dict[Digest, Descriptor]:
    return {diff_id: blob for diff_id, blob in layers.items() if is_layer(blob.media_type)}


def _remote_streams(client: "RegistryClient", fetched: "Fetched", path: str) -> Any:
    """A download that breaks off is taken up where it ended; what is left of it is in the store's partial blobs."""
    from ..registry.download import BlobStream as Download

    @contextmanager
    def stream(blob: Descriptor, store: Store) -> Iterator[BlobStream]:
        with store.blobs.partial(blob.digest) as writer:
            if writer.size > blob.size:
                writer.restart()
            download = Download(client, fetched, path, blob, writer, lambda done: None)
            try:
                yield download
            except UnsafeArchive:
                writer.restart()
                raise
            finally:
                download.close()
            writer.restart()  # it is in the store, uncompressed

    return stream


class FileStream:
    """A blob of a layout folder, hashed while it is read."""

    def __init__(self, source: Readable, blob: Descriptor) -> None:
        self._source = source
        self._blob = blob
        self._hash = blob.digest.hasher()

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def finish(self) -> None:
        """Errors: UnsafeArchive."""
        while self.read(CHUNK):
            pass
        if self._hash.hexdigest() != self._blob.digest.hex:
            raise UnsafeArchive(f"the blob {self._blob.digest} has other bytes than its name says")


class _Written:
    """What is read goes into the blob as well, and is never more than `size` bytes."""

    def __init__(self, tar: TarStream, fd: int, size: int) -> None:
        self._tar = tar
        self._fd = fd
        self._size = size

    def read(self, size: int, /) -> bytes:
        data = self._tar.read(min(size, self._size - self._tar.position + 1))
        if self._tar.position > self._size:
            raise UnsafeArchive(f"a layer inflates to more than the {self._size} bytes that its record says")
        write_all(self._fd, data)
        return data


def receive(layer: LayerRef, size: int, stream: BlobStream, store: Store) -> None:
    """The layer, uncompressed under its diff id, and the index of its files. Nothing of one that lies.

    Errors: UnsafeArchive, DiskFull, StoreError, and those of `stream`.
    """
    with store.blobs.writer() as writer:
        tar = TarStream(layer, inflated(stream, compression_of(layer.blob.media_type)))
        written = _Written(tar, writer.fd, size)
        packed = read_index(written)
        while written.read(CHUNK):
            pass
        stream.finish()  # first: whose fault it is when both digests are wrong
        tar.finish()
        writer.commit(layer.diff_id, size)
    store.trees.keep(layer.diff_id, packed)


def remember_packing(diff_id: Digest, blob: Descriptor, store: Store) -> None:
    """What a push would compress the layer to, so that it need not: these bytes have just been inflated to it."""
    kind, _, level = blob.annotations.get(PACKED, "").partition(" ")
    if kind in ("gzip", "zstd") and kind == compression_of(blob.media_type) and (level == "default"
                                                                                 or level.isdecimal()):
        plain = Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size)
        store.compressed.put(diff_id, kind, None if level == "default" else int(level[:3]), plain)


def _verified(folder: Path, digest: Digest | None, limit: int) -> bytes:
    assert digest is not None
    data = _bounded_file(folder / blob_path(digest), limit)
    if Digest.of(data, digest.algorithm) != digest:
        raise UnsafeArchive(f"the blob {digest} has other bytes than its name says")
    return data


def _bounded_file(path: Path, limit: int) -> bytes:
    """Errors: OSError, UnsafeArchive."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise UnsafeArchive(f"{path.name} is longer than {limit} bytes")
    return data
