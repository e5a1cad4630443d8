"""A tar archive as a Tree: a build context, a root file system given for a base image, a local source of ADD.

The archive, whatever compressed it, is inflated once into an unnamed file of the scratch folder, which is gone when
this process is; nodes read from there. Owners are the archive's.
"""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Self

from ..errors import DiskFull, SourceError
from ..layer.compress import inflated
from ..layer.content import bind
from ..layer.reader import read_layer
from ..paths import ImagePath
from ..tree.tree import Tree

CHUNK = 1 << 20


def write_all(fd: int, data: bytes) -> None:
    """write(2) may take less than it is given. Errors: OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left):]


class ArchiveSource:
    """Takes over `fd` (read to its end, then closed). what: how messages name it. Errors: SourceError, UnsafeArchive.

    layer: read ".wh." names as deletions, as in an image's layer; else they are files like any other.
    """

    def __init__(self, fd: int, *, what: str, tmp: Path, layer: bool = False) -> None:
        self.what = what
        self._tar, name = tempfile.mkstemp(dir=tmp, prefix="iechor-archive-")
        os.unlink(name)
        with open(fd, "rb") as stream:
            self._digest = self._inflate(stream)
        with open(self._duplicate(), "rb") as stream:
            found = read_layer(stream, whiteouts=layer)
        self.changes = bind(found, self._duplicate)
        self._tree = Tree.empty().apply(self.changes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._tar)

    def tree(self) -> Tree:
        return self._tree

    def digest(self, found: Iterable[tuple[ImagePath, ImagePath]], part: Tree | None = None) -> str:
        """Of the whole archive, inflated, and of what is named in it; which part of it counts makes no difference."""
        named = "\0".join(f"{one}\0{path}" for one, path in found)
        return hashlib.sha256(f"{self._digest}\0{named}".encode("utf-8", "surrogateescape")).hexdigest()

    def _duplicate(self) -> int:
        return os.open(f"/proc/self/fd/{self._tar}", os.O_RDONLY | os.O_CLOEXEC)

    def _inflate(self, stream: BinaryIO) -> str:
        digest = hashlib.sha256()
        source = inflated(stream)
        try:
            while data := source.read(CHUNK):
                digest.update(data)
                write_all(self._tar, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"cannot unpack {self.what}: {error.strerror}",
                               hint="set IECHOR_SCRATCH to a larger disk") from error
            raise SourceError(f"cannot read {self.what}: {error.strerror}") from error
        return digest.hexdigest()
