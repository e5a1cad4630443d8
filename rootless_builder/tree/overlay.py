"""A mutable view over a lower tree that records, in memory, every change made to it.

    lower Tree ──▶ Overlay ──.changes()──▶ ChangeSet   (becomes the layer)
                       └─────.freeze()───▶ Tree        (the next step's lower)

It lives for one step. Paths are taken literally, as lstat would: the caller resolves symlinks first.
"""

from ..paths import ImagePath, ancestors, parent
from .changes import Change, ChangeSet, Opaque, Put, Remove
from .node import Directory, Meta, Node
from .tree import Editor, Tree


class Overlay:
    def __init__(self, lower: Tree) -> None:
        self._lower = lower
        self._editor = Editor(lower)
        self._puts: dict[ImagePath, Node] = {}
        self._removed: set[ImagePath] = set()
        self._opaque: set[ImagePath] = set()

    @property
    def tree(self) -> Tree:
        """What is seen now: for lookup, resolve and walk. Not to be kept: `freeze` gives the tree to keep."""
        return self._editor.tree

    def put(self, path: ImagePath, node: Node) -> None:
        """Make `path` be `node`. A Directory on a folder changes its meta alone; every other pair replaces.

        The folder above must exist (see make_folders): NotADirectoryError, FileNotFoundError as mkdir(2).
        """
        self._check_parent(path)
        old = self._editor.tree.lookup(path)
        if isinstance(node, Directory):
            if not isinstance(old, Directory):
                self._removed.discard(path)
                if self._in_lower(path) and isinstance(self._lower.lookup(path), Directory):
                    self._opaque.add(path)
            node = Directory(node.meta)
        else:
            if isinstance(old, Directory):
                self._forget_below(path)
            self._removed.discard(path)
            self._opaque.discard(path)
        self._editor.put(path, node)
        self._puts[path] = node

    def remove(self, path: ImagePath) -> None:
        """Nothing at `path` any more. FileNotFoundError when there is nothing; the root cannot go: ValueError."""
        if not path:
            raise ValueError("the root of a tree cannot be removed")
        old = self._editor.tree.lookup(path)
        if old is None:
            raise FileNotFoundError(path)
        if isinstance(old, Directory):
            self._forget_below(path)
        self._puts.pop(path, None)
        self._opaque.discard(path)
        self._editor.remove(path)
        if self._in_lower(path):
            self._removed.add(path)

    def set_meta(self, path: ImagePath, meta: Meta) -> None:
        """chmod, chown and utimes at once. FileNotFoundError when there is nothing."""
        node = self._editor.tree.lookup(path)
        if node is None:
            raise FileNotFoundError(path)
        self.put(path, node.with_meta(meta))

    def make_folders(self, path: ImagePath, meta: Meta) -> list[ImagePath]:
        """mkdir -p: every missing folder on the way to `path` and itself, with `meta`; returns those made.

        Errors: NotADirectoryError where something else is in the way.
        """
        made = []
        for folder in [*ancestors(path), path]:
            node = self._editor.tree.lookup(folder)
            if node is None:
                self.put(folder, Directory(meta))
                made.append(folder)
            elif not isinstance(node, Directory):
                raise NotADirectoryError(folder)
        return made

    def changes(self) -> ChangeSet:
        found: list[Change] = [Put(path, node) for path, node in self._puts.items()]
        found += [Remove(path) for path in self._removed]
        found += [Opaque(path) for path in self._opaque]
        return ChangeSet.of(found)

    def freeze(self) -> Tree:
        return self._editor.freeze()

    def _in_lower(self, path: ImagePath) -> bool:
        """Is something of the lower tree still to be hidden at `path`? Not below what is hidden already."""
        above = [path, *ancestors(path)]
        if any(folder in self._removed or folder in self._opaque for folder in above[1:]):
            return False
        if any(folder in self._puts and not isinstance(self._lower.lookup(folder), Directory) for folder in above[1:]):
            return False
        return self._lower.lookup(path) is not None

    def _forget_below(self, path: ImagePath) -> None:
        """What was recorded below `path` goes with it."""
        below = path + "/"
        for recorded in (self._puts, self._removed, self._opaque):
            for gone in [one for one in recorded if one.startswith(below)]:
                recorded.pop(gone) if isinstance(recorded, dict) else recorded.discard(gone)

    def _check_parent(self, path: ImagePath) -> None:
        holder = self._editor.tree.lookup(parent(path))
        if holder is None:
            raise FileNotFoundError(parent(path))
        if not isinstance(holder, Directory):
            raise NotADirectoryError(parent(path))

