"""What the steps of one build share, and the state that each of them is given and changes."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..bases.bases import Bases
from ..contexts.contexts import Contexts
from ..contexts.remotes import Remotes
from ..effects.effects import Effects
from ..events import Emit
from ..oci.config import History, ImageConfig
from ..oci.platform import Platform
from ..once import Once
from ..plan.lower import Inherited
from ..plan.steps import Step
from ..schedule import Schedule
from ..store.images import LayerRef
from ..store.store import Store
from ..tree.tree import Tree
from ..values import dataclass, field

if TYPE_CHECKING:
    from .late import LateLayer
    from .packing import Packing
    from .runsettings import RunSettings

Rewrite = Literal["clamp", "force", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """The build at one point: the accumulator of the fold. layers: the lowest first; key: names all that came before.

    base: how many of the layers are those of the image that FROM named. image: the config (its history and diff ids
    are those of the base until the image is committed). late: a layer above all others that is being written.
    """

    layers: tuple[LayerRef, ...]
    base: int
    key: str
    image: ImageConfig
    history: tuple[History, ...]
    inherited: Inherited
    late: "LateLayer | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that a step may touch; steps in several threads share it. done: finished stages by index; bases: resolves
    what --from names outside the file; remotes: fetches what ADD names by URL.

    now: nanoseconds since the epoch, the time of what this build makes; clamp: SOURCE_DATE_EPOCH in seconds;
    rewrite: whether times of files in new layers are brought down to it, all made to be it, or kept.
    effects: gathers what the steps did that nobody may have meant.
    """

    store: Store
    contexts: Contexts
    bases: Bases
    remotes: Remotes
    platform: Platform
    done: dict[int, StageState]
    run: "RunSettings"
    tmp: Path
    emit: Emit
    now: int
    clamp: int | None
    effects: Effects
    schedule: Schedule
    rewrite: Rewrite = "clamp"
    trees: Once[tuple[LayerRef, ...], Tree] = field(default_factory=Once)
    packed: "dict[int, Packing]" = field(default_factory=dict)

    @property
    def latest(self) -> int | None:
        """Seconds that no file of a new layer is later than."""
        return None if self.rewrite == "keep" else self.clamp

    @property
    def forced(self) -> bool:
        """Whether each of them is of that very time."""
        return self.rewrite == "force" and self.clamp is not None

    @property
    def timing(self) -> str:
        """All of that, for the keys of the cache."""
        return str(self.clamp) if self.clamp is None or self.rewrite == "clamp" else f"{self.clamp} {self.rewrite}"

    def tree(self, layers: tuple[LayerRef, ...]) -> Tree:
        """The files of these layers, grown from the longest chain below them that this build has looked at."""
        if not layers:
            return Tree.empty()
        return self.trees.get(layers, lambda: self.tree(layers[:-1]).apply(self.store.trees.changes(layers[-1])))

    def drop(self, step: Step) -> None:
        """The layer that was written ahead is there already."""
        ready = self.packed.pop(id(step), None)
        if ready is not None:
            ready.close()
