"""Deletions in a layer, as the image spec writes them (layer.md, Whiteouts and Opaque Whiteout).

    .wh.NAME          nothing of a lower layer is at NAME any more, nor below it
    .wh..wh..opq      the folder that holds it shows nothing of lower layers
    .wh..wh.OTHER     book-keeping of AUFS: not a deletion, not a file of the image
"""

from ..errors import UnsafeArchive, UnsupportedError
from ..paths import ImagePath, basename, join, parent
from ..tree.changes import Opaque, Remove

PREFIX = ".wh."
META_PREFIX = ".wh..wh."
OPAQUE = ".wh..wh..opq"
AUFS_LINKS = ImagePath(".wh..wh.plnk")  # old docker layers keep the bytes of hard-linked files in here


def marker(change: Remove | Opaque) -> ImagePath:
    """The path of the empty file that says `change` in a tar. The root itself cannot be removed: ValueError."""
    if isinstance(change, Opaque):
        return join(change.path, OPAQUE)
    if not change.path:
        raise ValueError("the root of an image cannot be removed")
    return join(parent(change.path), PREFIX + basename(change.path))


def check_name(path: ImagePath) -> None:
    """Refuse a real file whose name a reader would take for a deletion. Errors: UnsupportedError."""
    if basename(path).startswith(PREFIX):
        raise UnsupportedError(f"cannot put /{path} in a layer: names that begin with .wh. mean deletions there",
                               hint="rename the file")


def is_reserved(path: str) -> bool:
    """Whether any part of `path` begins with .wh., the usual and cheap question of a reader."""
    return path.startswith(PREFIX) or "/" + PREFIX in path


def parse(path: ImagePath) -> Remove | Opaque | None:
    """What the tar entry `path`, one that `is_reserved`, means; None for book-keeping to be passed over.

    Errors: UnsafeArchive for a deletion of nothing, of "." or "..", and for entries below a deletion.
    """
    folder, name = parent(path), basename(path)
    if any(part.startswith(META_PREFIX) for part in folder.split("/")):
        return None
    if is_reserved(folder):
        raise UnsafeArchive(f"cannot read the layer: {path!r} lies below a deletion")
    if name == OPAQUE:
        return Opaque(folder)
    if name.startswith(META_PREFIX):
        return None
    target = name[len(PREFIX):]
    if target in ("", ".", ".."):
        raise UnsafeArchive(f"cannot read the layer: {path!r} would delete {target!r}")
    return Remove(join(folder, target))
