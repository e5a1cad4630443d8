"""Where COPY and RUN --mount read from: the build context, a stage of the file, an image or a named context.

    origin = None (the context) | a stage's index | a name
"""

from collections.abc import Iterable
from typing import Protocol

from ..contexts.contexts import Source
from ..paths import ImagePath
from ..sources.selection import anywhere, selection_digest
from ..store.images import LayerRef
from ..tree.tree import Tree
from ..values import dataclass
from .world import World

Origin = int | str | None


def source_of(origin: Origin, world: World) -> Source | None:
    """The folder or archive that is read; None when it is a stage or an image."""
    if isinstance(origin, int):
        return None
    return world.contexts.main() if origin is None else world.bases.context(origin)


def layers_of(origin: "int | str", world: World) -> tuple[LayerRef, ...]:
    """Of a stage, or of an image: pulled when it is not there. Errors: ImageNotFound, RegistryError."""
    if isinstance(origin, int):
        return world.done[origin].layers
    return world.bases.get(origin, world.platform).layers


def tree_of(origin: Origin, world: World) -> Tree:
    source = source_of(origin, world)
    if source is not None:
        return source.tree()
    assert origin is not None
    return world.tree(layers_of(origin, world))


def told(origin: Origin) -> str:
    """For people."""
    return "the build context" if origin is None else f"--from={origin}"


def label(origin: Origin) -> str:
    """Names an input, to explain a miss."""
    return told(None) if origin is None else f"{'stage' if isinstance(origin, int) else 'image'} {origin}"


def layers_digest(layers: tuple[LayerRef, ...]) -> str:
    """Names what a file system holds: the digests of its layers."""
    return "+".join(str(layer.diff_id) for layer in layers)


class Digested(Protocol):
    """Files, and a digest of some of them."""

    def tree(self) -> Tree: ...

    def digest(self, found: Iterable[tuple[ImagePath, ImagePath]], part: Tree | None = None) -> str: ...


@dataclass(frozen=True, slots=True)
class LayeredTree:
    """What an image holds, by content: owners and modes count, times do not."""

    files: Tree

    def tree(self) -> Tree:
        return self.files

    def digest(self, found: Iterable[tuple[ImagePath, ImagePath]], part: Tree | None = None) -> str:
        """See selection.selection_digest. Errors: those of fetching a layer that is not here yet."""
        return selection_digest(part or self.files, anywhere, found)
