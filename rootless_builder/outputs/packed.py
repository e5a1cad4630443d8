"""An image as it goes into an archive or a layout: its manifest, and where the bytes of each blob are."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.platform import Platform
from ..store.images import Image
from ..store.packing import PackedLayer, Packing, index_of, manifest_of, packed
from ..store.store import Store
from ..tree.node import Content, File, Inline, Meta
from ..values import dataclass


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A blob of the store as the content of a file."""

    store: Store
    digest: Digest

    def open(self) -> tuple[int, int]:
        return self.store.blobs.open(self.digest), 0


@dataclass(frozen=True, slots=True)
class HeldContent:
    """What an open descriptor has, as long as it is open."""

    fd: int

    def open(self) -> tuple[int, int]:
        return os.dup(self.fd), 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedImage:
    """descriptor: of the manifest, or of the index around it, which has no platform. blobs: each once."""

    id: Digest
    descriptor: Descriptor
    layers: tuple[Descriptor, ...]
    platform: Platform | None
    blobs: Mapping[Digest, File]


@contextmanager
def packed_image(image: Image, store: Store, packing: Packing, *, jobs: int) -> Iterator[PackedImage]:
    """The image as `packing` has it; its contents can be read within the context. Errors: StoreError, DiskFull."""
    with ExitStack() as stack:
        layers: dict[Digest, PackedLayer] = {}
        for layer in image.layers:
            if layer.blob.digest not in layers:
                layers[layer.blob.digest] = stack.enter_context(packed(layer, store, packing, jobs=jobs))
        found = [layers[layer.blob.digest] for layer in image.layers]
        platform = image.config.platform
        manifest, descriptor, data = manifest_of(image, [one.blob for one in found], store, packing)
        index = index_of(descriptor, platform, packing)
        documents = [(descriptor, data), index] if index else [(descriptor, data)]
        contents: dict[Digest, tuple[int, Content]] = {
            **{told.digest: (told.size, Inline(text)) for told, text in documents},
            manifest.config.digest: (manifest.config.size, StoredContent(store, manifest.config.digest)),
            **{one.blob.digest: (one.blob.size, HeldContent(one.fd)) for one in found}}
        yield PackedImage(id=image.id, descriptor=documents[-1][0], layers=manifest.layers,
                          platform=None if index else platform,
                          blobs={digest: File(Meta(0o644), content, size)
                                 for digest, (size, content) in contents.items()})


def held(layer: PackedLayer) -> File:
    """The layer's blob as a file; it can be read as long as the layer's context lasts."""
    return File(Meta(0o644), HeldContent(layer.fd), layer.blob.size)


def as_stored(image: Image, store: Store) -> PackedImage:
    """The image as it lies in the store."""
    parts = (image.manifest_descriptor, image.manifest.config, *image.manifest.layers)
    return PackedImage(id=image.id, descriptor=image.manifest_descriptor, layers=image.manifest.layers,
                       platform=image.config.platform,
                       blobs={part.digest: File(Meta(0o644), StoredContent(store, part.digest), part.size)
                              for part in parts})
