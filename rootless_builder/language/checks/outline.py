"""What a file offers to whoever builds it: its targets, and the arguments, secrets and ssh keys of one of them."""

from collections.abc import Iterator
from typing import TypeVar

from ...span import Span
from ...values import dataclass
from ..instructions import From, Script
from .arguments import ArgFact
from .check import StageWalk, Walked
from .descriptions import description

_T = TypeVar("_T", ArgFact, "Needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A stage one can build. base and platform as written; default: the last one."""

    name: str
    default: bool
    description: str
    base: str
    platform: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A secret or ssh key that a RUN mounts."""

    name: str
    required: bool
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Of one target and the stages it needs, each in the order of the file."""

    name: str
    description: str
    args: tuple[ArgFact, ...]
    secrets: tuple[Needed, ...]
    ssh: tuple[Needed, ...]


def targets(script: Script) -> tuple[Target, ...]:
    sources = [one for one in script.instructions if isinstance(one, From)]
    return tuple(Target(name=one.name, default=one is sources[-1], description=description(one.comments, one.name),
                        base=one.image, platform=one.platform, span=one.span) for one in sources)


def outline(script: Script, walked: Walked, target: int) -> Outline:
    """Of the stage number `target`, which must have been walked, as must what it needs."""
    source = walked.stages[target].source
    args: dict[str, ArgFact] = {}
    secrets: dict[str, Needed] = {}
    ssh: dict[str, Needed] = {}
    for walk in _needed(script, walked, target):
        scope = walk.scope
        for name in _with_parts(scope.used, scope.facts):
            args.setdefault(name, scope.facts[name])
        for found, told in ((secrets, scope.secrets), (ssh, scope.ssh)):
            for name, (required, span) in told.items():
                found.setdefault(name, Needed(name=name, required=required, span=span))
    return Outline(name=source.name, description=description(source.comments, source.name),
                   args=_in_order(args), secrets=_in_order(secrets), ssh=_in_order(ssh))


def _in_order(found: dict[str, _T]) -> tuple[_T, ...]:
    return tuple(sorted(found.values(), key=lambda one: (one.span.line, one.name)))


def _with_parts(used: set[str], facts: dict[str, ArgFact]) -> set[str]:
    """The ARGs used, and those their defaults are made of; only what the file declares."""
    found, left = set[str](), list(used)
    while left:
        name = left.pop()
        if name in facts and name not in found:
            found.add(name)
            left.extend(facts[name].parts)
    return found


def _needed(script: Script, walked: Walked, target: int) -> Iterator[StageWalk]:
    """The target, then what it is based on and copies from; each once."""
    sources = [one for one in script.instructions if isinstance(one, From)]
    names = {one.name: number for number, one in enumerate(sources) if one.name}
    seen, left = set[int](), [target]
    while left:
        number = left.pop(0)
        if number in seen or number not in walked.stages:
            continue
        seen.add(number)
        walk = walked.stages[number]
        yield walk
        if walk.base is not None:
            left.append(walk.base)
        for name in walk.copies:
            if name.lower() in names:
                left.append(names[name.lower()])
            elif name.isascii() and name.isdigit():
                left.append(int(name))

