"""The fold of a build: each stage from state to state, stages side by side (schedule.py).

    stage ─▶ base, triggers ─▶ all its steps ─▶ for each: key ─▶ hit, or perform and record ─▶ state
                                   └── what later steps read is digested ahead, once a step has to be run

Two equal steps at once are one piece of work, and so are two pulls of one base. What comes out does not depend on the
order: a key names what a step reads, never when. Steps are numbered by their place in the file.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..caching.records import effect, layers_of, write_step
from ..errors import IechorError
from ..events import LayerWritten, Notice, StepCached, StepCancelled, StepFinished, StepMissed, StepStarted
from ..language.instructions import Add, Copy, Instruction, Run, Script, Workdir
from ..language.parser import parse_trigger
from ..oci.config import History, ImageConfig
from ..oci.platform import Platform
from ..once import Once
from ..plan.cachekey import base_key, digest_of, explained
from ..plan.lower import Arguments, Inherited, Lowering
from ..plan.stages import Stage, StageGraph
from ..plan.steps import ConfigStep, RunStep, Step, origins_of
from ..steps.foreign import check_runs
from ..steps.keys import Keys, look_up, record_alias
from ..steps.perform import inputs, is_independent, parts_of, perform
from ..steps.world import StageState, World
from ..store.buildcache import Cache, NoCache, StepRecord
from ..store.claims import claimed
from ..tree.changes import ChangeSet, Put, Remove
from ..tree.node import Directory, File
from ..values import dataclass, replace
from .committing import rfc3339
from .request import BuildRequest

if TYPE_CHECKING:
    from ..steps.late import LateLayer

COMMENT = "iechor.iechorfile.v1"
Given = list[tuple[str, str]]  # (label, digest) of what a step reads


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a step stands. step: its number in the whole file; number of total in its stage; later: what comes after
    it there."""

    step: int
    stage: Stage
    number: int
    total: int
    cache: Cache
    later: Sequence[Step]


class Fold:
    """Carries a build from state to state; threads share it."""

    def __init__(self, request: BuildRequest, script: Script, graph: StageGraph, world: World,
                 clock: Callable[[], float]) -> None:
        self._request = request
        self._script = script
        self._graph = graph
        self._world = world
        self._clock = clock
        waiting = world.schedule.waiting
        self._states: Once[int, StageState] = Once(waiting)
        self._inputs: Once[Step, Given] = Once(waiting)
        self._records: Once[tuple[str, bool], StepRecord | LateLayer] = Once(waiting)
        self._numbers: dict[int, Iterator[int]] = {}
        self._more: Iterator[int] = itertools.count(1)

    def stages(self, stages: Sequence[Stage]) -> None:
        """All of them, in the order of the file where nothing runs side by side. Errors: IechorError."""
        first = 1
        for stage in stages:
            after = first + (stage.base_stage is None) + _count(stage.instructions)
            self._numbers[stage.index] = iter(range(first, after))
            first = after
        self._more = itertools.count(first)
        self._world.schedule.run([partial(self.state, stage.index) for stage in stages])

    def state(self, index: int) -> StageState:
        """The finished stage, waited for or built now."""
        return self._states.get(index, lambda: self._build(self._graph.stages[index]))

    def know_bases(self, stages: Sequence[Stage]) -> None:
        """Fetches every base now, which would else come with its stage; not what --after has made first."""
        def fetch(stage: Stage) -> None:
            try:
                with self._world.schedule.slot():
                    self._world.bases.get(stage.base, self._platform(stage))
            except IechorError as error:
                raise error.at(stage.source.span) from None

        self._world.schedule.run([partial(fetch, stage) for stage in stages
                                  if stage.base_stage is None and stage.after is None])

    def known(self, name: str, platform: Platform) -> ImageConfig | None:
        """The config of a base that is here already."""
        return self._world.bases.known(name, platform)

    def _build(self, stage: Stage) -> StageState:
        state, triggers = self._begin(stage)
        for needed in self._graph.needs(replace(stage, instructions=tuple(triggers))):  # ONBUILD can name more
            self._world.schedule.begin(partial(self.state, needed))
        lowering = Lowering(stage, state.inherited, Arguments(
            build=self._request.build_args, graph=self._graph, escape=self._script.directives.escape))
        steps = list(lowering.steps(triggers))
        total = 1 + _count([*triggers, *stage.instructions])
        number, cache = 1, self._cache_of(stage)
        for at, step in enumerate(steps):
            if isinstance(step, ConfigStep):
                self._world.effects.note(step)
                state = _configured(state, step)
                continue
            number += 1
            place = _Place(step=self._next(stage), stage=stage, number=number, total=total, cache=cache,
                           later=steps[at + 1:])
            try:
                with state.late or contextlib.nullcontext():
                    state = self._advance(state, step, place)
            except IechorError as error:
                self._world.schedule.check()
                raise error.at(step.shown.span) from None
        self._world.done[stage.index] = replace(state, image=lowering.image, inherited=lowering.inherited())
        return self._world.done[stage.index]

    def _begin(self, stage: Stage) -> tuple[StageState, list[Instruction]]:
        """FROM, and what the base's ONBUILD adds."""
        if stage.after is not None:
            self.state(stage.after)
        try:
            self._fetch_ahead(stage)
            state = self._start(stage)
            texts = () if stage.replaced else state.image.config.onbuild
            return state, [parse_trigger(text, span=stage.source.span) for text in texts]
        except IechorError as error:
            self._world.schedule.check()
            raise error.at(stage.source.span) from None

    def _start(self, stage: Stage) -> StageState:
        """A finished stage of this file, or a base from outside."""
        world = self._world
        if stage.base_stage is not None:
            return self.state(stage.base_stage)
        platform = self._platform(stage)
        step = self._next(stage)
        with world.schedule.slot():
            began = self._clock()
            world.emit(StepStarted(step=step, stage=stage.title, number=1, text=f"FROM {stage.base}",
                                   total=1 + _count(stage.instructions)))
            with self._told_if_cancelled(step):
                base = world.bases.get(stage.base, platform)
            world.emit(StepFinished(step=step, seconds=self._clock() - began))
        key = base_key([str(layer.diff_id) for layer in base.layers], f"{platform} {world.timing}"
                       + (" owners lost" if world.run.lose_owners else ""))
        return StageState(layers=base.layers, base=len(base.layers), key=key, image=base.image,
                          history=base.image.history, inherited=Inherited(image=base.image))

    def _fetch_ahead(self, stage: Stage) -> None:
        """Images that the stage copies from are pulled while its own base is."""
        names = {one.from_ for one in stage.instructions if isinstance(one, Copy) and one.from_}
        for name in sorted(names - {"scratch"}):
            if self._graph.find(name) is None and self._world.bases.context(name) is None:
                self._world.schedule.ahead(partial(self._world.bases.get, name, self._world.platform))

    def _platform(self, stage: Stage) -> Platform:
        """Of its base; and can its RUNs run here?"""
        platform = Platform.parse(stage.platform) if stage.platform else self._world.platform
        check_runs(stage, platform)
        return self._world.platform if stage.base == "scratch" else platform  # as in BuildKit

    def _cache_of(self, stage: Stage) -> Cache:
        """A step that is run anew is recorded all the same."""
        named = {name.lower() for name in self._request.no_cache_filter}
        anew = self._request.no_cache or not named.isdisjoint((stage.name, str(stage.index)))
        return NoCache(self._world.store.cache) if anew else self._world.store.cache

    def _next(self, stage: Stage) -> int:
        """ONBUILD's steps, and stages it adds, are numbered as they come."""
        return next(self._numbers.get(stage.index, self._more), 0) or next(self._more)

    def _advance(self, state: StageState, step: Step, place: _Place) -> StageState:
        for origin in origins_of(step):
            if isinstance(origin, int):
                self.state(origin)
        with self._world.schedule.slot():
            self._world.emit(StepStarted(step=place.step, stage=place.stage.title, number=place.number,
                                         total=place.total, text=step.shown.text))
            with self._told_if_cancelled(place.step, state.late):
                after, made = self._result(state, step, place)
                state = self._settled(state)
        if isinstance(made, StepRecord):
            self._world.effects.note(step, made)
            late, layers = None, layers_of(made)
        else:
            late, layers = made, ()
        return replace(state, key=after, image=step.image, layers=(*state.layers, *layers), late=late, history=(
            *state.history, History(created=made.facts.get("created") or None, created_by=step.shown.created_by,
                                    comment=COMMENT, empty_layer=not layers and late is None)))

    def _settled(self, state: StageState) -> StageState:
        """With the digest of a layer that was late, which is waited for. Errors: why it could not be written."""
        if state.late is None:
            return state
        record = state.late.record()
        self._world.effects.note(state.late.step, record)
        return replace(state, late=None, layers=(*state.layers, *layers_of(record)))

    def _result(self, state: StageState, step: Step, place: _Place) -> tuple[str, "StepRecord | LateLayer"]:
        """The key after the step, and what it made: from the cache, from an equal step of this build, or now."""
        began = self._clock()
        given = self._given(step, state)
        keys, found = look_up(step, state.key, given, self._world, place.cache)
        mine: list[StepRecord | LateLayer] = []

        def make() -> "StepRecord | LateLayer":
            self._digest_ahead(place.later)
            with contextlib.ExitStack() as stack:
                stack.enter_context(self._claimed(keys.key, place))
                record = place.cache.get(keys.key)  # another build may have made it while we waited
                if record is not None:
                    record_alias(keys, record, place.cache)
                    return record
                mine.append(self._record(state, step, keys, place, given, stack))
            return mine[0]

        made = found or self._records.get((keys.key, isinstance(place.cache, NoCache)), make)
        if not mine and not isinstance(made, StepRecord):
            made = made.record()
        self._world.drop(step)
        self._world.emit(StepFinished(step=place.step, seconds=self._clock() - began,
                                      effect=made.facts.get("effect", "")) if mine else
                         StepCached(step=place.step, key=keys.key))
        return keys.after, made

    @contextlib.contextmanager
    def _claimed(self, key: str, place: _Place) -> Iterator[None]:
        """Another build on this machine that makes the same step is waited for; not where all is made anew."""
        if isinstance(place.cache, NoCache):
            yield
            return

        def made() -> bool:
            self._world.schedule.check()
            return place.cache.get(key) is not None

        def waiting() -> None:
            self._world.emit(Notice(text=f"step {place.step} waits for another build that is making it"))

        with claimed(self._world.store.layout, key, made=made, waiting=waiting):
            yield

    def _given(self, step: Step, state: StageState | None = None) -> Given:
        return self._inputs.get(step, partial(inputs, step, self._world, state))

    def _digest_ahead(self, later: Sequence[Step]) -> None:
        """What later steps read from outside the file's stages, while this step works."""
        for step in later:
            origins = list(origins_of(step))
            if origins and not any(isinstance(origin, int) for origin in origins):
                self._world.schedule.ahead(partial(self._given, step))

    def _record(self, state: StageState, step: Step, keys: Keys, place: _Place, given: Given,
                stack: contextlib.ExitStack) -> "StepRecord | LateLayer":
        """stack: ends once the record is written, which may be later."""
        world = self._world
        position = f"{self._script.file} {place.stage.title} {place.number}"
        told = [*([] if is_independent(step) else [("the steps before it", state.key)]),
                *explained(step),
                *((name, digest_of(value)) for name, value in (*parts_of(step, world), *given))]
        world.emit(StepMissed(step=place.step, reason=place.cache.explain(position, told)))
        seconds = world.clamp if world.clamp is not None else self._request.now / 1e9
        done = stack.enter_context(perform(step, state, world, place.step))
        layers = self._settled(state).layers
        facts = {"created": rfc3339(seconds),
                 "effect": done.packing.effect if done.packing else effect_of(done.changes)}

        def write() -> StepRecord:
            record = write_step(done.changes, keys.key, step.shown.created_by, world.store, clamp=world.latest,
                                forced=world.forced, packing=done.packing, facts={
                                    **facts, **world.effects.facts(step, done.changes, partial(world.tree, layers))})
            place.cache.remember_inputs(position, told)
            record_alias(keys, record, place.cache)
            if record.diff_id is not None:
                world.emit(LayerWritten(step=place.step, diff_id=str(record.diff_id), size=record.size))
            return record

        adopted = done.adopt() if done.changes else None
        if adopted is None:
            return write()
        from ..steps.late import LateLayer  # a cached build has none

        is_late = self._can_be_late(place)
        rest = stack.pop_all() if is_late else contextlib.ExitStack()
        late = LateLayer(step, layers, adopted, facts, rest, write, world.schedule.waiting)
        if is_late:
            world.schedule.ahead(late.record)
            return late
        with late:
            return late.record()

    def _can_be_late(self, place: _Place) -> bool:
        """Only a RUN needs nothing of the layer below but that it can be mounted."""
        following = next((step for step in place.later if not isinstance(step, ConfigStep)), None)
        return isinstance(following, RunStep) and self._world.schedule.jobs != 1 and not self._world.run.owned

    @contextlib.contextmanager
    def _told_if_cancelled(self, step: int, late: "LateLayer | None" = None) -> Iterator[None]:
        """A step that ends because another one failed is no failure."""
        try:
            yield
        except BaseException:
            if self._world.schedule.cancelled or (late is not None and late.failure is not None):
                self._world.emit(StepCancelled(step=step))
            raise


def _configured(state: StageState, step: ConfigStep) -> StageState:
    if not step.shown.created_by:
        return replace(state, image=step.image)
    return replace(state, image=step.image, history=(
        *state.history, History(created_by=step.shown.created_by, comment=COMMENT, empty_layer=True)))


def _count(instructions: Iterable[Instruction]) -> int:
    """Those that are shown as steps."""
    return sum(isinstance(one, (Run, Copy, Add, Workdir)) for one in instructions)


def effect_of(changes: ChangeSet) -> str:
    """What a step did, in one line: "+312 files, 84.1 MB, -3"."""
    files = [one.node for one in changes if isinstance(one, Put) and isinstance(one.node, File)]
    others = sum(isinstance(one, Put) and not isinstance(one.node, (File, Directory)) for one in changes)
    gone = sum(isinstance(one, Remove) for one in changes)
    size = sum(file.size for file in files)
    return effect(len(files), others, gone, size) if changes.changes else "nothing changed"
