r"""What stands behind an instruction and its flags, cut into the values of BuildKit's parse tree.

    text      the whole rest, one value                      MAINTAINER STOPSIGNAL USER WORKDIR
    split     cut at blanks                                  EXPOSE FROM
    words     cut at spaces outside quotes, quotes kept      ARG
    pairs     key, value, "=" in a row; or key, rest, ""     ENV LABEL
    command   JSON array, else text                          CMD ENTRYPOINT RUN SHELL
    list      JSON array, else split                         ADD COPY VOLUME
    health    the type, then command                         HEALTHCHECK
    unknown   one empty value                                any other
"""

import re
from collections.abc import Callable
from functools import lru_cache

from ..errors import IechorfileError
from ..values import dataclass
from . import jsonform
from .characters import SPACES, SPACES_LATIN1, decode, encode, printable, split_spaces


@dataclass(frozen=True, slots=True)
class Arguments:
    values: tuple[str, ...] = ()
    json: bool = False


def read_arguments(kind: str, rest: str, escape: str) -> Arguments:
    """`rest` has no spaces at its ends. Raises IechorfileError."""
    return _READERS.get(kind, _unknown)(rest, escape)


def split_words(text: str, escape: str) -> list[str]:
    """Words as `ENV a="b c" d` has them; quotes and escapes stay, a lone escape at the very end goes."""
    return [word for word in _word(escape).findall(printable(text)) if word]


@lru_cache
def _word(escape: str) -> re.Pattern[str]:
    r"""Group 1 is the word without an escape that ends the text. No part of it can fail once it has begun."""
    e = re.escape(escape)
    plain = rf"[^'\"{e}{SPACES}]+"
    double = rf'"[^"{e}]*(?:{e}.[^"{e}]*)*(?:"|(?={e}?\Z))'
    single = r"'[^']*(?:'|\Z)"
    return re.compile(rf"[{SPACES}]*((?:{plain}|{double}|{single}|{e}.)*)(?:{e}\Z)?", re.DOTALL)


def _unknown(rest: str, escape: str) -> Arguments:
    return Arguments(("",))


def _text(rest: str, escape: str) -> Arguments:
    return Arguments((rest,) if rest else ())


def _split(rest: str, escape: str) -> Arguments:
    return Arguments(tuple(split_spaces(rest)) if rest else ())


def _words(rest: str, escape: str) -> Arguments:
    return Arguments(tuple(split_words(rest, escape)))


def _pairs(rest: str, escape: str) -> Arguments:
    words = split_words(rest, escape)
    if not words:
        return Arguments()
    if "=" not in words[0]:
        parts = split_spaces(rest, 1)
        if len(parts) < 2:
            raise IechorfileError(f"cannot read the pair {printable(rest)!r}: it has a name and no value",
                                  hint="write name=value")
        return Arguments((parts[0], parts[1], ""))
    values: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise IechorfileError(f"cannot read the pair {word!r}: there is no = in it",
                                  hint="write name=value, with quotes around a value that has spaces")
        values += key, value, "="
    return Arguments(tuple(values))


def _command(rest: str, escape: str) -> Arguments:
    return _array(rest) or _text(rest, escape)


def _list(rest: str, escape: str) -> Arguments:
    return _array(rest) or _split(rest, escape)


def _array(rest: str) -> Arguments | None:
    try:
        strings = jsonform.read_array(rest)
    except jsonform.NotStrings:
        raise IechorfileError("cannot read the JSON array: it has values that are not strings",
                              hint="put every value between double quotes") from None
    return None if strings is None else Arguments(strings, json=True)


def _health(rest: str, escape: str) -> Arguments:
    """BuildKit looks for the end of the type byte by byte, so U+0085 and U+00A0 within a character count."""
    data = encode(rest).decode("latin-1")
    type_ = re.match(rf"[^{SPACES_LATIN1}]*", data)
    assert type_ is not None
    if not type_.group():
        return Arguments()
    command = _command(decode(data[type_.end():].lstrip(SPACES_LATIN1).encode("latin-1")), escape)
    return Arguments((decode(type_.group().encode("latin-1")), *command.values), command.json)


_READERS: dict[str, Callable[[str, str], Arguments]] = {
    "add": _list, "arg": _words, "cmd": _command, "copy": _list, "entrypoint": _command, "env": _pairs,
    "expose": _split, "from": _split, "healthcheck": _health, "label": _pairs, "maintainer": _text, "run": _command,
    "shell": _command, "stopsignal": _text, "user": _text, "volume": _list, "workdir": _text,
}
