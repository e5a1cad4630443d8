"""The build checks of one build: what is known about it, and how what they find is told.

A base image is known once the build has it, so findings are told when the build ends, as docker does; with
`error=true` all bases are had first, and nothing is run when there is a finding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..bases.transports import REGISTRY, is_local
from ..errors import IechorError, IechorfileError, UsageError
from ..events import CheckFound, Emit
from ..language.checks.check import check
from ..language.checks.given import BaseFacts, Given
from ..language.checks.options import CheckOptions
from ..language.checks.rules import ALL_RULES, Finding
from ..language.ignore import IgnorePatterns
from ..language.instructions import From, Script
from ..language.parser import parse_trigger
from ..oci.config import ImageConfig
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..values import dataclass

CONTEXT = 2  # lines told above and below
LONGEST = 12  # lines of an instruction that are told

Configs = Callable[[str, Platform], ImageConfig | None]  # (name of an image, platform) → its config, if it is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """One file and how it is built. stages: those that are built, None for all. platform_args: TARGETPLATFORM and
    its like. replaced: see StageGraph.of. effects: what was found in what the build did until now."""

    script: Script
    options: CheckOptions
    build_args: Mapping[str, str]
    platform: Platform
    platform_args: Mapping[str, str]
    ignore: IgnorePatterns | None
    stages: frozenset[int] | None = None
    replaced: Callable[[str], str | None] = lambda name: None
    effects: Callable[[], Sequence[Finding]] = tuple

    def given(self, configs: Configs) -> Given:
        place = next(one.span for one in self.script.instructions if isinstance(one, From))

        def base(name: str, platform: str) -> BaseFacts | None:
            image = configs(name, _platform(platform) or self.platform)
            if image is None:
                return None
            try:
                triggers = tuple(parse_trigger(text, span=place) for text in image.config.onbuild)
            except IechorfileError:
                triggers = ()  # the build says it
            return BaseFacts(env=dict(_pair(entry) for entry in image.config.env), triggers=triggers,
                             platform=str(image.platform) if image.architecture and self.replaced(name) is None else "",
                             own_shell=bool(image.config.shell))

        return Given(base=base, is_image=_is_image, platform_parts=_parts, platform=str(self.platform),
                     platform_args=self.platform_args, build_args=self.build_args, ignore=self.ignore,
                     options=self.options, stages=self.stages, replaced=self.replaced)

    def findings(self, configs: Configs) -> tuple[Finding, ...]:
        """In BuildKit's order. Raises IechorfileError, and what `configs` raises."""
        return check(self.script, self.given(configs))

    def of_effects(self) -> Iterator[Finding]:
        """Those that the options allow, what a comment above the instruction says among them."""
        comments = {one.span: one.comments for one in self.script.instructions}
        for finding in self.effects():
            if self.options.under(comments.get(finding.span, ())).allow(finding.rule):
                yield finding

    def tell(self, configs: Configs, emit: Emit) -> tuple[Finding, ...]:
        """Finds them and emits them, in the order of the file."""
        found = (*self.findings(configs), *self.of_effects())
        lines = self.script.source.removesuffix("\n").split("\n")
        for one in sorted(found, key=lambda finding: finding.span.line):
            emit(told(one, lines))
        return found

    def refuse(self, configs: Configs, emit: Emit) -> None:
        """For error=true. Raises IechorfileError when anything is found."""
        found = self.tell(configs, emit)
        if found:
            raise violation(found)


def violation(found: Sequence[Finding]) -> IechorfileError:
    """What `check=error=true` makes of findings."""
    rules = ", ".join(sorted({one.rule for one in found}))
    return IechorfileError(f"cannot build: the checks found {rules}, and check=error=true makes that an error",
                           hint="mend them, or name them in # check=skip=")


def told(finding: Finding, lines: Sequence[str]) -> CheckFound:
    span = finding.span
    last = min(span.end_line, span.line + LONGEST - 1, len(lines))
    first = max(1, span.line - CONTEXT)
    source = tuple(line.rstrip("\r") for line in lines[first - 1: last + CONTEXT])
    return CheckFound(rule=finding.rule, description=ALL_RULES[finding.rule].description, detail=finding.detail,
                      file=span.file, line=span.line, end_line=span.end_line, first=first, source=source)


def _pair(entry: str) -> tuple[str, str]:
    name, _, value = entry.partition("=")
    return name, value


def _is_image(name: str) -> bool:
    try:
        return is_local(name) or bool(Reference.parse(name.removeprefix(REGISTRY)))
    except UsageError:
        return False


def _platform(text: str) -> Platform | None:
    try:
        return Platform.parse(text) if text else None
    except IechorError:
        return None


def _parts(text: str) -> tuple[str, str] | None:
    platform = _platform(text)
    return (platform.os, platform.architecture) if platform else None
