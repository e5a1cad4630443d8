"""Images that FROM and --from name by their place on this machine, as podman has it.

    oci:PATH[:NAME]    oci-archive:PATH[:NAME]    docker-archive:PATH[:NAME]

A relative PATH begins at the current folder. docker://NAME is NAME.
"""

import os
from pathlib import Path

from .errors import ImageNotFound, SourceError, UsageError
from .oci.platform import Platform
from .store.images import Image
from .store.store import Store

KINDS = ("oci", "oci-archive", "docker-archive")
REGISTRY = "docker://"


def is_local(name: str) -> bool:
    kind, colon, place = name.partition(":")
    return bool(colon and place) and kind in KINDS


def load_local(name: str, store: Store, platform: Platform, *, default_registry: str, tmp: Path) -> Image:
    """Into the store, without a name. Errors: ImageNotFound, SourceError, UsageError, UnsafeArchive, DiskFull."""
    from .sources.archive import ArchiveSource
    from .store.importing import TreeReader, import_images

    kind, _, place = name.partition(":")
    if kind == "oci":
        return load_layout(place, store, platform, default_registry)
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
    from .store.importing import FolderReader, import_images, layout_names

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
