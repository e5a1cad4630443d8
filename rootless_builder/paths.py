"""Paths inside an image: relative, slash-separated, no "..", no "." and no empty part. The root is "".

A name is whatever bytes the image has; as str they are decoded from UTF-8 with surrogateescape, so any
name survives the way in and out. Only this module makes an ImagePath.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NewType

    ImagePath = NewType("ImagePath", str)
else:
    ImagePath = str

ROOT = ImagePath("")


def image_path(text: str, *, cwd: ImagePath = ROOT) -> ImagePath:
    """`text` as the image sees it, relative ones below `cwd`; ".." stops at the root, as chroot does."""
    parts = [] if text.startswith("/") or not cwd else cwd.split("/")
    for part in text.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return ImagePath("/".join(parts))


def join(parent: ImagePath, name: str) -> ImagePath:
    """The child `name` (one component) of `parent`."""
    return ImagePath(f"{parent}/{name}" if parent else name)


def parent(path: ImagePath) -> ImagePath:
    """The folder that holds `path`; the root's parent is the root."""
    return ImagePath(path.rpartition("/")[0])


def basename(path: ImagePath) -> str:
    return path.rpartition("/")[2]


def ancestors(path: ImagePath) -> list[ImagePath]:
    """Every folder above `path`, outermost first, the root left out: "a/b/c" → ["a", "a/b"]."""
    parts = path.split("/")[:-1]
    return [ImagePath("/".join(parts[: n + 1])) for n in range(len(parts))]


def absolute(path: ImagePath) -> str:
    """As a program inside the container writes it: "/a/b"."""
    return "/" + path


def encode(path: str) -> bytes:
    return os.fsencode(path)


def decode(path: bytes) -> str:
    return os.fsdecode(path)


def sort_key(path: ImagePath) -> list[bytes]:
    """Canonical order: by component, bytewise, so that a folder comes right before what it holds."""
    return encode(path).split(b"/") if path else []
