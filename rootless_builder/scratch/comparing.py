"""Whether a path that lies on disk is what the image had there before: then it is no change.

Never by times alone: metadata first, then the bytes.
"""

import os
from collections.abc import Iterable

from ..tree.node import Content, Directory, File, Node
from ..values import dataclass, replace
from .lowers import Lowers

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Original:
    """What the image has, by `lowers`. made: mount points that we made ourselves, as image paths."""

    lowers: Lowers
    made: frozenset[str]

    def has(self, path: str) -> bool:
        return self.lowers.find(path) is not None

    def same(self, path: str, node: Node, *, only_made_below: bool = False) -> bool:
        """only_made_below: all that is new in the folder are mount points of ours, so that its mtime is ours too.

        Errors: OSError.
        """
        if path in self.made:
            return self.lowers.find(path) is None
        found = self.lowers.find(path)
        before = None if found is None else self.lowers.node(found)
        if before is None or type(before) is not type(node):
            return False
        if isinstance(node, Directory) and only_made_below:
            return replace(node.meta, mtime=0) == replace(before.meta, mtime=0)
        if node.meta != before.meta:
            return False
        if isinstance(node, File) and isinstance(before, File):
            return node.size == before.size and _same_bytes(node.content, before.content, node.size)
        return isinstance(node, Directory) or node == before


def made_only(path: str, names: Iterable[str], made: frozenset[str]) -> bool:
    """Whether something was put into this folder, and nothing but mount points of ours."""
    prefix = path + "/" if path else ""
    children = [prefix + name for name in names]
    return bool(children) and all(child in made for child in children)


def _same_bytes(one: Content, other: Content, size: int) -> bool:
    first, first_offset = one.open()
    try:
        second, second_offset = other.open()
        try:
            done = 0
            while done < size:
                data = os.pread(first, min(_CHUNK, size - done), first_offset + done)
                if not data or data != os.pread(second, len(data), second_offset + done):
                    return False
                done += len(data)
            return True
        finally:
            os.close(second)
    finally:
        os.close(first)
