"""A script as stages: each FROM and what follows it, and which stage needs which.

    ARG …                 global: seen by every FROM, and by ARG without a default inside a stage
    FROM a AS x   ──▶ Stage(0, "x", base="a")
    FROM x        ──▶ Stage(1, "",  base="x", base_stage=0)     base_stage: the earlier stage of that name
    FROM a AS y   ──▶ Stage(2, "y", base="y")                   where a named context stands in for all of the stage
                      Stage(2, "y", base="x", base_stage=0)     where that context is target:x
    COPY --from=x ──▶ an edge, as RUN --mount=from= and FROM --after= are; all also take a stage's number
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

from ..errors import IechorfileError, UsageError
from ..language import suggest
from ..language.instructions import Arg, Copy, From, Instruction, Run, Script
from ..language.words import expand
from ..values import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """base: what FROM names, expanded; base_stage: the index it means in this file, or None for an image.

    replaced: a named context of the stage's name stands in for it and for all its instructions. after: the stage that
    must be done before this one begins, whatever it reads (it may write the archive that FROM names).
    """

    index: int
    name: str
    base: str
    base_stage: int | None
    platform: str
    source: From
    instructions: tuple[Instruction, ...]
    replaced: bool = False
    after: int | None = None

    @property
    def title(self) -> str:
        return self.name or f"stage-{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageGraph:
    """stages in the order of the file; global_args: what ARG before the first FROM and the platform args mean.

    replaced: see `of`.
    """

    stages: tuple[Stage, ...]
    global_args: Mapping[str, str]
    replaced: Callable[[str], str | None] = lambda name: None

    @classmethod
    def of(cls, script: Script, *, build_args: Mapping[str, str], platform_args: Mapping[str, str],
           replaced: Callable[[str], str | None] = lambda name: None) -> "StageGraph":
        """replaced: what a named context puts in the place of that name: a stage, "" for what is not in the file, None
        where there is no such context. Errors: IechorfileError at the FROM that cannot be understood.
        """
        escape = script.directives.escape
        meta, blocks = _blocks(script)
        args = _global_args(meta, build_args, platform_args, escape)
        stages: list[Stage] = []
        for source, body in blocks:
            stage = _stage(source, body, stages, args, escape)
            stand_in = replaced(stage.name) if stage.name else None
            if stand_in is not None:
                stage = replace(stage, base=stage.name, base_stage=None, instructions=(), replaced=True, after=None)
            meant = stand_in or replaced(stage.base)
            if meant:
                stage = replace(stage, base=meant, base_stage=_above(meant, stages, source))
            stages.append(stage)
        return cls(stages=tuple(stages), global_args=args, replaced=replaced)

    def target(self, wanted: str | None) -> Stage:
        """The stage to build: the last one, or by name (any case) or number. Errors: UsageError."""
        if wanted is None:
            return self.stages[-1]
        found = self.find(wanted)
        if found is not None:
            return found
        names = [stage.name for stage in self.stages if stage.name]
        import difflib

        near = difflib.get_close_matches(wanted.lower(), names, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"the stages are: {', '.join(names) or 'unnamed'}"
        raise UsageError(f'target stage "{wanted}" could not be found', hint=hint)

    def find(self, name: str) -> Stage | None:
        """By name, the last of that name as BuildKit has it; else by number."""
        name = self.replaced(name) or name
        named = [stage for stage in self.stages if stage.name and stage.name == name.lower()]
        if named:
            return named[-1]
        return self.stages[int(name)] if name.isascii() and name.isdigit() and int(name) < len(self.stages) else None

    def check(self) -> None:
        """What is wrong in stages that nobody needs, too, as BuildKit has it: a --from that is a variable or the number
        of no stage, and stages that read one another. Errors: IechorfileError.
        """
        edges: dict[int, dict[int, Instruction]] = {}
        for stage in self.stages:
            mine = edges[stage.index] = {}
            for instruction in stage.instructions:
                if isinstance(instruction, Copy) and "$" in instruction.from_:
                    raise IechorfileError("variable expansion is not supported for --from", span=instruction.span,
                                          mark=instruction.from_,
                                          hint="define a stage: FROM with an ARG from before the first FROM in it")
                for name in _from_names(instruction):
                    found = self.find(name)
                    if found is not None:
                        mine[found.index] = instruction
                    elif isinstance(instruction, Copy) or self.replaced(name):
                        self._check_name(name, instruction)
        if any(index <= read for index, read in ((index, max(mine)) for index, mine in edges.items() if mine)):
            self._check_circle(edges)

    def _check_name(self, name: str, instruction: Instruction) -> None:
        stage = self.replaced(name)
        if stage:
            raise _no_stage(stage, "", self.stages, instruction, name)
        if name.lstrip("+-").isdigit():
            raise IechorfileError(f"invalid stage index {name}", span=instruction.span, mark=name,
                                  hint=f"this file has the stages 0 to {len(self.stages) - 1}")

    def _check_circle(self, edges: Mapping[int, Mapping[int, Instruction]]) -> None:
        from graphlib import CycleError, TopologicalSorter  # a file that reads only what stands above has no circle

        try:
            TopologicalSorter({index: tuple(mine) for index, mine in edges.items()}).prepare()
        except CycleError as error:
            circle: list[int] = error.args[1]  # each is read by the next
            first = min(circle)
            read = circle[:-1][circle[:-1].index(first) - 1]
            instruction = edges[first][read]
            told = " and ".join(f"{self.stages[one].title} is read by {self.stages[other].title}"
                                for one, other in itertools.pairwise(circle))
            raise IechorfileError(f'circular dependency detected on stage: "{self.stages[first].title}"',
                                  span=instruction.span, hint=f"copy from an earlier stage: {told}") from None

    def origin(self, name: str, user: Stage, instruction: Instruction) -> int | str:
        """What `--from=name` in stage `user` means: a stage's index, or a name of somewhere else.

        Errors: IechorfileError for a stage that is not built before its user, or a number that is no stage.
        """
        found = self.find(name)
        if found is None:
            self._check_name(name, instruction)
            return name
        if found.index == user.index:
            raise IechorfileError(f'circular dependency detected on stage: "{found.title}"', span=instruction.span,
                                  hint="copy from an earlier stage")
        if found.index > user.index:
            raise IechorfileError(
                f'cannot copy from stage "{name}", it needs to be defined before current stage "{user.title}"',
                span=instruction.span, hint="move that stage up")
        return found.index

    def needs(self, stage: Stage) -> set[int]:
        """The stages that `stage` reads, itself left out."""
        found = {index for index in (stage.base_stage, stage.after) if index is not None}
        for instruction in stage.instructions:
            for name in _from_names(instruction):
                origin = self.origin(name, stage, instruction)
                if isinstance(origin, int):
                    found.add(origin)
        return found

    def reachable(self, target: Stage) -> list[Stage]:
        """What must be built for `target`, in the order of the file; an unneeded stage is never looked at."""
        wanted, left = set[int](), [target.index]
        while left:
            index = left.pop()
            if index not in wanted:
                wanted.add(index)
                left.extend(self.needs(self.stages[index]))
        return [stage for stage in self.stages if stage.index in wanted]


def based_on(script: Script, image: str | None) -> Script:
    """podman's --from: the first FROM takes `image` instead of what it names."""
    if image is None:
        return script
    first = next((one for one in script.instructions if isinstance(one, From)), None)
    return replace(script, instructions=tuple(
        replace(one, image=image) if one is first and isinstance(one, From) else one for one in script.instructions))


def last_name(script: Script) -> str:
    """Of the stage that is built when nobody says which; "" when it has none."""
    return next((one.name for one in reversed(script.instructions) if isinstance(one, From)), "")


def _from_names(instruction: Instruction) -> Iterator[str]:
    if isinstance(instruction, Copy) and instruction.from_:
        yield instruction.from_
    if isinstance(instruction, Run):
        yield from (mount.from_ for mount in instruction.mounts if mount.from_)


def _blocks(script: Script) -> tuple[list[Arg], list[tuple[From, list[Instruction]]]]:
    """(ARGs before the first FROM, each FROM with what follows it)."""
    meta: list[Arg] = []
    blocks: list[tuple[From, list[Instruction]]] = []
    for instruction in script.instructions:
        if isinstance(instruction, From):
            blocks.append((instruction, []))
        elif blocks:
            blocks[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            meta.append(instruction)
        else:
            raise IechorfileError("no build stage in current context", span=instruction.span,
                                  hint="only ARG may stand before the first FROM")
    if not blocks:
        raise IechorfileError(f"{script.file} has no build stage", hint="begin it with FROM")
    return meta, blocks


def _global_args(meta: list[Arg], build_args: Mapping[str, str], platform_args: Mapping[str, str],
                 escape: str) -> dict[str, str]:
    args = {name: build_args.get(name, value) for name, value in platform_args.items()}
    for instruction in meta:
        for name, default in instruction.args:
            value = build_args.get(name)
            if value is None and default is not None:
                value = _expanded(default, args, escape, instruction)[0]
            if value is not None:
                args[name] = value
    return args


def _stage(source: From, body: list[Instruction], earlier: list[Stage], args: Mapping[str, str],
           escape: str) -> Stage:
    base, unknown = _expanded(source.image, args, escape, source)
    if not base:
        raise IechorfileError(f"base name ({source.image}) should not be blank", span=source.span, mark=source.image,
                              notes=_near(unknown, args),
                              hint="give the ARG it uses a default, or a value with --build-arg")
    platform, unknown = _expanded(source.platform, args, escape, source) if source.platform else ("", frozenset())
    if source.platform and not platform:
        raise IechorfileError(f"empty platform value from expression {source.platform}", span=source.span,
                              mark=source.platform, notes=_near(unknown, args),
                              hint="name a platform, or an ARG that has a value before the first FROM")
    named = [stage.index for stage in earlier if stage.name and stage.name == base]
    return Stage(index=len(earlier), name=source.name, base=base, base_stage=named[-1] if named else None,
                 platform=platform, source=source, instructions=tuple(body),
                 after=_after(source, earlier, args, escape) if source.after else None)


def _above(name: str, earlier: list[Stage], source: From) -> int:
    """The stage that a named context is. Errors: IechorfileError for one that is not above."""
    for stage in reversed(earlier):
        if stage.name == name:
            return stage.index
    raise _no_stage(name, " above", earlier, source, source.image)


def _no_stage(name: str, where: str, stages: Iterable[Stage], instruction: Instruction, mark: str) -> IechorfileError:
    """A named context is the stage `name`, which is not among `stages`."""
    return IechorfileError(f'the build context target:{name} stands in here, and there is no stage "{name}"{where}',
                           span=instruction.span, mark=mark, hint="name a stage that stands above",
                           notes=suggest.notes(name, [stage.name for stage in stages if stage.name]))


def _after(source: From, earlier: list[Stage], args: Mapping[str, str], escape: str) -> int:
    """The stage of --after, by name or number. Errors: IechorfileError for one that is not above."""
    wanted = _expanded(source.after, args, escape, source)[0].lower()
    for stage in reversed(earlier):
        if wanted and wanted == stage.name:
            return stage.index
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(earlier):
        return int(wanted)
    names = [stage.name for stage in earlier if stage.name]
    raise IechorfileError(f'FROM --after={source.after}: there is no stage "{wanted}" above this one', span=source.span,
                          mark=source.after, notes=suggest.notes(wanted, names),
                          hint="name a stage that stands above, or its number")


def _near(unknown: Iterable[str], args: Mapping[str, str]) -> tuple[str, ...]:
    """"Did you mean" for the first of these variables that is almost one of `args`."""
    return next((found for name in sorted(unknown) if (found := suggest.notes(name, args))), ())


def _expanded(text: str, args: Mapping[str, str], escape: str,
              instruction: Instruction) -> tuple[str, frozenset[str]]:
    """The value, and the variables in `text` that are not set."""
    try:
        return expand(text, args, escape=escape)
    except IechorfileError as error:
        raise error.at(instruction.span) from None
