"""Images on their way out: as which bytes each layer goes, and the manifest that says so.

    stored uncompressed (built here) ──▶ compressed as asked
    stored compressed (pulled)       ──▶ as it came; made anew only by `force`
    media types                      ──▶ those of the image, or all of one family

What is packed has the same bytes every time, so that a push, an archive and a cache agree on its digest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

from ..errors import UsageError
from ..layer.compress import Buffer, compress
from ..oci import descriptor as media
from ..oci.descriptor import Descriptor, compression_of
from ..oci.manifest import MANIFEST_LIMIT, Index, Manifest
from ..oci.platform import Platform
from ..values import dataclass, field, replace
from .atomic import write_all
from .images import Image, LayerRef
from .making import Making
from .store import Store

Family = Literal["oci", "docker"]

HIGHEST_LEVELS: Mapping[str, int] = {"gzip": 9, "zstd": 22, "none": 0}
_OCI: Mapping[str, str] = {
    media.DOCKER_MANIFEST: media.MEDIA_TYPE_IMAGE_MANIFEST, media.DOCKER_CONFIG: media.MEDIA_TYPE_IMAGE_CONFIG,
    media.DOCKER_LAYER: media.MEDIA_TYPE_LAYER, media.DOCKER_LAYER_GZIP: media.MEDIA_TYPE_LAYER_GZIP,
    media.DOCKER_LAYER_ZSTD: media.MEDIA_TYPE_LAYER_ZSTD}
_DOCKER: Mapping[str, str] = {ours: theirs for theirs, ours in _OCI.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """compression: "gzip", "zstd" or "none", of layers that are stored uncompressed, by `force` of the others too.

    level: None for the default (gzip 2, zstd 3). media: whose media types the manifest has, "" for those of the image.
    annotations: of the manifest, beside those it has; described: of its descriptor. index: the annotations of an index
    that has the manifest as its only one, None when the image has none; index_described: of its descriptor.
    """

    compression: str = "gzip"
    level: int | None = None
    force: bool = False
    media: Literal["", "oci", "docker"] = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    described: Mapping[str, str] = field(default_factory=dict, hash=False)
    index: Mapping[str, str] | None = field(default=None, hash=False)
    index_described: Mapping[str, str] = field(default_factory=dict, hash=False)

    def check(self) -> None:
        """Errors: UsageError for what cannot be."""
        highest = HIGHEST_LEVELS.get(self.compression, -1)
        if highest < 0 or not 0 <= (self.level or 0) <= highest:
            raise UsageError(f"cannot compress layers with {self.compression} at level {self.level}",
                             hint="gzip has levels 0 to 9, zstd 0 to 22, none has none")

    def kind(self, layer: LayerRef) -> str | None:
        """What the layer has to be made into; None: it goes as it is stored."""
        stored = compression_of(layer.blob.media_type)
        return None if stored == self.compression or (stored != "none" and not self.force) else self.compression


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """fd: of the blob's bytes, from 0 on; good within the context that gave it."""

    blob: Descriptor
    fd: int


def known(layer: LayerRef, store: Store, packing: Packing) -> Descriptor | None:
    """The blob that `packed` would give, when that can be told without any work."""
    kind = packing.kind(layer)
    return layer.blob if kind is None else store.compressed.get(layer.diff_id, kind, packing.level)


@contextmanager
def packed(layer: LayerRef, store: Store, packing: Packing, *, jobs: int) -> Iterator[PackedLayer]:
    """The layer's blob as it goes out. What has to be made is made in the store's tmp and gone afterwards.

    Errors: StoreError, DiskFull, UnsafeArchive.
    """
    kind = packing.kind(layer)
    if kind is None:
        with open(store.blobs.open(layer.blob.digest), "rb", buffering=0) as stored:
            yield PackedLayer(layer.blob, stored.fileno())
        return
    with open(store.trees.tar(layer), "rb", buffering=0) as source, store.blobs.writer() as writer:
        yield PackedLayer(_pack(source.fileno(), layer, kind, store, packing, jobs, partial(write_all, writer.fd)),
                          writer.fd)


@contextmanager
def being_packed(layer: LayerRef, store: Store, packing: Packing, *, jobs: int) -> Iterator[Making]:
    """`packed`, by a thread of its own: what there is of the blob can be read meanwhile. Errors: as `packed`."""
    kind = packing.kind(layer)
    if kind is None:
        with packed(layer, store, packing, jobs=jobs) as found, Making.finished(found.fd, found.blob) as making:
            yield making
        return
    with (open(store.trees.tar(layer), "rb", buffering=0) as source, store.blobs.writer() as writer,
          Making(writer.fd, partial(_pack, source.fileno(), layer, kind, store, packing, jobs)) as making):
        yield making


def _pack(source: int, layer: LayerRef, kind: str, store: Store, packing: Packing, jobs: int,
          sink: Callable[[Buffer], object]) -> Descriptor:
    digest, size = compress(source, sink, kind, level=packing.level, jobs=jobs)
    blob = Descriptor(media_type=media.LAYER_OF_COMPRESSION[kind], digest=digest, size=size)
    store.compressed.put(layer.diff_id, kind, packing.level, blob)
    return blob


def manifest_of(image: Image, layers: Sequence[Descriptor], store: Store,
                packing: Packing) -> tuple[Manifest, Descriptor, bytes]:
    """The manifest of `image` with these layers: that of the store byte for byte, where nothing is different."""
    stored = image.manifest
    told = replace(stored, annotations={**stored.annotations, **packing.annotations})
    if packing.media or tuple(layers) != stored.layers:
        family: Family = packing.media or ("docker" if stored.media_type == media.DOCKER_MANIFEST else "oci")
        told = replace(told, media_type=in_family(stored.media_type, family),
                       config=_renamed(stored.config, family),
                       layers=tuple(_renamed(layer, family) for layer in layers))
    if told == stored:
        digest = image.manifest_descriptor.digest
        return stored, _described(image.manifest_descriptor, packing), store.blobs.read(digest, MANIFEST_LIMIT)
    return told, _described(told.descriptor(), packing), told.to_json()


def index_of(manifest: Descriptor, platform: Platform, packing: Packing) -> tuple[Descriptor, bytes] | None:
    """The index around that manifest, where the image has one."""
    if packing.index is None:
        return None
    kind = media.DOCKER_MANIFEST_LIST if manifest.media_type == media.DOCKER_MANIFEST else media.MEDIA_TYPE_IMAGE_INDEX
    index = Index(manifests=(replace(manifest, platform=platform),), annotations=packing.index, media_type=kind)
    return replace(index.descriptor(), annotations=packing.index_described), index.to_json()


def _described(manifest: Descriptor, packing: Packing) -> Descriptor:
    return replace(manifest, annotations={**manifest.annotations, **packing.described})


def in_family(media_type: str, family: Family) -> str:
    """What docker calls that type of the image spec's, or the reverse; a type that has no twin stays."""
    return (_DOCKER if family == "docker" else _OCI).get(media_type, media_type)


def _renamed(part: Descriptor, family: Family) -> Descriptor:
    return replace(part, media_type=in_family(part.media_type, family))
