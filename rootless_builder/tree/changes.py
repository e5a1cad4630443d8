"""The difference of two trees. This *is* a layer, before it is bytes.

    Put(path, node)   the node now at `path`; a Directory put on a folder keeps what the folder holds,
                      whatever its `entries` say; anything else replaces all that was there
    Remove(path)      nothing is at `path` any more, nor below it
    Opaque(path)      the folder at `path` keeps nothing of what it held before this change set

Canonical order: by path component, bytewise, a folder before what it holds; at one path Remove, then Opaque,
then Put. In that order a change set is applied, and written as tar.
"""

from collections.abc import Iterable, Iterator

from ..paths import ImagePath, sort_key
from ..values import dataclass
from .node import Node


@dataclass(frozen=True, slots=True)
class Put:
    path: ImagePath
    node: Node


@dataclass(frozen=True, slots=True)
class Remove:
    path: ImagePath


@dataclass(frozen=True, slots=True)
class Opaque:
    path: ImagePath


Change = Put | Remove | Opaque
_RANK = {Remove: 0, Opaque: 1, Put: 2}


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Changes in canonical order, at most one of each kind at a path."""

    changes: tuple[Change, ...] = ()

    @classmethod
    def of(cls, changes: Iterable[Change]) -> "ChangeSet":
        """Any order in, canonical order out."""
        return cls(tuple(sorted(changes, key=lambda change: (sort_key(change.path), _RANK[type(change)]))))

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)
