"""Images as one tar that every engine reads: an OCI image layout with docker's manifest.json beside it.

    oci-layout  index.json  blobs/sha256/…      skopeo, umoci, podman, docker ≥ 25 (image-layout.md)
    manifest.json                               docker load of any age: [{Config, RepoTags, Layers}]

The same images give the same bytes. Blobs are written as they are stored, so digests stay what they are.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import StoreError
from ..layer.writer import write_layer
from ..oci.digest import Digest
from ..oci.manifest import Index
from ..oci.reference import Reference
from ..paths import image_path
from ..store.images import Image
from ..store.names import REF_NAME
from ..store.store import Store
from ..tree.changes import ChangeSet, Put
from ..tree.node import Directory, File, Inline, Meta

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class BlobContent:
    """A blob of the store as the content of a file."""

    store: Store
    digest: Digest

    def open(self) -> tuple[int, int]:
        return self.store.blobs.open(self.digest), 0


def write_archive(images: Sequence[tuple[Reference | None, Image]], store: Store, out_fd: int) -> None:
    """images: (name or None, image); one image may come under several names.

    Errors: DiskFull, StoreError; then what was written to `out_fd` is no archive.
    """
    write_layer(layout_changes(images, store), out_fd)


def write_folder(images: Sequence[tuple[Reference | None, Image]], store: Store, folder: Path) -> None:
    """The same as an image layout folder (made if missing, empty before). Errors: StoreError, DiskFull, OSError."""
    if folder.exists() and any(folder.iterdir()):
        raise StoreError(f"cannot write an image layout to {folder}: it is not empty", hint="name a new folder")
    for change in layout_changes(images, store):
        assert isinstance(change, Put)
        path = folder / change.path
        if isinstance(change.node, Directory):
            path.mkdir(parents=True, exist_ok=True)
        elif isinstance(change.node, File):
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy_out(change.node, path)


def layout_changes(images: Sequence[tuple[Reference | None, Image]], store: Store) -> ChangeSet:
    """The files of the layout, as changes to an empty tree."""
    blobs: dict[Digest, int] = {}
    for _, image in images:
        for part in (image.manifest_descriptor, image.manifest.config, *image.manifest.layers):
            blobs[part.digest] = part.size
    folders = [Put(image_path(name), Directory(Meta(0o755))) for name in ("blobs", "blobs/sha256")]
    files = [_file("oci-layout", LAYOUT), _file("index.json", _index(images)),
             _file("manifest.json", _docker_manifest(images))]
    found = [Put(image_path(f"blobs/{digest.algorithm}/{digest.hex}"),
                 File(Meta(0o644), BlobContent(store, digest), size)) for digest, size in blobs.items()]
    return ChangeSet.of([*folders, *files, *found])


def _index(images: Sequence[tuple[Reference | None, Image]]) -> bytes:
    manifests = []
    for name, image in images:
        named = {REF_NAME: str(name), "io.containerd.image.name": str(name)} if name is not None else {}
        manifests.append(replace(image.manifest_descriptor, annotations=named, platform=image.config.platform))
    return Index(manifests=tuple(manifests)).to_json()


def _docker_manifest(images: Sequence[tuple[Reference | None, Image]]) -> bytes:
    """One entry for each image, with all its names, as docker save writes it."""
    entries: dict[Digest, dict[str, object]] = {}
    for name, image in images:
        entry = entries.setdefault(image.manifest_descriptor.digest, {
            "Config": _blob_path(image.id), "RepoTags": [],
            "Layers": [_blob_path(layer.digest) for layer in image.manifest.layers]})
        if name is not None and name.tag is not None:
            tags = entry["RepoTags"]
            assert isinstance(tags, list)
            tags.append(name.familiar())
    return json.dumps(list(entries.values()), sort_keys=True, separators=(",", ":")).encode()


def _blob_path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _file(name: str, data: bytes) -> Put:
    return Put(image_path(name), File(Meta(0o644), Inline(data), len(data)))


def _copy_out(file: File, path: Path) -> None:
    fd, offset = file.content.open()
    with open(fd, "rb") as source, path.open("xb") as sink:
        source.seek(offset)
        shutil.copyfileobj(source, sink, 1 << 20)
