"""A tar archive as a Tree: a build context, a root file system given for a base image, a local source of ADD.

The archive, whatever compressed it, is inflated once into an unnamed file of the scratch folder, which is gone when
this process is; nodes read from there. Owners are the archive's.
"""

import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Self

from ..errors import DiskFull, SourceError, StoreError, UnsafeArchive
from ..layer.compress import inflated
from ..layer.content import bind
from ..layer.reader import read_layer
from ..paths import ROOT, ImagePath
from ..tree.tree import Tree
from .pruned import Ignore, pruned
from .selection import anywhere, selection_digest

CHUNK = 1 << 20
# What an archive may inflate to: deflate's own limit is 1032 to 1; bzip2 and xz have none, and holes compress well.
INFLATED_RATIO, INFLATED_FREE = 1100, 16 << 30


def write_all(fd: int, data: bytes) -> None:
    """write(2) may take less than it is given. Errors: OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left):]


class _Counted:
    """A stream that knows how much was read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        return data


class ArchiveSource:
    """Takes over `fd` (read to its end, then closed). what: how messages name it. Errors: SourceError, UnsafeArchive.

    layer: read ".wh." names as deletions, as in an image's layer; else they are files like any other. ignore: what
    of it is not there for the user.
    """

    def __init__(self, fd: int, *, what: str, tmp: Path, layer: bool = False, ignore: Ignore | None = None) -> None:
        self.what = what
        self._ignore = ignore
        import tempfile

        self._tar, name = tempfile.mkstemp(dir=tmp, prefix="iechor-archive-")
        os.unlink(name)
        with open(fd, "rb") as stream:
            self._digest = self._inflate(stream)
        try:
            with open(self._duplicate(), "rb") as stream:
                found = read_layer(stream, whiteouts=layer)
        except UnsafeArchive as error:
            raise UnsafeArchive(error.message.replace("the archive", what, 1), hint=error.hint) from error
        self.changes = bind(found, self._duplicate)
        self.whole = Tree.empty().apply(self.changes)
        self._tree = pruned(self.whole, ignore) if ignore is not None else self.whole

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._tar)

    def tree(self) -> Tree:
        return self._tree

    def digest(self, found: Iterable[tuple[ImagePath, ImagePath]], part: Tree | None = None) -> str:
        """Of what `found` names (selection.selection_digest), its owners too; of all of it, times too."""
        wanted = list(found)
        if wanted == [(ROOT, ROOT)] and part is None and self._ignore is None:
            return self._digest
        return selection_digest(part or self._tree, anywhere, wanted)

    def ignores(self, path: ImagePath) -> bool:
        """Is `path` excluded by the ignore file?"""
        return self._ignore is not None and self._ignore.matches(path)

    def _duplicate(self) -> int:
        return os.open(f"/proc/self/fd/{self._tar}", os.O_RDONLY | os.O_CLOEXEC)

    def _keep(self, data: bytes) -> None:
        """It is our disk that fails here, not where the archive comes from."""
        try:
            write_all(self._tar, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"cannot unpack {self.what}: {error.strerror}",
                               hint="set IECHOR_SCRATCH to a larger disk") from error
            raise StoreError(f"cannot unpack {self.what}: {error.strerror}",
                             hint="the disk of the scratch folder fails (see dmesg): set IECHOR_SCRATCH to another one"
                             ) from error

    def _inflate(self, stream: BinaryIO) -> str:
        digest = hashlib.sha256()
        counted, size = _Counted(stream), 0
        source = inflated(counted)
        try:
            while data := source.read(CHUNK):
                digest.update(data)
                size += len(data)
                if size > counted.count * INFLATED_RATIO + INFLATED_FREE:
                    raise UnsafeArchive(f"cannot unpack {self.what}: it inflates to far more than any archive needs",
                                        hint="it may be meant to fill the disk; do not use it")
                self._keep(data)
        except OSError as error:
            raise SourceError(f"cannot read {self.what}: {error.strerror}") from error
        return digest.hexdigest()
