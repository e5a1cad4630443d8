"""Unpacked layers seen as one tree, as overlayfs shows them: for what an image says of a path, read from disk.

    layers (topmost first)      found("etc/passwd") → the topmost layer that has it, unless something between hides it

No symlink is followed: a part of a path is only looked up below folders that were looked at themselves.
"""

import os
import stat
from collections.abc import Mapping
from typing import Protocol

from ..paths import encode
from ..sandbox.idmap import IdMode
from ..tree.node import Node
from ..values import dataclass, field
from .metadata import DiskReader
from .owners import OwnerRecord
from .walk import Entry


class Lower(Protocol):
    """One unpacked layer. whiteouts, opaque: image paths."""

    @property
    def root_fd(self) -> int: ...

    @property
    def whiteouts(self) -> frozenset[str]: ...

    @property
    def opaque(self) -> frozenset[str]: ...

    @property
    def owners(self) -> Mapping[int, OwnerRecord]: ...


@dataclass(frozen=True, slots=True)
class Found:
    """layer: its number, 0 the topmost."""

    layer: int
    path: str
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)


@dataclass(slots=True)
class Lowers:
    """ids: how the owners are kept. layers: the topmost first. Single-owner: it remembers what it looked up."""

    ids: IdMode
    layers: tuple[Lower, ...]
    _folders: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def visible(self) -> tuple[Lower, ...]:
        """Without the layers below one that empties the whole root (overlayfs knows no opaque root)."""
        for number, layer in enumerate(self.layers):
            if "" in layer.opaque:
                return self.layers[: number + 1]
        return self.layers

    def find(self, path: str) -> Found | None:
        """What the layers together have at `path`. Errors: OSError."""
        if not path:
            return Found(0, "", os.fstat(self.layers[0].root_fd)) if self.layers else None
        for number in self._holders(path.rpartition("/")[0]):
            status = self._status(number, path)
            if status is not None:
                return Found(number, path, status)
            if path in self.layers[number].whiteouts:
                return None
        return None

    def node(self, found: Found) -> Node | None:
        """Errors: OSError."""
        layer = self.layers[found.layer]
        reader = DiskReader(self.ids, layer.owners if self.ids is IdMode.FAKEROOT else {}, layer.root_fd)
        return reader.node(Entry(encode(found.path), layer.root_fd, encode(found.path), found.status))

    def readlink(self, found: Found) -> str:
        return os.fsdecode(os.readlink(encode(found.path), dir_fd=self.layers[found.layer].root_fd))

    def names(self, path: str) -> set[str]:
        """What the folder at `path` holds; nothing when it is none. Errors: OSError."""
        prefix = path + "/" if path else ""
        found: set[str] = set()
        hidden: set[str] = set()
        for number in self._holders(path):
            layer = self.layers[number]
            fd = os.open(encode(path) or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                         dir_fd=layer.root_fd)
            try:
                here = {name for name in os.listdir(fd) if prefix + name not in layer.whiteouts}
            finally:
                os.close(fd)
            found |= here - hidden
            hidden |= {other.removeprefix(prefix) for other in layer.whiteouts
                       if other.startswith(prefix) and "/" not in other[len(prefix):]}
        return found

    def _holders(self, path: str) -> tuple[int, ...]:
        """The layers whose folder at `path` is part of what is seen there, the topmost first."""
        known = self._folders.get(path)
        if known is not None:
            return known
        if not path:
            found = list(range(len(self.visible())))
        else:
            found = []
            for number in self._holders(path.rpartition("/")[0]):
                status = self._status(number, path)
                if status is None:
                    if path in self.layers[number].whiteouts:
                        break
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    break
                found.append(number)
                if path in self.layers[number].opaque:
                    break
        self._folders[path] = tuple(found)
        return self._folders[path]

    def _status(self, number: int, path: str) -> os.stat_result | None:
        """None where the layer itself has nothing (or a whiteout)."""
        layer = self.layers[number]
        if path in layer.whiteouts:
            return None
        try:
            return os.lstat(encode(path), dir_fd=layer.root_fd)
        except FileNotFoundError:
            return None
