"""What the readers of instructions have in common: a statement's place, flags, and the number of its values."""

from typing import TypedDict

from ..errors import IechorfileError
from ..span import Span
from .characters import strip
from .flags import Flags, check_flags
from .statements import Statement


class Place(TypedDict):
    span: Span
    text: str
    keyword: str
    comments: tuple[str, ...]


def place(statement: Statement) -> Place:
    return Place(span=statement.span, text=strip(statement.text), keyword=statement.keyword,
                  comments=statement.comments)


def flags_of(statement: Statement) -> Flags:
    return check_flags(statement.kind, statement.flags)


def refused(statement: Statement, cause: str, hint: str) -> IechorfileError:
    return IechorfileError(f"cannot read {statement.name.upper()}: {cause}", hint=hint)


def at_least_one(statement: Statement) -> tuple[str, ...]:
    if not statement.values:
        raise refused(statement, "it needs at least one argument", "Give it one, or leave the line out.")
    return statement.values


def exactly_one(statement: Statement) -> str:
    if len(statement.values) != 1:
        raise refused(statement, "it needs exactly one argument", "Give it one, or leave the line out.")
    return statement.values[0]


def command_of(statement: Statement) -> tuple[tuple[str, ...], bool]:
    """The words of a command, and whether they are one text for the shell."""
    return statement.values, not statement.json
