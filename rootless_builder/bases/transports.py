"""Images that FROM and --from name by their place on this machine, as podman has it.

    oci:PATH[:NAME]    oci-archive:PATH[:NAME]    docker-archive:PATH[:NAME]    dir:PATH

A relative PATH begins at the current folder. docker://NAME is NAME.
"""

import errno
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import ImageNotFound, SourceError, UnsafeArchive, UsageError
from ..oci.descriptor import DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, MEDIA_TYPE_IMAGE_INDEX, MEDIA_TYPE_IMAGE_MANIFEST
from ..oci.platform import Platform
from ..store.images import Image
from ..store.store import Store
from ..values import dataclass

KINDS = ("oci", "oci-archive", "docker-archive", "dir")
REGISTRY = "docker://"


MANIFEST_LIMIT = 4 << 20  # bytes
MANIFESTS = (MEDIA_TYPE_IMAGE_MANIFEST, MEDIA_TYPE_IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST)


@dataclass(frozen=True, slots=True)
class DirReader:
    """A folder that skopeo's dir: wrote, read as the layout of one image it might have been.

        manifest.json   the manifest, byte for byte; of several platforms an index, and HEX.manifest.json for each
        HEX             a blob by its sha256; ALGORITHM-HEX by another digest
        version         "Directory Transport Version: 1.1"
    """

    folder: Path
    manifest: bytes
    media_type: str
    what: str

    def open(self, path: str) -> BinaryIO | None:
        from ..store.importing import open_file

        digest = hashlib.sha256(self.manifest).hexdigest()
        if path == "index.json":
            entry = {"mediaType": self.media_type, "digest": f"sha256:{digest}", "size": len(self.manifest)}
            return io.BytesIO(json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
        if path == f"blobs/sha256/{digest}":
            return io.BytesIO(self.manifest)
        blobs, _, name = path.partition("/")
        if blobs != "blobs":
            return None
        algorithm, _, digits = name.partition("/")
        for called in ((digits, f"{digits}.manifest.json") if algorithm == "sha256" else (f"{algorithm}-{digits}",)):
            if (found := open_file(self.folder / called)) is not None:
                return found
        return None


def _folder(place: str) -> DirReader:
    """Errors: ImageNotFound, UnsafeArchive."""
    from ..store.importing import open_file

    folder = Path(place)
    try:
        stream = open_file(folder / "manifest.json")
        if stream is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        with stream:
            text = stream.read(MANIFEST_LIMIT + 1)
    except OSError as error:
        raise ImageNotFound(f"cannot read the image dir:{place}: {error.strerror or error}",
                            hint=f"give a folder of `skopeo copy … dir:PATH`; an image called dir is docker://dir:{place}"
                            ) from None
    try:
        manifest: Any = json.loads(text) if len(text) <= MANIFEST_LIMIT else None
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise UnsafeArchive(f"cannot load dir:{place}: its manifest.json is no manifest")
    kind = manifest.get("mediaType") or (MEDIA_TYPE_IMAGE_INDEX if "manifests" in manifest else
                                         MEDIA_TYPE_IMAGE_MANIFEST)
    if kind not in MANIFESTS or manifest.get("schemaVersion") != 2:
        raise UnsafeArchive(f"cannot load dir:{place}: its manifest.json is of no kind that is known",
                            hint="skopeo copy --format oci makes one that is")
    return DirReader(folder, text, kind, f"dir:{place}")


def is_local(name: str) -> bool:
    kind, colon, place = name.partition(":")
    return bool(colon and place) and kind in KINDS


def load_local(name: str, store: Store, platform: Platform, *, default_registry: str, tmp: Path) -> Image:
    """Into the store, without a name. Errors: ImageNotFound, SourceError, UsageError, UnsafeArchive, DiskFull."""
    from ..sources.archive import ArchiveSource
    from ..store.importing import TreeReader, import_images

    store.layout.seen.elsewhere()
    kind, _, place = name.partition(":")
    if kind == "oci":
        return load_layout(place, store, platform, default_registry)
    if kind == "dir":
        return _only([image for _, image in import_images(
            _folder(place), store, default_registry=default_registry, platform=platform)], place)
    path, wanted = _split(place)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"cannot read the image {name}: {error.strerror}") from error
    with ArchiveSource(fd, what=path, tmp=tmp) as archive:
        found = import_images(TreeReader(archive.tree(), what=path), store, default_registry=default_registry,
                              platform=platform, wanted=wanted if kind == "oci-archive" and wanted else None)
    named = [image for called, image in found if not wanted or called is None or called.endswith(wanted)]
    if not named:
        raise ImageNotFound(f"cannot find {wanted} in {path}")
    return _only(named, name)


def load_layout(place: str, store: Store, platform: Platform, default_registry: str) -> Image:
    """PATH, PATH:TAG or PATH@DIGEST of an image layout folder, into the store without a name; as buildx has it, TAG is
    "latest" unless given, and a layout of one image needs none. Errors: ImageNotFound.
    """
    from ..store.importing import FolderReader, import_images, layout_names

    store.layout.seen.elsewhere()
    path, at, wanted = place.partition("@")
    if not at:
        path, wanted = _split(place)
    if not Path(path).is_dir():
        raise ImageNotFound(f"cannot read the image layout {place}: there is no such folder")
    reader = FolderReader(Path(path), what=place)
    names = layout_names(reader)
    if not at and len(names) == 1:
        wanted = ""
    elif not at and not wanted and "latest" in names:
        wanted = "latest"
    found = import_images(reader, store, default_registry=default_registry, platform=platform, wanted=wanted or None)
    return _only([image for _, image in found], place)


def _split(place: str) -> tuple[str, str]:
    """(path, name) at the first colon before which there is something on the disk."""
    parts = place.split(":")
    for count in range(len(parts), 0, -1):
        if os.path.exists(":".join(parts[:count])):
            return ":".join(parts[:count]), ":".join(parts[count:])
    return place, ""


def _only(images: list[Image], place: str) -> Image:
    if len({image.id for image in images}) > 1:
        raise UsageError(f"cannot tell which image of {place} is meant: it has {len(images)}",
                         hint="put a colon and its name behind it")
    return images[0]
