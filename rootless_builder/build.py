"""`iechor build`, top to bottom: a fold of steps over states, one stage after the other.

    text ──parse──▶ Script ──▶ StageGraph ──reachable──▶ stages ──lower──▶ steps
    state, step ──key──▶ hit: the record of the last time · miss: perform, write the layer, record it ──▶ next state
    last state ──▶ config, manifest, names
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .bases.bases import Bases
from .building.checking import Checks, violation
from .building.committing import commit
from .building.epochs import with_epoch
from .building.fold import Fold
from .building.request import EPOCH, KEEP_GIT_DIR, BuildRequest, open_contexts, platform_args
from .building.squashing import squashed
from .caching.carried import CacheSourceFailed
from .contexts.remotes import Remotes
from .effects.effects import Effects
from .errors import IechorError, Interrupted
from .events import Emit, ImageBuilt, Notice
from .language.checks.options import BUILD_ARG, CheckOptions
from .language.instructions import Arg, Copy, Instruction, Run, Script
from .language.keywords import is_builtin_syntax
from .language.parser import parse
from .oci.platform import host_platform
from .plan.lower_run import PROXIES
from .plan.stages import Stage, StageGraph, based_on, last_name
from .schedule import Schedule
from .steps.foreign import check_stages
from .steps.world import World
from .store.images import Image
from .store.store import Store

if TYPE_CHECKING:
    from .bases.pulling import Puller
    from .steps.runsettings import DeviceAccess, RunSettings

SYNTAX = "BUILDKIT_SYNTAX"
RESERVED_ARGS = frozenset({EPOCH, SYNTAX, BUILD_ARG, KEEP_GIT_DIR, "BUILDKIT_BUILD_NAME",
                           "BUILDKIT_CACHE_MOUNT_NS", "BUILDKIT_INLINE_CACHE", "BUILDKIT_MULTI_PLATFORM",
                           "BUILDKIT_SANDBOX_HOSTNAME"})


def build(request: BuildRequest, store: Store, run: "RunSettings", pull: "Puller", *,
          remotes: Remotes, tmp: Path, clock: Callable[[], float], emit: Emit) -> Image:
    """The image, in the store under every tag that was asked for. Errors: any IechorError, pointing into the file."""
    began = clock()
    with open_contexts(request, remotes, tmp, emit) as contexts, \
            request.preprocessor.read(contexts, request.file, request.ignorefile, emit) as file, \
            Schedule(request.jobs) as schedule, schedule.stopping(pull.cancel), schedule.stopping(store.blobs.abort):
        script = based_on(parse(file.text, file=file.name), request.base)
        note_what_is_odd(script, request, emit)
        platform = request.platform or host_platform()
        automatic = platform_args(platform, request.target or last_name(script))
        graph = StageGraph.of(script, build_args=request.build_args, platform_args=automatic,
                              replaced=contexts.replaced)
        graph.check()
        request = with_epoch(request, graph, contexts)
        bases = Bases(contexts, store, pull=pull, policy=request.pull, waiting=schedule.waiting,
                      default_registry=request.default_registry, emit=schedule.gated(emit),
                      stages=[stage.name for stage in graph.stages if stage.name])
        world = World(store=store, contexts=contexts, bases=bases, remotes=remotes, platform=platform, done={},
                      run=run, tmp=tmp, emit=schedule.gated(emit), now=request.now, clamp=request.source_date_epoch,
                      rewrite=request.rewrite, effects=Effects(run.secrets, request.build_args),
                      schedule=schedule)
        fold = Fold(request, script, graph, world, clock)
        target = graph.target(request.target)
        reachable = list(graph.stages[:target.index + 1]) if request.all_stages else graph.reachable(target)
        check_stages(reachable, graph, platform)
        check_devices(reachable, run.devices)
        checks = Checks(script=script, options=CheckOptions.of(script, request.build_args), platform=platform,
                        build_args=request.build_args, platform_args=automatic, ignore=file.ignore,
                        stages=frozenset(stage.index for stage in reachable), replaced=contexts.replaced,
                        effects=world.effects.found)
        with told_at_the_end(checks, fold, reachable, emit):
            check_names(graph, bases)
            fold.stages(reachable)
        state = world.done[target.index]
        if request.squash:
            state = squashed(state, world, keep=0 if request.squash == "all" else state.base)
        image = commit(state, world, labels=request.labels, annotations=request.annotations, tags=request.tags,
                       keep=request.keep, whole=request.whole, carries_cache=request.inline_cache)
    emit(ImageBuilt(image_id=str(image.id), manifest=str(image.manifest_descriptor.digest), seconds=clock() - began))
    return image


def check_names(graph: StageGraph, bases: Bases) -> None:
    """Can what FROM and COPY --from say be names, also in stages that are not built? Errors: with their place."""
    named: list[tuple[str, Instruction]] = [(stage.base, stage.source) for stage in graph.stages
                                            if stage.base_stage is None and not stage.replaced]
    named += [(one.from_, one) for stage in graph.stages for one in stage.instructions
              if isinstance(one, Copy) and one.from_ and graph.find(one.from_) is None]
    for name, instruction in named:
        try:
            bases.check(name)
        except IechorError as error:
            error.mark = name
            raise error.at(instruction.span) from None


def check_devices(stages: Iterable[Stage], access: "DeviceAccess") -> None:
    """Before anything is fetched or run: does every RUN get the devices it must have? Errors: with the RUN's place."""
    for run in (one for stage in stages for one in stage.instructions if isinstance(one, Run) and one.devices):
        from .steps.devices import given  # most builds have none

        try:
            given(run.devices, access)
        except IechorError as error:
            raise error.at(run.span) from None


@contextlib.contextmanager
def told_at_the_end(checks: Checks, fold: Fold, stages: Sequence[Stage], emit: Emit) -> Iterator[None]:
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


def note_what_is_odd(script: Script, request: BuildRequest, emit: Emit) -> None:
    """Says what the user should know before anything is done."""
    directive, name = script.directives.syntax, request.build_args.get(SYNTAX, "").partition(" ")[0]
    asked = f"--build-arg {SYNTAX}={name}" if name else ""
    if directive is not None and not name:
        asked, name = f"{directive.span}: # syntax={directive.value}", directive.value
    if name and not is_builtin_syntax(name):
        emit(Notice(level="warning", text=f"{asked} is not built in; the file is read as iechor/iechorfile:1, and no "
                                          "frontend image is fetched"))
    declared = {name for one in script.instructions if isinstance(one, Arg) for name, _ in one.args}
    known = declared | RESERVED_ARGS | platform_args(host_platform(), "").keys()
    unused = [name for name in request.build_args if name not in known and name.lower() not in PROXIES]
    if unused:
        emit(Notice(level="warning", text=f"one or more build-args {unused} were not consumed: no ARG declares them"))
