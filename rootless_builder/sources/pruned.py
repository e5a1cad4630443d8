"""A tree without what an ignore file excludes: for contexts that are there as a whole, as archives are."""

from typing import Protocol

from ..paths import ROOT, ImagePath, join
from ..tree.node import Directory, Node
from ..tree.tree import Tree


class Ignore(Protocol):
    """language.ignore.IgnorePatterns, or anything that answers as it does."""

    def matches(self, path: str) -> bool: ...

    def may_match_below(self, path: str) -> bool: ...

    def may_reinclude_below(self, path: str) -> bool: ...


def pruned(tree: Tree, ignore: Ignore) -> Tree:
    """An excluded folder stays when a "!" rule brings back something below it."""
    return Tree(_folder(tree.root, ROOT, ignore))


def _folder(folder: Directory, inside: ImagePath, ignore: Ignore) -> Directory:
    entries: dict[str, Node] = {}
    for name, node in folder.entries.items():
        path = join(inside, name)
        excluded = ignore.matches(path)
        if isinstance(node, Directory):
            if excluded and not ignore.may_reinclude_below(path):
                continue
            below = _folder(node, path, ignore)
            if not excluded or below.entries:
                entries[name] = below
        elif not excluded:
            entries[name] = node
    return Directory(folder.meta, entries)
