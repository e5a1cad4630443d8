"""`--name=value` between an instruction and its arguments: cut off the line, then checked against the table."""

import re

from ..errors import IechorfileError
from ..values import dataclass
from . import suggest
from .characters import SPACES_LATIN1, decode, encode, lower, printable
from .keywords import FLAGS, FlagType

_SPACES = frozenset(SPACES_LATIN1)
_PLAIN = re.compile(r"[a-zA-Z0-9=,./:_$-]+")  # means itself, in quotes and outside


def split_flags(line: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The flags at the start of `line`, quotes and escapes gone, and the rest.

    BuildKit reads flags byte by byte: a character beyond ASCII comes out as one character for each of its bytes,
    and its byte may be a space. What is written to a flag beyond ASCII is wrong in the same way here, so that the
    same file means the same.
    """
    if line[:1] not in ("-", "\udc85", "\udca0"):
        return (), line
    data = encode(line).decode("latin-1")
    flags: list[str] = []
    position = 0
    while True:
        while data[position: position + 1] in _SPACES:
            position += 1
        if not data.startswith("--", position):
            return tuple(flags), decode(data[position:].encode("latin-1"))
        word, quoted, position = _flag_word(data, position, escape)
        if word == "--":
            return tuple(flags), decode(data[position:].encode("latin-1"))
        if word or quoted:
            flags.append(word)


def _flag_word(data: str, position: int, escape: str) -> tuple[str, bool, int]:
    """One word from `position` on, whether a part of it was quoted, and where it ends."""
    chars: list[str] = []
    quote, quoted = "", False
    while position < len(data):
        if run := _PLAIN.match(data, position):
            chars.append(run.group())
            position = run.end()
            continue
        char = data[position]
        if not quote and char in _SPACES:
            break
        position += 1
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote, quoted = char, True
        elif char == escape:
            if position == len(data):
                break
            chars.append(data[position])
            position += 1
        else:
            chars.append(char)
    return "".join(chars), quoted, position


@dataclass(frozen=True, slots=True)
class Flags:
    """The values of an instruction's flags; one that was not given has the value its type starts with."""

    values: dict[str, list[str]]

    def text(self, name: str, default: str = "") -> str:
        return self.values[name][0] if name in self.values else default

    def switch(self, name: str) -> bool | None:
        return self.values[name][0] == "true" if name in self.values else None

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self.values.get(name, ()))

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.values))


def check_flags(kind: str, flags: tuple[str, ...]) -> Flags:
    """`flags` by name. Raises IechorfileError: unknown, given twice, a value missing or not allowed."""
    table = FLAGS.get(kind, {})
    values: dict[str, list[str]] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        short = name[2:]
        if short not in table:
            known = " ".join(f"--{other}" for other in table)
            raise IechorfileError(
                f"cannot read the flag {printable(name)}: {kind.upper()} has no such flag",
                notes=suggest.notes(name, [f"--{other}" for other in table]), mark=name,
                hint=f"{kind.upper()} takes {known}" if known else f"{kind.upper()} takes no flags")
        type_ = table[short]
        if short in values and type_ is not FlagType.LIST:
            raise IechorfileError(f"cannot read the flag {name}: it is given twice", hint="leave one of them out",
                                  mark=name)
        if type_ is FlagType.BOOL:
            value = _boolean(name, value, bool(equals))
        elif not equals:
            raise IechorfileError(f"cannot read the flag {name}: it has no value", hint=f"write {name}=value",
                                  mark=name)
        values.setdefault(short, []).append(value)
    return Flags(values)


def _boolean(name: str, value: str, given: bool) -> str:
    word = lower(value) if given else "true"
    if word not in ("true", "false"):
        raise IechorfileError(f"cannot read the flag {name}: {printable(value)!r} is neither true nor false",
                              hint=f"write {name} or {name}=false", mark=f"{name}={value}")
    return word
