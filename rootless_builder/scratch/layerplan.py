"""What a layer's change set means on disk, before anything is written.

    folders    path → its Meta, and whether the layer itself says so or a layer below does ("implied")
    nodes      path → File, Symlink, Device
    whiteouts  paths that lower layers may have and the image has not
    opaque     folders that show nothing of lower layers

The rules are those of Tree.apply (image-spec layer.md): what lies below a symlink of a lower layer lands behind it;
a folder that nobody made is an implied one, with the metadata it has in the layers below.
"""

from ..errors import UnsafeArchive
from ..paths import ImagePath, ancestors, basename, join, parent
from ..tree.changes import ChangeSet, Opaque, Put, Remove
from ..tree.node import Directory, Meta, Node, Symlink
from ..tree.tree import IMPLIED, SymlinkLoop, follow
from ..values import dataclass, field
from .lowers import Lowers

Leaf = Node


@dataclass(slots=True)
class LayerPlan:
    """Single-owner while `of` makes it. depends: something of it came from the layers below, so that it holds for
    this chain of layers only."""

    folders: dict[ImagePath, Meta] = field(default_factory=dict)
    nodes: dict[ImagePath, Leaf] = field(default_factory=dict)
    whiteouts: set[ImagePath] = field(default_factory=set)
    opaque: set[ImagePath] = field(default_factory=set)
    has_root: bool = False
    depends: bool = False


def plan_layer(changes: ChangeSet, lowers: Lowers) -> LayerPlan:
    """Errors: UnsafeArchive (a loop of symlinks), OSError."""
    planner = _Planner(lowers)
    for change in changes:
        if isinstance(change, Put):
            planner.put(change.path, change.node)
        elif isinstance(change, Remove):
            planner.remove(change.path)
        else:
            planner.clear(change)
    return planner.finish()


class _Planner:
    def __init__(self, lowers: Lowers) -> None:
        self._lowers = lowers
        self._plan = LayerPlan()
        self._plan.folders[ImagePath("")] = IMPLIED
        self._resolved: dict[ImagePath, ImagePath] = {}

    def put(self, path: ImagePath, node: Node) -> None:
        plan = self._plan
        path = self._place(path)
        if isinstance(node, Directory):
            plan.nodes.pop(path, None)
            if path in plan.whiteouts:
                plan.whiteouts.discard(path)
                plan.opaque.add(path)
            plan.folders[path] = node.meta
            plan.has_root = plan.has_root or not path
            return
        if not path:
            raise UnsafeArchive("cannot unpack the layer: its root is not a folder")
        self._forget(path)
        plan.nodes[path] = node

    def remove(self, path: ImagePath) -> None:
        path = self._target(path)
        if path and self._is_folder(parent(path)):
            self._parents(path)
            self._forget(path)
            self._plan.whiteouts.add(path)

    def clear(self, change: Opaque) -> None:
        path = self._resolve(change.path, follow_last=False)
        self._parents(path)
        self._folder(path)
        self._plan.opaque.add(path)

    def finish(self) -> LayerPlan:
        """A deletion in a folder that shows nothing of lower layers deletes nothing, and would be seen there."""
        plan = self._plan
        plan.whiteouts = {path for path in plan.whiteouts
                          if not any(above in plan.opaque for above in (ImagePath(""), *ancestors(path)))}
        return plan

    def _place(self, path: ImagePath) -> ImagePath:
        """Where the entry really lies; the folders above it are there afterwards."""
        path = self._target(path)
        self._parents(path)
        return path

    def _target(self, path: ImagePath) -> ImagePath:
        if not path:
            return path
        above = parent(path)
        if above not in self._plan.folders:
            place = self._resolved.get(above)
            if place is None:
                place = self._resolved[above] = self._resolve(above, follow_last=True)
            path = join(place, basename(path))
        return path

    def _is_folder(self, path: ImagePath) -> bool:
        """Whether there is a folder at `path`, of this layer or below."""
        if path in self._plan.folders:
            return True
        if path in self._plan.nodes or self._hidden(path):
            return False
        found = self._lowers.find(path)
        return found is not None and found.is_folder

    def _parents(self, path: ImagePath) -> None:
        if parent(path) not in self._plan.folders:
            for above in ancestors(path):
                self._folder(above)

    def _folder(self, path: ImagePath) -> None:
        """An implied folder, unless the layer has made it."""
        plan = self._plan
        if path in plan.folders:
            return
        plan.depends = True
        plan.folders[path] = self._meta_below(path)
        if plan.nodes.pop(path, None) is not None or path in plan.whiteouts:
            plan.whiteouts.discard(path)
            plan.opaque.add(path)

    def _meta_below(self, path: ImagePath) -> Meta:
        if path in self._plan.nodes or self._hidden(path):
            return IMPLIED
        found = self._lowers.find(path)
        node = self._lowers.node(found) if found is not None and found.is_folder else None
        return IMPLIED if node is None else node.meta

    def _hidden(self, path: ImagePath) -> bool:
        """Whether this layer deletes what the layers below have at `path`."""
        above = [ImagePath(""), *ancestors(path)]
        return path in self._plan.whiteouts or any(
            folder in self._plan.opaque or folder in self._plan.whiteouts for folder in above)

    def _resolve(self, path: ImagePath, *, follow_last: bool) -> ImagePath:
        """As Tree.resolve, over the layers below and what this one has put so far."""
        try:
            return follow(path, self._link, follow_last=follow_last)
        except SymlinkLoop:
            raise UnsafeArchive(
                f"cannot unpack the layer: {path!r} leads through too many symbolic links") from None

    def _link(self, path: ImagePath) -> str | None:
        if path in self._plan.folders:
            return None
        node = self._plan.nodes.get(path)
        if node is not None:
            return node.target if isinstance(node, Symlink) else None
        if self._hidden(path):
            return None
        found = self._lowers.find(path)
        if found is None or not found.is_symlink:
            return None
        self._plan.depends = True
        return self._lowers.readlink(found)

    def _forget(self, path: ImagePath) -> None:
        """What the layer has put at `path` and below goes (only a layer that lies about its order has any)."""
        plan = self._plan
        plan.whiteouts.discard(path)
        plan.nodes.pop(path, None)
        if plan.folders.pop(path, None) is None:
            return
        below = path + "/"
        for known in (plan.folders, plan.nodes):
            for other in [other for other in known if other.startswith(below)]:
                del known[other]
        for marks in (plan.whiteouts, plan.opaque):
            marks.difference_update([other for other in marks if other == path or other.startswith(below)])
