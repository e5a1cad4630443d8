"""The checks of a whole file, in BuildKit's order.

    continuations → each instruction by itself → names of stages, case → defaults of FROM → FROM → each stage's walk

Each stage is walked with what stands before it; see walk.py. `walk_stages` is what the outline uses, too.
"""

from collections.abc import Iterable, Iterator, Sequence

from ...errors import IechorfileError
from ...values import dataclass, field
from ..instructions import Arg, Copy, From, Instruction, Maintainer, Run, Script
from . import casing, commands, descriptions, stages
from .arguments import GlobalArgs, global_args
from .given import BaseFacts, Given
from .options import CheckOptions
from .rules import Finding
from .variables import Expanded, expanded, of_unmatched_in_from
from .walk import Scope, fired


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWalk:
    """A stage once walked. `base` is the number of the stage it is based on, None for an image; copies: what its
    COPY --from and RUN --mount name."""

    source: From
    scope: Scope
    base: int | None
    copies: tuple[str, ...] = ()


@dataclass(slots=True)
class Walked:
    """findings: all of them, in order; stages: those that were walked, by number."""

    findings: list[Finding] = field(default_factory=list)
    stages: dict[int, StageWalk] = field(default_factory=dict)


def check(script: Script, given: Given) -> tuple[Finding, ...]:
    """Raises IechorfileError where a FROM or a global ARG cannot be expanded, and whatever `given.base` raises."""
    found = [*_of_file(script, given)]
    return tuple(found + walk_stages(script, given).findings)


def allowed(found: Iterable[Finding], options: CheckOptions) -> Iterator[Finding]:
    return (one for one in found if options.allow(one.rule))


def _of_file(script: Script, given: Given) -> Iterator[Finding]:
    for warning in script.warnings:
        yield from allowed([Finding(rule="NoEmptyContinuation", detail="Empty line inside an instruction",
                                    span=warning.span)], given.options)
    for this in script.instructions:
        yield from allowed(_of_form(this), given.options.under(this.comments))
    sources = [one for one in script.instructions if isinstance(one, From)]
    yield from allowed(stages.of_names(sources), given.options)
    staged = script.instructions[script.instructions.index(sources[0]):] if sources else ()
    yield from allowed(casing.of_keywords(staged), given.options)
    yield from allowed(_of_defaults(script, sources, given), given.options)


def _of_form(this: Instruction) -> Iterator[Finding]:
    if isinstance(this, Maintainer):
        yield from commands.of_maintainer(this)
    if isinstance(this, From):
        yield from casing.of_from(this)
    if isinstance(this, From | Arg):
        yield from descriptions.of_definition(this)


def _of_defaults(script: Script, sources: Sequence[From], given: Given) -> Iterator[Finding]:
    escape = script.directives.escape
    try:
        args = global_args(declared_globally(script), given.platform_args, {}, escape=escape)
        for this in sources:
            yield from stages.of_default_base(this, expanded(this.image, args.env, escape=escape).text, given.is_image)
    except IechorfileError:
        return  # the build is about to say it


def declared_globally(script: Script) -> list[Arg]:
    found: list[Arg] = []
    for this in script.instructions:
        if isinstance(this, From):
            break
        if isinstance(this, Arg):
            found.append(this)
    return found


def walk_stages(script: Script, given: Given) -> Walked:
    """Every FROM, and the instructions of the stages that count. Raises as `check` does."""
    escape = script.directives.escape
    args = global_args(declared_globally(script), given.platform_args, given.build_args, escape=escape)
    walked = Walked()
    names: dict[str, int] = {}
    froms = list(_froms(script, args, given, walked, escape))
    for number, (this, base, platform, body) in enumerate(froms):
        stage = given.replaced(this.name) if this.name else None
        replaced = stage is not None
        below = names.get(stage if stage is not None else given.replaced(base.text) or base.text)
        if this.name:
            names[this.name] = number
        if given.stages is not None and number not in given.stages:
            continue
        walk = walked.stages.get(below) if below is not None else None
        if walk is not None:
            scope = Scope.of(walk.scope, given, args, escape)
            triggers = () if replaced else walk.scope.triggers
        else:
            named = this.name if replaced else base.text
            facts = BaseFacts(env={}) if named == "scratch" else given.base(named, platform.text)
            scope = Scope.of(facts, given, args, escape)
            triggers = facts.triggers if facts and not replaced else ()
            if facts is not None and facts.platform and not replaced:
                wanted = platform.text or given.platform
                walked.findings += allowed(stages.of_base_platform(
                    this, base.text, facts.platform, wanted, given.platform_parts), given.options)
        if not replaced:
            scope.used.update(base.matched, platform.matched)
        body = [*fired(triggers, this.span), *([] if replaced else body)]
        for one in body:
            walked.findings += allowed(scope.take(one), given.options.under(one.comments))
        walked.stages[number] = StageWalk(source=this, scope=scope, base=below if walk else None,
                                          copies=tuple(_copied(body)))
    return walked


def _copied(body: Iterable[Instruction]) -> Iterator[str]:
    for this in body:
        if isinstance(this, Copy) and this.from_:
            yield this.from_
        elif isinstance(this, Run):
            yield from (mount.from_ for mount in this.mounts if mount.from_)


def _froms(script: Script, args: GlobalArgs, given: Given, walked: Walked,
           escape: str) -> Iterator[tuple[From, Expanded, Expanded, list[Instruction]]]:
    """Each FROM, its image and platform expanded, and what follows it."""
    for this, body in _blocks(script):
        options = given.options.under(this.comments)
        try:
            base = expanded(this.image, args.env, escape=escape)
            platform = expanded(this.platform, args.env, escape=escape)
        except IechorfileError as error:
            raise error.at(this.span) from None
        walked.findings += allowed(of_unmatched_in_from(base, args.known(), this.span), options)
        if this.platform:
            walked.findings += allowed(of_unmatched_in_from(platform, args.known(), this.span), options)
            walked.findings += allowed(stages.of_platform(
                this, platform, args.env.get("TARGETPLATFORM", ""), given.platform_parts), options)
        yield this, base, platform, body


def _blocks(script: Script) -> list[tuple[From, list[Instruction]]]:
    blocks: list[tuple[From, list[Instruction]]] = []
    for this in script.instructions:
        if isinstance(this, From):
            blocks.append((this, []))
        elif blocks:
            blocks[-1][1].append(this)
    return blocks
