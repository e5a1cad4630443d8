"""Images as one tar that every engine reads: an OCI image layout, with docker's manifest.json beside it where wanted.

    oci-layout  index.json  blobs/sha256/…      skopeo, umoci, podman, docker ≥ 25 (image-layout.md)
    manifest.json                               docker load of any age: [{Config, RepoTags, Layers}]

The same images give the same bytes.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence

from ..layer.header import BLOCK, node_header
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.manifest import LAYOUT, Index, blob_path
from ..oci.reference import Reference
from ..paths import image_path
from ..store.atomic import write_all
from ..store.images import Image
from ..store.names import REF_NAME
from ..store.packing import Packing
from ..tree.changes import ChangeSet, Put
from ..tree.node import Directory, File, Inline, Meta
from ..values import dataclass, replace
from .files import STDOUT, append, check_file, whole_file
from .output import Exported, Exporting
from .packed import PackedImage, packed_image

CONTAINERD_NAME = "io.containerd.image.name"

Named = tuple[Reference | None, PackedImage]
NameOf = Callable[[Reference], str]  # the value of org.opencontainers.image.ref.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOutput:
    """type=oci, type=docker. docker: with manifest.json."""

    dest: str
    packing: Packing
    docker: bool = False
    names: tuple[Reference, ...] = ()
    named_here: bool = False
    sends: bool = False

    @property
    def to_stdout(self) -> bool:
        return self.dest == STDOUT

    def check(self) -> None:
        check_file(self.dest)
        self.packing.check()

    def export(self, image: Image, world: Exporting) -> Exported:
        """Errors: DiskFull, UsageError, StoreError."""
        with packed_image(image, world.store, self.packing, jobs=world.settings.jobs) as found:
            with whole_file(self.dest) as fd:
                entries = entries_of(found, self.names)
                _write(layout_changes(entries, docker=self.docker, name_of=tag_of), fd)
            return Exported(manifest=found.descriptor, names=tuple(map(str, self.names)))


def write_archive(images: Sequence[Named], out_fd: int) -> None:
    """images: (name or None, image); one image may come under several names.

    Errors: DiskFull, StoreError; then what was written to `out_fd` is no archive.
    """
    _write(layout_changes(images), out_fd)


def _write(layout: ChangeSet, out_fd: int) -> None:
    """The tar of a layer, whose digest nobody asks for: most of it are blobs that go from one file to another."""
    for change in layout:
        if isinstance(change, Put):
            write_all(out_fd, node_header(change.path, change.node))
            if isinstance(change.node, File):
                _write_content(change.node, out_fd)
    write_all(out_fd, bytes(2 * BLOCK))


def _write_content(file: File, out_fd: int) -> None:
    fd, offset = file.content.open()
    try:
        append(out_fd, fd, offset, file.size)
    finally:
        os.close(fd)
    write_all(out_fd, bytes(-file.size % BLOCK))


def entries_of(image: PackedImage, names: Iterable[Reference]) -> list[Named]:
    return [(name, image) for name in names] or [(None, image)]


def layout_changes(images: Sequence[Named], *, docker: bool = True, name_of: NameOf = str) -> ChangeSet:
    """The files of the layout, as changes to an empty tree. name_of: what a name is in the index's annotation."""
    blobs: dict[Digest, File] = {}
    for _, image in images:
        blobs.update(image.blobs)
    folders = [Put(image_path(name), Directory(Meta(0o755))) for name in ("blobs", "blobs/sha256")]
    files = [_file("oci-layout", LAYOUT), _file("index.json", _index(images, name_of))]
    if docker:
        files.append(_file("manifest.json", _docker_manifest(images)))
    return ChangeSet.of([*folders, *files, *(Put(image_path(blob_path(digest)), file)
                                             for digest, file in blobs.items())])


def tag_of(name: Reference) -> str:
    """As containerd writes it into an index, and umoci wants it."""
    return name.tag or str(name)


def index_entry(image: PackedImage, name: Reference | None, name_of: NameOf) -> Descriptor:
    named = {} if name is None else {REF_NAME: name_of(name), CONTAINERD_NAME: str(name)}
    return replace(image.descriptor, annotations={**image.descriptor.annotations, **named}, platform=image.platform)


def _index(images: Sequence[Named], name_of: NameOf) -> bytes:
    return Index(manifests=tuple(index_entry(image, name, name_of) for name, image in images)).to_json()


def _docker_manifest(images: Sequence[Named]) -> bytes:
    """One entry for each image, with all its names, as docker save writes it."""
    entries: dict[Digest, dict[str, object]] = {}
    for name, image in images:
        entry = entries.setdefault(image.descriptor.digest, {
            "Config": blob_path(image.id), "RepoTags": [],
            "Layers": [blob_path(layer.digest) for layer in image.layers]})
        if name is not None and name.tag is not None:
            tags = entry["RepoTags"]
            assert isinstance(tags, list)
            tags.append(name.familiar())
    return json.dumps(list(entries.values()), sort_keys=True, separators=(",", ":")).encode()


def _file(name: str, data: bytes) -> Put:
    return Put(image_path(name), File(Meta(0o644), Inline(data), len(data)))
