"""The files of an image at one moment: an immutable tree, cheap to derive from another.

Tree holds the root Directory; Editor is how a new tree comes out of an old one: it copies a folder the first
time it changes it and shares all others.
"""

from collections.abc import Callable, Iterator

from ..paths import ROOT, ImagePath, encode, image_path, join, parent
from ..values import dataclass
from .changes import Change, ChangeSet, Put, Remove
from .node import Directory, Meta, Node, Symlink

IMPLIED = Meta(0o755)  # of a folder that nobody made: image-spec layer.md leaves it open, containerd uses 0755 0:0
MAX_SYMLINKS = 40  # path_resolution(7): more is ELOOP


class SymlinkLoop(ValueError):
    """More than 40 symlinks on one way; the caller knows what the path was for."""


def follow(path: ImagePath, link: Callable[[ImagePath], str | None], *, follow_last: bool = True) -> ImagePath:
    """Where `path` leads inside a root, symlinks followed as chroot would; missing parts stay as written. link: the
    target of the symlink at a path, None where there is none. Errors: SymlinkLoop.
    """
    done = ROOT
    left = path.split("/")[::-1] if path else []
    budget = MAX_SYMLINKS
    while left:
        name = left.pop()
        if name == "..":
            done = parent(done)
            continue
        if not name or name == ".":
            continue
        here = join(done, name)
        target = link(here) if left or follow_last else None
        if target is None:
            done = here
            continue
        budget -= 1
        if budget < 0:
            raise SymlinkLoop(path)
        if target.startswith("/"):
            done = ROOT
        left.extend(target.split("/")[::-1])
    return image_path(done)


@dataclass(frozen=True, slots=True)
class Tree:
    root: Directory

    @classmethod
    def empty(cls) -> "Tree":
        return cls(Directory(IMPLIED))

    def lookup(self, path: ImagePath) -> Node | None:
        """The node at `path` itself: no symlink on the way is followed; None where there is nothing."""
        node: Node = self.root
        for name in path.split("/") if path else ():
            if not isinstance(node, Directory):
                return None
            found = node.entries.get(name)
            if found is None:
                return None
            node = found
        return node

    def resolve(self, path: ImagePath, *, follow_last: bool = True) -> ImagePath:
        """See `follow`. Errors: SymlinkLoop."""
        def link(here: ImagePath) -> str | None:
            node = self.lookup(here)
            return node.target if isinstance(node, Symlink) else None

        return follow(path, link, follow_last=follow_last)

    def walk(self, path: ImagePath = ROOT) -> Iterator[tuple[ImagePath, Node]]:
        """`path` and all below it in canonical order; nothing when it does not exist."""
        start = self.lookup(path)
        stack = [(path, start)] if start is not None else []
        while stack:
            here, node = stack.pop()
            yield here, node
            if isinstance(node, Directory):
                names = sorted(node.entries, key=encode, reverse=True)
                stack.extend((join(here, name), node.entries[name]) for name in names)

    def apply(self, changes: ChangeSet) -> "Tree":
        """The tree after `changes`, by the rules of image-spec layer.md (Applying Changesets)."""
        editor = Editor(self)
        for change in changes:
            editor.apply(change)
        return editor.freeze()


class Editor:
    """One way from a tree to the next. Short-lived, single-owner; `freeze` ends it."""

    def __init__(self, tree: Tree) -> None:
        self._root = Directory(tree.root.meta, dict(tree.root.entries))
        self._own: dict[ImagePath, dict[str, Node]] = {ROOT: self._root.entries}  # type: ignore[dict-item]

    @property
    def tree(self) -> Tree:
        """The tree as it is now; changes with the editor."""
        return Tree(self._root)

    def freeze(self) -> Tree:
        return Tree(self._root)

    def apply(self, change: Change) -> None:
        if isinstance(change, Put):
            self.put(change.path, change.node)
        elif isinstance(change, Remove):
            self.remove(change.path)
        else:
            self.clear(change.path)

    def put(self, path: ImagePath, node: Node) -> None:
        """`node` at `path`; a Directory keeps what is held there. Missing folders above are implied ones."""
        if not path:
            if isinstance(node, Directory):
                self._root = Directory(node.meta, self._root.entries)
            return
        holder, name = self._holder(path)
        entries = self.entries(holder)
        path = join(holder, name)
        if not isinstance(node, Directory):
            self._forget(path)
            entries[name] = node
            return
        old = entries.get(name)
        kept = self._own.get(path)
        if kept is None:
            kept = dict(old.entries) if isinstance(old, Directory) else {}
            self._own[path] = kept
        entries[name] = Directory(node.meta, kept)

    def remove(self, path: ImagePath) -> None:
        holder, name = self._holder(path)
        if path and isinstance(self.tree.lookup(holder), Directory):
            self._forget(join(holder, name))
            self.entries(holder).pop(name, None)

    def clear(self, path: ImagePath) -> None:
        """Nothing is left in the folder at `path` (which is made if missing)."""
        path = self.tree.resolve(path, follow_last=False)
        entries = self.entries(path)
        for name in list(entries):
            self._forget(join(path, name))
        entries.clear()

    def entries(self, path: ImagePath) -> dict[str, Node]:
        """What the folder at `path` holds, ours to change; the folder is made where there is none."""
        own = self._own.get(path)
        if own is not None:
            return own
        above, name = parent(path), path.rpartition("/")[2]
        siblings = self.entries(above)
        old = siblings.get(name)
        own = dict(old.entries) if isinstance(old, Directory) else {}
        siblings[name] = Directory(old.meta if isinstance(old, Directory) else IMPLIED, own)
        self._own[path] = own
        return own

    def _holder(self, path: ImagePath) -> tuple[ImagePath, str]:
        """Where `path` really lies: an entry below a symlink of a lower layer lands behind it, in the root."""
        above, name = parent(path), path.rpartition("/")[2]
        return (above if above in self._own else self.tree.resolve(above)), name

    def _forget(self, path: ImagePath) -> None:
        """A folder that goes away is no longer ours, nor what it held."""
        if path in self._own:
            below = path + "/"
            for own in [own for own in self._own if own == path or own.startswith(below)]:
                del self._own[own]
