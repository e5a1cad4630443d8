"""One function for each kind of step: what it changes, given the state before it.

COPY, ADD (copystep.py) and WORKDIR happen on trees, in memory; no namespace, no unpacking. RUN is in runstep.py.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from ..paths import image_path
from ..plan.steps import CopyStep, RunStep, Step, WorkdirStep
from ..store.images import LayerRef
from ..tree.changes import Change, ChangeSet, Put
from ..tree.overlay import Overlay
from ..tree.tree import Tree
from ..values import dataclass
from .copying import Copier, CopyRules
from .copystep import copy, copy_inputs, copy_parts, surveyed
from .mountsources import mount_inputs
from .ownership import find_owner
from .world import StageState, World

if TYPE_CHECKING:
    from ..scratch.adoption import AdoptedLayer
    from .packing import Packing


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """What a step made. packing: of a COPY taken whole, its layer, written already; changes are then only those that
    the checks of effects.py look at.

    adopt: makes what is on the disk the unpacked layer, for whoever comes next; None: it cannot be.
    """

    changes: ChangeSet
    packing: "Packing | None" = None
    adopt: "Callable[[], AdoptedLayer | None]" = type(None)


@contextmanager
def perform(step: Step, state: StageState, world: World, number: int) -> Iterator[Performed]:
    """What `step` changes in `state`; contents can be read within the context. number: of the step, for its events."""
    if isinstance(step, RunStep):
        from .runstep import run_step  # the sandbox is not imported by a build whose RUNs are all cached

        with run_step(step, state, world, number=number) as (changes, rootfs):
            kept = without_volumes(changes, step) if world.run.compat_volumes else changes
            if len(kept) == len(changes) and not world.forced:
                yield Performed(changes=kept, adopt=partial(rootfs.adopt, clamp=world.latest))
            else:  # what is on the disk is not what the layer has
                yield Performed(changes=kept)
        return
    if isinstance(step, CopyStep):
        from .packing import written

        ready = world.packed.pop(id(step), None) or written(step, below(step, state), world)
        if ready is not None:
            with ready:
                yield Performed(changes=ready.suspects, packing=ready)
            return
    overlay = Overlay(Tree.empty() if is_independent(step) else world.tree(state.layers))
    if isinstance(step, CopyStep):
        copy(step, overlay, world)
    elif isinstance(step, WorkdirStep):
        _workdir(step, overlay, world)
    yield Performed(changes=overlay.changes())


def inputs(step: Step, world: World, state: StageState | None = None) -> list[tuple[str, str]]:
    """(label, digest) of everything `step` reads besides the state before it; labels explain a miss.

    state: the one before it, where that is known. A COPY whose contents nobody has read yet is then written as they
    are digested, and `perform` has it ready; `world.drop` is due when the step turns out to be cached.
    """
    if isinstance(step, RunStep):
        volumes = step.image.config.volumes if world.run.compat_volumes else ()
        settings = [("--compat-volumes", " ".join(volumes)), ("the host name", world.run.hostname),
                    ("--add-host", " ".join(f"{name}={address}" for name, address in world.run.add_hosts))]
        if step.devices:
            from .devices import given  # most builds have none

            settings.append(("--device", " ".join(device.name for device in given(step.devices, world.run.devices))))
        return [*(one for one in settings if one[1]), *mount_inputs(step, world)]
    if not isinstance(step, CopyStep):
        return []
    if state is not None and any(survey.is_cold for _, survey in surveyed(step, world)):
        from .packing import written

        ready = written(step, below(step, state), world)
        if ready is not None:
            world.packed[id(step)] = world.contexts.keep(ready)
    return copy_inputs(step, world)


def parts_of(step: Step, world: World) -> Sequence[tuple[str, str]]:
    """(label, digest) of what some of the inputs are made of, to explain a miss by. Errors: SourceError."""
    return copy_parts(step, world) if isinstance(step, CopyStep) else []


def below(step: CopyStep, state: StageState) -> tuple[LayerRef, ...] | None:
    """The layers that the step's own depends on; None for none."""
    return None if is_independent(step) else state.layers


def without_volumes(changes: ChangeSet, step: RunStep) -> ChangeSet:
    """podman's --compat-volumes: what a RUN does below a volume goes; a folder that it makes there for one stays."""
    volumes = [image_path(path) for path in step.image.config.volumes]

    def kept(change: Change) -> bool:
        for volume in volumes:
            if change.path == volume and not isinstance(change, Put) or change.path.startswith(f"{volume}/"):
                return False
        return True

    return ChangeSet(tuple(change for change in changes if kept(change)))


def is_independent(step: Step) -> bool:
    """Whether the step's layer is the same on whatever it lies (COPY --link)."""
    return isinstance(step, CopyStep) and step.link


def _workdir(step: WorkdirStep, overlay: Overlay, world: World) -> None:
    owner = find_owner(step.user, overlay.tree, world.emit) if step.user else None
    Copier(overlay, CopyRules(owner=owner, made=world.now)).make_folders(step.path)
