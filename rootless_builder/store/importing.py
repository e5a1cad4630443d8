"""Images that come as files: an OCI image layout or a docker archive, as a folder or inside a tar.

    Reader.open(path) → a stream of one file, None where there is none       (FolderReader, TreeReader)
    index.json     → every manifest it names, their configs and layers       (image-layout.md)
    manifest.json  → docker save of any age: [{Config, RepoTags, Layers}]

Every blob is verified while it is copied in; nothing is named before all of its image is there.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from ..errors import ImageNotFound, UnsafeArchive, UsageError
from ..layer.compress import sniff
from ..layer.content import LayerExtents
from ..oci.config import ImageConfig
from ..oci.descriptor import (
    MEDIA_TYPE_IMAGE_CONFIG,
    MEDIA_TYPE_LAYER,
    MEDIA_TYPE_LAYER_GZIP,
    MEDIA_TYPE_LAYER_ZSTD,
    Descriptor,
)
from ..oci.digest import Digest
from ..oci.manifest import Index, Manifest, blob_path, parse_manifest
from ..oci.platform import Platform, best
from ..oci.reference import Reference
from ..paths import image_path
from ..tree.node import File
from ..tree.tree import SymlinkLoop, Tree
from ..values import dataclass
from .images import Image
from .names import REF_NAME
from .store import Store

JSON_LIMIT = 4 << 20  # bytes
CHUNK = 1 << 20
TYPES = {"none": MEDIA_TYPE_LAYER, "gzip": MEDIA_TYPE_LAYER_GZIP, "zstd": MEDIA_TYPE_LAYER_ZSTD}


class Reader(Protocol):
    @property
    def what(self) -> str:
        """How messages name it."""

    def open(self, path: str) -> BinaryIO | None:
        """A stream of the file, which the caller closes. A path that leaves the layout is as one that is not there."""


def open_file(path: Path) -> BinaryIO | None:
    """None where no regular file is: a pipe would hold us, and a device has no end. Errors: OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV):
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return open(fd, "rb")
    os.close(fd)
    return None


@dataclass(frozen=True, slots=True)
class FolderReader:
    folder: Path
    what: str

    def open(self, path: str) -> BinaryIO | None:
        return open_file(self.folder / image_path(path))


@dataclass(frozen=True, slots=True)
class TreeReader:
    """Symlinks inside (docker save of old has them) stay inside."""

    tree: Tree
    what: str

    def open(self, path: str) -> BinaryIO | None:
        """Errors: UnsafeArchive."""
        try:
            node = self.tree.lookup(self.tree.resolve(image_path(path)))
        except SymlinkLoop:
            return None
        if not isinstance(node, File):
            return None
        if isinstance(node.content, LayerExtents):  # what writes image archives does not, and holes cost nothing
            raise UnsafeArchive(f"cannot load {self.what}: {path} is a sparse file")
        fd, offset = node.content.open()
        os.lseek(fd, offset, os.SEEK_SET)
        return _Limited(fd, node.size)  # type: ignore[return-value]


class _Limited:
    """`size` bytes of a descriptor, as a stream that closes it."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._left = size

    def read(self, size: int = -1) -> bytes:
        data = os.read(self._fd, self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)


def import_images(reader: Reader, store: Store, *, default_registry: str, platform: Platform,
                  wanted: str | None = None) -> list[tuple[str | None, Image]]:
    """Every image of the layout, or the one called `wanted` (a tag or a whole name): (its name or None, the image).

    Nothing is named here: the caller does. Errors: UnsafeArchive, ImageNotFound, DiskFull.
    """
    with contextlib.ExitStack() as stack:
        index = reader.open("index.json")
        if index is not None:
            _check_version(reader)
            found = _from_layout(json_of(stack.enter_context(index), reader), reader, store, platform, wanted)
        else:
            docker = reader.open("manifest.json")
            if docker is None:
                raise UnsafeArchive(f"cannot load {reader.what}: it has neither index.json nor manifest.json",
                                    hint="give what `iechor save`, `docker save` or `podman save` wrote")
            found = _from_docker(json_of(stack.enter_context(docker), reader), reader, store)
        images = [(_name(name, default_registry), image) for name, image in found]
    if not images:
        raise ImageNotFound(f"cannot find {wanted or 'an image'} in {reader.what}")
    return images


def layout_names(reader: Reader) -> list[str]:
    """The tag of each image in a layout, "" for one without; nothing for what is no layout. Errors: UnsafeArchive."""
    index = reader.open("index.json")
    if index is None:
        return []
    with index:
        parsed = Index.from_json(json.dumps(json_of(index, reader)).encode())
    return [entry.annotations.get(REF_NAME, "") for entry in parsed.manifests]


def _check_version(reader: Reader) -> None:
    """Of the layout (image-layout.md, "oci-layout file"), where it says one. Errors: UnsafeArchive."""
    marker = reader.open("oci-layout")
    if marker is not None:
        with marker:
            said = json_of(marker, reader)
        version = said.get("imageLayoutVersion") if isinstance(said, dict) else None
        if not isinstance(version, str) or not version.startswith("1."):
            raise UnsafeArchive(f"cannot load {reader.what}: its layout has the unknown version {str(version)[:20]!r}")


def json_of(stream: BinaryIO, reader: Reader) -> Any:
    """Errors: UnsafeArchive."""
    data = stream.read(JSON_LIMIT + 1)
    if len(data) > JSON_LIMIT:
        raise UnsafeArchive(f"cannot load {reader.what}: its index is longer than {JSON_LIMIT} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise UnsafeArchive(f"cannot load {reader.what}: its index is not JSON") from None


def _from_layout(index: Any, reader: Reader, store: Store, platform: Platform,
                 wanted: str | None) -> Iterator[tuple[str | None, Image]]:
    parsed = Index.from_json(json.dumps(index).encode())
    for entry in parsed.manifests:
        name = entry.annotations.get("io.containerd.image.name") or entry.annotations.get(REF_NAME)
        if wanted is not None and wanted not in (name, entry.annotations.get(REF_NAME), str(entry.digest)):
            continue
        yield name, _image(entry, reader, store, platform)


def _image(entry: Descriptor, reader: Reader, store: Store, platform: Platform, depth: int = 0) -> Image:
    _copy_blob(entry, reader, store)
    parsed = parse_manifest(store.blobs.read(entry.digest, JSON_LIMIT), entry.media_type)
    if isinstance(parsed, Index):
        chosen = best(parsed.manifests, platform)
        if chosen is None or depth > 2:
            raise ImageNotFound(f"cannot find an image for {platform} in {reader.what}")
        return _image(chosen, reader, store, platform, depth + 1)
    for part in (parsed.config, *parsed.layers):
        _copy_blob(part, reader, store)
    return _verified(Descriptor(media_type=parsed.media_type, digest=entry.digest, size=entry.size), store)


def _copy_blob(part: Descriptor, reader: Reader, store: Store) -> None:
    if store.blobs.use(part.digest, part.size):
        return
    source = reader.open(blob_path(part.digest))
    if source is None:
        raise UnsafeArchive(f"cannot load {reader.what}: the blob {part.digest} is missing")
    with source, store.blobs.writer() as writer:
        while writer.size <= part.size and (data := source.read(CHUNK)):  # no further: it may be a bomb
            writer.write(data)
        writer.commit(part.digest, part.size)


def _from_docker(entries: Any, reader: Reader, store: Store) -> Iterator[tuple[str | None, Image]]:
    if not isinstance(entries, list):
        raise UnsafeArchive(f"cannot load {reader.what}: manifest.json is not a list")
    for entry in entries:
        try:
            config, layers = entry["Config"], list(entry["Layers"])
            names = list(entry.get("RepoTags") or [None])
        except (TypeError, KeyError, AttributeError):
            raise UnsafeArchive(f"cannot load {reader.what}: manifest.json is not docker's") from None
        tags = [name for name in names if name is not None]
        if not all(isinstance(text, str) for text in (config, *layers, *tags)):
            raise UnsafeArchive(f"cannot load {reader.what}: manifest.json is not docker's")
        image = _docker_image(config, layers, reader, store)
        for name in names:
            yield name, image


def _docker_image(config: str, layers: list[str], reader: Reader, store: Store) -> Image:
    source = _must(config, reader)
    with source:
        data = source.read(JSON_LIMIT + 1)
    ImageConfig.from_json(data)  # before anything of it is kept
    described = Descriptor(media_type=MEDIA_TYPE_IMAGE_CONFIG, digest=store.blobs.put(data), size=len(data))
    manifest = Manifest(config=described, layers=tuple(_docker_layer(path, reader, store) for path in layers))
    body = manifest.to_json()
    return _verified(Descriptor(media_type=manifest.media_type, digest=store.blobs.put(body), size=len(body)), store)


def _verified(manifest: Descriptor, store: Store) -> Image:
    """The image, once each of its layers was found to be what its config says; that is remembered, as after a pull."""
    for layer in store.images.load(manifest).layers:
        pair = f"blob-{layer.blob.digest.hex[:40]}"
        if store.compressed.get(layer.diff_id, pair, None) is None:
            if store.trees.known(layer.diff_id):
                with store.trees.stream(layer) as tar:
                    tar.finish()
            else:
                store.trees.changes(layer)
            store.compressed.put(layer.diff_id, pair, None, layer.blob)
    return store.images.add(manifest)


def _docker_layer(path: str, reader: Reader, store: Store) -> Descriptor:
    """A layer of docker save has no descriptor: its digest and kind are found out while it is copied."""
    digest, size, head = hashlib.sha256(), 0, b""
    with _must(path, reader) as source, store.blobs.writer() as writer:
        while data := source.read(CHUNK):
            head = head or data
            digest.update(data)
            size += len(data)
            writer.write(data)
        found = writer.commit(Digest("sha256", digest.hexdigest()), size)
    kind = sniff(head)
    if kind not in TYPES:
        raise UnsafeArchive(f"cannot load {reader.what}: the layer {path} is compressed with {kind}")
    return Descriptor(media_type=TYPES[kind], digest=found, size=size)


def _must(path: str, reader: Reader) -> BinaryIO:
    source = reader.open(path)
    if source is None:
        raise UnsafeArchive(f"cannot load {reader.what}: {path} is missing")
    return source


def _name(name: str | None, default_registry: str) -> str | None:
    if name is None or ("/" not in name and ":" not in name):
        return None  # a bare tag, as umoci and skopeo write it, is the name of nothing
    try:
        return str(Reference.parse(name, default_registry=default_registry).with_default_tag())
    except UsageError:
        return None
