"""`iechor build`, top to bottom: a fold of steps over states, one stage after the other.

    text ──parse──▶ Script ──▶ StageGraph ──reachable──▶ stages ──lower──▶ steps
    state, step ──key──▶ hit: the record of the last time · miss: perform, write the layer, record it ──▶ next state
    last state ──▶ config, manifest, names
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .bases.bases import Bases, PullPolicy
from .caching.carried import CacheSourceFailed
from .checking import Checks, violation
from .committing import commit
from .contexts.contexts import Contexts
from .contexts.memory import ContextMemory
from .contexts.preprocessing import Preprocessor
from .contexts.remotes import Remotes
from .effects.effects import Effects
from .epochs import NAME as EPOCH
from .epochs import with_epoch
from .errors import IechorError, Interrupted
from .events import Emit, ImageBuilt, Notice
from .fold import Fold
from .language.checks.options import BUILD_ARG, CheckOptions
from .language.instructions import Arg, Script
from .language.keywords import is_builtin_syntax
from .language.numbers import boolean
from .language.parser import parse
from .oci.platform import Platform, host_platform
from .oci.reference import Reference
from .plan.lower_run import PROXIES
from .plan.stages import Stage, StageGraph, based_on, last_name
from .schedule import Schedule
from .squashing import squashed
from .steps.foreign import check_stages
from .steps.world import Rewrite, World
from .store.images import Image
from .store.store import Store
from .values import dataclass, field

if TYPE_CHECKING:
    from .bases.pulling import Puller
    from .steps.runsettings import RunSettings

KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
RESERVED_ARGS = frozenset({"SOURCE_DATE_EPOCH", "BUILDKIT_SYNTAX", BUILD_ARG, KEEP_GIT_DIR, "BUILDKIT_BUILD_NAME",
                           "BUILDKIT_CACHE_MOUNT_NS", "BUILDKIT_INLINE_CACHE", "BUILDKIT_MULTI_PLATFORM",
                           "BUILDKIT_SANDBOX_HOSTNAME"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the user asked. build_args: name → value; build_contexts: name → source, as typed.

    base: instead of what the first FROM names; all_stages: also those before the target that it does not need.
    keep: the image is listed in the store, else only its steps stay. annotations: of the manifest. squash: make one
    layer of the new ones, or of all. no_cache_filter: names or numbers of stages. platform: None for the host's.
    source_date_epoch: seconds; rewrite: see World. jobs: how many steps work at once, 0: no limit. now: nanoseconds
    since the epoch.
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
    memory: Path | None = None
    ignorefile: str | None = None
    preprocessor: Preprocessor = field(default_factory=Preprocessor)
    source_date_epoch: int | None = None
    rewrite: Rewrite = "clamp"
    jobs: int = 1
    default_registry: str = "docker.io"
    inline_cache: bool = False
    now: int


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
        graph = StageGraph.of(script, build_args=request.build_args, platform_args=automatic, replaced=contexts.has)
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
        checks = Checks(script=script, options=CheckOptions.of(script, request.build_args), platform=platform,
                        build_args=request.build_args, platform_args=automatic, ignore=file.ignore,
                        stages=frozenset(stage.index for stage in reachable), replaced=contexts.has,
                        effects=world.effects.found)
        with told_at_the_end(checks, fold, reachable, emit):
            fold.stages(reachable)
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
                    commit_times=request.source_date_epoch is not None or EPOCH in request.build_args,
                    memory=ContextMemory(request.memory, request.now) if request.memory else None)


def is_true(text: str) -> bool:
    """As BuildKit reads a switch among the build args; what is none is off."""
    try:
        return boolean(text)
    except ValueError:
        return False


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
    syntax = script.directives.syntax
    if syntax is not None and not is_builtin_syntax(syntax.value):
        emit(Notice(level="warning", text=f"{syntax.span}: # syntax={syntax.value} is not built in; the file is read "
                                          "as iechor/iechorfile:1, and no frontend image is fetched"))
    declared = {name for one in script.instructions if isinstance(one, Arg) for name, _ in one.args}
    known = declared | RESERVED_ARGS | platform_args(host_platform(), "").keys()
    unused = [name for name in request.build_args if name not in known and name.lower() not in PROXIES]
    if unused:
        emit(Notice(level="warning", text=f"one or more build-args {unused} were not consumed: no ARG declares them"))


def platform_args(platform: Platform, target: str) -> dict[str, str]:
    """The ARGs every file has without declaring them globally (reference, "Automatic platform ARGs"). target: the name
    of the stage that is built.
    """
    host = host_platform()
    return {"BUILDPLATFORM": str(host), "BUILDOS": host.os, "BUILDARCH": host.architecture,
            "BUILDVARIANT": host.variant, "TARGETPLATFORM": str(platform), "TARGETOS": platform.os,
            "TARGETARCH": platform.architecture, "TARGETVARIANT": platform.variant,
            "TARGETSTAGE": target or "default", "BUILDOSVERSION": "", "TARGETOSVERSION": ""}
