"""`iechor build`, top to bottom: a fold of steps over states, one stage after the other.

    text ──parse──▶ Script ──▶ StageGraph ──reachable──▶ stages ──lower──▶ steps
    state, step ──key──▶ hit: the record of the last time · miss: perform, write the layer, record it ──▶ next state
    last state ──▶ config, manifest, names
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .bases import Base, Bases, PullPolicy
from .carriedcache import CacheSourceFailed
from .checking import Checks, violation
from .committing import commit, rfc3339
from .contexts import Contexts
from .effects import Effects
from .epochs import NAME as EPOCH
from .epochs import with_epoch
from .errors import IechorError, Interrupted
from .events import Emit, ImageBuilt, LayerWritten, Notice, StepCached, StepFinished, StepMissed, StepStarted
from .foreign import check_runs, check_stages
from .language.checks.options import BUILD_ARG, CheckOptions
from .language.instructions import Add, Arg, Copy, Run, Script, Workdir
from .language.keywords import is_builtin_syntax
from .language.numbers import boolean
from .language.parser import parse, parse_trigger
from .oci.config import History, ImageConfig
from .oci.platform import Platform, host_platform
from .oci.reference import Reference
from .perform import Rewrite, StageState, World, inputs, is_independent, perform
from .plan.cachekey import base_key, cache_key, describe, digest_of
from .plan.lower import Arguments, Inherited, Lowering
from .plan.lower_run import PROXIES
from .plan.stages import Stage, StageGraph, based_on
from .plan.steps import ConfigStep, Step
from .records import layers_of, write_step
from .remotes import Remotes
from .squashing import squashed
from .store.buildcache import Cache, NoCache, StepRecord
from .store.images import Image
from .store.store import Store
from .tree.changes import ChangeSet, Put, Remove
from .tree.node import Directory, File

if TYPE_CHECKING:
    from .runstep import RunSettings

COMMENT = "iechor.iechorfile.v1"
KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
RESERVED_ARGS = frozenset({"SOURCE_DATE_EPOCH", "BUILDKIT_SYNTAX", BUILD_ARG, KEEP_GIT_DIR})


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the user asked. build_args: name → value; build_contexts: name → source, as typed.

    base: instead of what the first FROM names; all_stages: also those before the target that it does not need.
    keep: the image is listed in the store, else only its steps stay. annotations: of the manifest. squash: make one
    layer of the new ones, or of all. no_cache_filter: names or numbers of stages. platform: None for the host's.
    source_date_epoch: seconds; rewrite: see World. now: nanoseconds since the epoch.
    """

    context: str
    file: str | None = None
    tags: tuple[Reference, ...] = ()
    keep: bool = True
    target: str | None = None
    base: str | None = None
    all_stages: bool = False
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    squash: Literal["", "new", "all"] = ""
    build_contexts: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: PullPolicy = "missing"
    platform: Platform | None = None
    ignorefile: str | None = None
    source_date_epoch: int | None = None
    rewrite: Rewrite = "clamp"
    default_registry: str = "docker.io"
    inline_cache: bool = False
    now: int


def build(request: BuildRequest, store: Store, run: "RunSettings", pull: Callable[[Reference, Platform], Image], *,
          remotes: Remotes, tmp: Path, clock: Callable[[], float], emit: Emit) -> Image:
    """The image, in the store under every tag that was asked for. Errors: any IechorError, pointing into the file."""
    began = clock()
    with open_contexts(request, remotes, tmp, emit) as contexts, \
            contexts.read_build_file(request.file, request.ignorefile) as file:
        script = based_on(parse(file.text, file=file.name), request.base)
        note_what_is_odd(script, request, emit)
        platform = request.platform or host_platform()
        automatic = platform_args(platform, request.target)
        graph = StageGraph.of(script, build_args=request.build_args, platform_args=automatic, replaced=contexts.has)
        request = with_epoch(request, graph, contexts)
        bases = Bases(contexts, store, pull=pull, policy=request.pull,
                      default_registry=request.default_registry, emit=emit,
                      stages=[stage.name for stage in graph.stages if stage.name])
        world = World(store=store, contexts=contexts, bases=bases, remotes=remotes, platform=platform, done={},
                      run=run, tmp=tmp, emit=emit, now=request.now, clamp=request.source_date_epoch,
                      rewrite=request.rewrite, effects=Effects(run.secrets, request.build_args))
        fold = Fold(request, script, graph, world, clock)
        target = graph.target(request.target)
        reachable = list(graph.stages[:target.index + 1]) if request.all_stages else graph.reachable(target)
        check_stages(reachable, graph, platform)
        checks = Checks(script=script, options=CheckOptions.of(script, request.build_args), platform=platform,
                        build_args=request.build_args, platform_args=automatic, ignore=file.ignore,
                        stages=frozenset(stage.index for stage in reachable), replaced=contexts.has,
                        effects=world.effects.found)
        with told_at_the_end(checks, fold, reachable, emit):
            for stage in reachable:
                fold.stage(stage)
        state = world.done[target.index]
        if request.squash:
            state = squashed(state, world, keep=0 if request.squash == "all" else state.base)
        image = commit(state, world, labels=request.labels, annotations=request.annotations, tags=request.tags,
                       keep=request.keep, carries_cache=request.inline_cache)
    emit(ImageBuilt(image_id=str(image.id), manifest=str(image.manifest_descriptor.digest), seconds=clock() - began))
    return image


def open_contexts(request: BuildRequest, remotes: Remotes, tmp: Path, emit: Emit) -> Contexts:
    return Contexts(request.context, request.build_contexts, remotes=remotes, tmp=tmp,
                    default_registry=request.default_registry, emit=emit,
                    keep_git_dir=is_true(request.build_args.get(KEEP_GIT_DIR, "")),
                    commit_times=request.source_date_epoch is not None or EPOCH in request.build_args)


def is_true(text: str) -> bool:
    """As BuildKit reads a switch among the build args; what is none is off."""
    try:
        return boolean(text)
    except ValueError:
        return False


@contextlib.contextmanager
def told_at_the_end(checks: Checks, fold: "Fold", stages: Sequence[Stage], emit: Emit) -> Iterator[None]:
    """What the checks find is told after the work, whatever came of it; with error=true before, and then there is none
    (but for what only the work can show). Errors: IechorfileError.
    """
    if checks.options.error:
        fold.know_bases(stages)
        checks.refuse(fold.known, emit)
    try:
        yield
    except (Interrupted, CacheSourceFailed):
        raise
    except IechorError:
        checks.tell(fold.known, emit)
        raise
    found = checks.tell(fold.known, emit)
    if checks.options.error and found:
        raise violation(found)


class Fold:
    """Carries a build from state to state. Its only memory between steps is the number of the step, for events."""

    def __init__(self, request: BuildRequest, script: Script, graph: StageGraph, world: World,
                 clock: Callable[[], float]) -> None:
        self._request = request
        self._script = script
        self._graph = graph
        self._world = world
        self._clock = clock
        self._cache: Cache = world.store.cache
        self._step = 0

    def stage(self, stage: Stage) -> StageState:
        """The finished stage; those it turns out to need come first (ONBUILD can name more)."""
        world = self._world
        if stage.index in world.done:
            return world.done[stage.index]
        try:
            state = self._start(stage)
            triggers = [] if stage.replaced else [parse_trigger(text, span=stage.source.span)
                                                  for text in state.image.config.onbuild]
        except IechorError as error:
            raise error.at(stage.source.span) from None
        for needed in self._graph.needs(replace(stage, instructions=(*triggers, *stage.instructions))):
            self.stage(self._graph.stages[needed])
        total = 1 + sum(isinstance(one, (Run, Copy, Add, Workdir)) for one in [*triggers, *stage.instructions])
        self._cache = self._cache_of(stage)
        lowering = Lowering(stage, state.inherited, Arguments(
            build=self._request.build_args, graph=self._graph, escape=self._script.directives.escape))
        number = 1
        for step in lowering.steps(triggers):
            number += not isinstance(step, ConfigStep)
            try:
                state = self._advance(state, step, stage, number, total)
            except IechorError as error:
                raise error.at(step.shown.span) from None
        world.done[stage.index] = replace(state, image=lowering.image, inherited=lowering.inherited())
        return world.done[stage.index]

    def know_bases(self, stages: Sequence[Stage]) -> None:
        """Fetches every base now, which would else come with its stage."""
        for stage in stages:
            if stage.base_stage is None:
                try:
                    self._world.bases.get(stage.base, self._platform(stage))
                except IechorError as error:
                    raise error.at(stage.source.span) from None

    def known(self, name: str, platform: Platform) -> ImageConfig | None:
        """The config of a base that is here already."""
        return self._world.bases.known(name, platform)

    def _platform(self, stage: Stage) -> Platform:
        """Of its base; and can its RUNs run here?"""
        platform = Platform.parse(stage.platform) if stage.platform else self._world.platform
        check_runs(stage, platform)
        return platform

    def _cache_of(self, stage: Stage) -> Cache:
        """A step that is run anew is recorded all the same."""
        named = {name.lower() for name in self._request.no_cache_filter}
        anew = self._request.no_cache or not named.isdisjoint((stage.name, str(stage.index)))
        return NoCache(self._world.store.cache) if anew else self._world.store.cache

    def _start(self, stage: Stage) -> StageState:
        """FROM: a finished stage of this file, or a base from outside."""
        world = self._world
        if stage.base_stage is not None:
            below = self.stage(self._graph.stages[stage.base_stage])
            return below
        platform = self._platform(stage)
        self._step += 1
        began = self._clock()
        world.emit(StepStarted(step=self._step, stage=stage.title, number=1, text=f"FROM {stage.base}",
                               total=1 + sum(isinstance(one, (Run, Copy, Add, Workdir)) for one in stage.instructions)))
        base: Base = world.bases.get(stage.base, platform)
        world.emit(StepFinished(step=self._step, seconds=self._clock() - began))
        key = base_key([str(layer.diff_id) for layer in base.layers], f"{platform} {world.timing}"
                       + (" owners lost" if world.run.lose_owners else ""))
        return StageState(layers=base.layers, base=len(base.layers), key=key, image=base.image,
                          history=base.image.history, inherited=Inherited(image=base.image))

    def _advance(self, state: StageState, step: Step, stage: Stage, number: int, total: int) -> StageState:
        shown = step.shown
        if isinstance(step, ConfigStep):
            self._world.effects.note(step)
            return replace(state, image=step.image, history=(
                *state.history, History(created_by=shown.created_by, comment=COMMENT, empty_layer=True)))
        self._step += 1
        began = self._clock()
        emit = self._world.emit
        emit(StepStarted(step=self._step, stage=stage.title, number=number, total=total, text=shown.text))
        given = inputs(step, self._world)
        digests = [digest for _, digest in given]
        after = cache_key(state.key, step, digests)
        key = cache_key(f"link {self._world.timing}", step, digests) if is_independent(step) else after
        record = self._cache.get(key)
        if record is not None:
            emit(StepCached(step=self._step, key=key))
        else:
            record = self._record(state, step, key, f"{self._script.file} {stage.title} {number}", given)
            emit(StepFinished(step=self._step, seconds=self._clock() - began, effect=record.facts.get("effect", "")))
        self._world.effects.note(step, record)
        layers = layers_of(record)
        return replace(state, key=after, image=step.image, layers=(*state.layers, *layers), history=(
            *state.history, History(created=record.facts.get("created") or None, created_by=shown.created_by,
                                    comment=COMMENT, empty_layer=not layers)))

    def _record(self, state: StageState, step: Step, key: str, position: str,
                given: list[tuple[str, str]]) -> StepRecord:
        world = self._world
        told = [*([] if is_independent(step) else [("the steps before it", state.key)]),
                *((name, digest_of(value)) for name, value in describe(step).items()), *given]
        world.emit(StepMissed(step=self._step, reason=self._cache.explain(position, told)))
        seconds = world.clamp if world.clamp is not None else self._request.now / 1e9
        with perform(step, state, world, self._step) as done:
            record = write_step(done.changes, key, step.shown.created_by, world.store, clamp=world.latest,
                                forced=world.forced,
                                facts={"created": rfc3339(seconds), "effect": effect_of(done.changes),
                                       **world.effects.facts(step, done.changes, state, world)})
            if record.diff_id is not None:
                done.keep(record.diff_id)
        self._cache.remember_inputs(position, told)
        if record.diff_id is not None:
            world.emit(LayerWritten(step=self._step, diff_id=str(record.diff_id), size=record.size))
        return record


def note_what_is_odd(script: Script, request: BuildRequest, emit: Emit) -> None:
    """Says what the user should know before anything is done."""
    syntax = script.directives.syntax
    if syntax is not None and not is_builtin_syntax(syntax.value):
        emit(Notice(level="warning", text=f"{syntax.span}: # syntax={syntax.value} is not built in; the file is read "
                                          "as iechor/iechorfile:1, and no frontend image is fetched"))
    declared = {name for one in script.instructions if isinstance(one, Arg) for name, _ in one.args}
    known = declared | RESERVED_ARGS | platform_args(host_platform(), None).keys()
    unused = [name for name in request.build_args if name not in known and name.lower() not in PROXIES]
    if unused:
        emit(Notice(level="warning", text=f"one or more build-args {unused} were not consumed: no ARG declares them"))


def platform_args(platform: Platform, target: str | None) -> dict[str, str]:
    """The ARGs every file has without declaring them globally (reference, "Automatic platform ARGs")."""
    host = host_platform()
    return {"BUILDPLATFORM": str(host), "BUILDOS": host.os, "BUILDARCH": host.architecture,
            "BUILDVARIANT": host.variant, "TARGETPLATFORM": str(platform), "TARGETOS": platform.os,
            "TARGETARCH": platform.architecture, "TARGETVARIANT": platform.variant,
            "TARGETSTAGE": target or "default"}


def effect_of(changes: ChangeSet) -> str:
    """What a step did, in one line: "+312 files, 84.1 MB, -3"."""
    files = [one.node for one in changes if isinstance(one, Put) and isinstance(one.node, File)]
    others = sum(isinstance(one, Put) and not isinstance(one.node, (File, Directory)) for one in changes)
    gone = sum(isinstance(one, Remove) for one in changes)
    size = sum(file.size for file in files)
    told = [f"+{len(files)} files, {size / 1e6:.1f} MB"] if files else []
    told += [f"+{others} links and devices"] if others else []
    told += [f"-{gone}"] if gone else []
    return ", ".join(told) or ("folders" if changes.changes else "nothing changed")
