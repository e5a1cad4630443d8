"""What a build file can be asked without building it: its findings, its outline, its targets (BuildKit's
"subrequests", buildx's --call). Nothing is run, and of a base image only the config is fetched.
"""

from collections.abc import Callable
from pathlib import Path

from .bases.bases import meant, named_image, never_pulled, scratch_base
from .bases.transports import is_local, load_layout, load_local
from .building.checking import Checks, told, violation
from .building.request import BuildRequest, open_contexts, platform_args
from .contexts.buildfile import BuildFile
from .contexts.contexts import Contexts, ImageSource
from .contexts.remotes import Remotes
from .errors import IechorError, UsageError
from .events import CheckFound, Emit
from .language.checks import outline as outlines
from .language.checks.check import walk_stages
from .language.checks.options import CheckOptions
from .language.checks.outline import Outline, Target
from .language.instructions import Script
from .language.parser import parse, parse_trigger
from .oci.config import ImageConfig
from .oci.platform import Platform, host_platform
from .oci.reference import Reference
from .plan.lower import Arguments, Inherited, Lowering
from .plan.stages import Stage, StageGraph, based_on, last_name
from .plan.steps import CopyStep
from .store.store import Store
from .values import dataclass, replace

FetchConfig = Callable[[Reference, Platform], ImageConfig]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the checks found, in their own order, and what would end a build before anything is run."""

    file: str
    text: bytes
    findings: tuple[CheckFound, ...]
    error: IechorError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlined:
    text: bytes
    outline: Outline


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    text: bytes
    targets: tuple[Target, ...]


class Inquiry:
    """Questions about the build that `request` describes. fetch: asks a registry for the config
    of an image that is not in the store."""

    def __init__(self, request: BuildRequest, store: Store, fetch: FetchConfig, *, remotes: Remotes, tmp: Path,
                 emit: Emit) -> None:
        self._request = request
        self._store = store
        self._fetch = fetch
        self._remotes = remotes
        self._tmp = tmp
        self._emit = emit
        self._platform = request.platform or host_platform()
        self._names: tuple[str, ...] = ()
        self._configs: dict[tuple[str, Platform], ImageConfig | IechorError] = {}

    def check(self) -> Checked:
        """Of all stages, or of what the target needs. Errors: SourceError, UsageError; others are in the answer."""
        with self._contexts() as contexts, self._file(contexts) as file:
            findings: tuple[CheckFound, ...] = ()
            error: IechorError | None = None
            try:
                script = self._script(file)
                checks, graph, stages = self._plan(script, file, contexts)
                found = checks.findings(lambda name, platform: self._config(contexts, name, platform))
                lines = script.source.removesuffix("\n").split("\n")
                findings = tuple(told(one, lines) for one in found)
                error = self._first_error(contexts, script, graph, stages)
                if found and error is None and checks.options.error:
                    error = violation(found)
            except IechorError as raised:
                if isinstance(raised, UsageError):
                    raise
                error = raised
        if error is not None:
            error.source = file.text.decode("utf-8-sig", "replace")
        return Checked(file=file.name, text=file.text, findings=findings, error=error)

    def outline(self) -> Outlined:
        """Of the target. Errors: IechorfileError, SourceError, UsageError."""
        with self._contexts() as contexts, self._file(contexts) as file:
            script = self._script(file)
            checks, graph, _ = self._plan(script, file, contexts)
            target = graph.target(self._request.target)
            given = replace(checks, stages=frozenset(one.index for one in graph.reachable(target))).given(
                lambda name, platform: self._config(contexts, name, platform))
            return Outlined(text=file.text, outline=outlines.outline(script, walk_stages(script, given), target.index))

    def targets(self) -> Targets:
        """Errors: IechorfileError, SourceError, UsageError."""
        with self._contexts() as contexts, self._file(contexts) as file:
            return Targets(text=file.text, targets=outlines.targets(self._script(file)))

    def _contexts(self) -> Contexts:
        return open_contexts(self._request, self._remotes, self._tmp, self._emit)

    def _file(self, contexts: Contexts) -> BuildFile:
        request = self._request
        return request.preprocessor.read(contexts, request.file, request.ignorefile, self._emit)

    def _script(self, file: BuildFile) -> Script:
        return based_on(parse(file.text, file=file.name), self._request.base)

    def _plan(self, script: Script, file: BuildFile,
              contexts: Contexts) -> tuple[Checks, StageGraph, list[Stage]]:
        """The checks, and the stages that are asked about."""
        request = self._request
        automatic = platform_args(self._platform, request.target or last_name(script))
        graph = StageGraph.of(script, build_args=request.build_args, platform_args=automatic,
                              replaced=contexts.replaced)
        self._names = tuple(stage.name for stage in graph.stages if stage.name)
        stages = list(graph.stages) if request.target is None else graph.reachable(graph.target(request.target))
        checks = Checks(script=script, options=CheckOptions.of(script, request.build_args), platform=self._platform,
                        build_args=request.build_args, platform_args=automatic, ignore=file.ignore,
                        stages=frozenset(stage.index for stage in stages), replaced=contexts.replaced)
        return checks, graph, stages

    # -- base images -----------------------------------------------------------------------------------

    def _config(self, contexts: Contexts, name: str, platform: Platform) -> ImageConfig | None:
        found = self._base(contexts, name, platform)
        return found if isinstance(found, ImageConfig) else None

    def _base(self, contexts: Contexts, name: str, platform: Platform) -> ImageConfig | IechorError:
        """Each is looked for once; what went wrong is kept."""
        if (name, platform) not in self._configs:
            try:
                self._configs[name, platform] = self._resolve(contexts, name, platform)
            except IechorError as error:
                self._configs[name, platform] = meant(error, name, self._names)
        return self._configs[name, platform]

    def _resolve(self, contexts: Contexts, name: str, platform: Platform) -> ImageConfig:
        if name == "scratch":
            return scratch_base(platform).image
        named = contexts.named(name)
        if isinstance(named, ImageSource) and named.kind == "oci-layout":
            return load_layout(named.place, self._store, platform, self._request.default_registry).config
        if named is not None and (not isinstance(named, ImageSource) or named.place == "scratch"):
            return scratch_base(platform).image
        wanted = named.place if named else name
        if is_local(wanted):
            return load_local(wanted, self._store, platform, default_registry=self._request.default_registry,
                              tmp=self._tmp).config
        reference = named_image(wanted, self._request.default_registry)
        here = self._store.images.get(reference)
        if here is not None and platform.matches(here.config.platform):
            return here.config
        if self._request.pull == "never":
            raise never_pulled(reference)
        return self._fetch(reference, platform)

    # -- what a build would say ------------------------------------------------------------------------

    def _first_error(self, contexts: Contexts, script: Script, graph: StageGraph,
                     stages: list[Stage]) -> IechorError | None:
        """The first thing a build of these stages would refuse before it runs anything."""
        done: dict[int, Inherited] = {}
        first: IechorError | None = None
        for stage in stages:
            try:
                below = done.get(stage.base_stage) if stage.base_stage is not None else self._from(contexts, stage)
                if below is not None:
                    done[stage.index] = self._lower(stage, below, script, graph, contexts)
            except IechorError as error:
                first = first or error.at(stage.source.span)
        return first

    def _from(self, contexts: Contexts, stage: Stage) -> Inherited | None:
        platform = Platform.parse(stage.platform) if stage.platform else self._platform
        found = self._base(contexts, stage.base, platform)
        if isinstance(found, IechorError) and stage.after is not None:
            return None  # that stage may well make it
        if isinstance(found, IechorError):
            raise found
        return Inherited(image=found)

    def _lower(self, stage: Stage, below: Inherited, script: Script, graph: StageGraph,
               contexts: Contexts) -> Inherited:
        triggers = [] if stage.replaced else [parse_trigger(text, span=stage.source.span)
                                              for text in below.image.config.onbuild]
        graph.needs(replace(stage, instructions=(*triggers, *stage.instructions)))
        lowering = Lowering(stage, below, Arguments(build=self._request.build_args, graph=graph,
                                                    escape=script.directives.escape))
        for step in lowering.steps(triggers):
            if isinstance(step, CopyStep) and isinstance(step.origin, str):
                found = self._base(contexts, step.origin, self._platform)
                if isinstance(found, IechorError):
                    found.span = None  # the same name may have been in another place before
                    raise found.at(step.shown.span)
        return lowering.inherited()
