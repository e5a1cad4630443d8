"""The exec form: a JSON array of strings, or something else that is then read as shell form.

An array of anything but strings is an error and broken JSON is not, so "is it JSON?" must be answered as Go's
encoding/json does: no NaN, no number beyond a double, at most 10,000 levels.
"""

import json
import math
import re

from .characters import SPACES, printable

_STRING = r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_TOKEN = re.compile(rf"[ \t\n\r]*(?:(?P<string>{_STRING})|(?P<number>{_NUMBER})|(?P<word>true|false|null)"
                    r"|(?P<mark>[\[\]{},:]))")
_MAX_DEPTH = 10_000


class NotStrings(ValueError):
    """Valid JSON, and an array, but not all of it strings."""


def read_array(text: str) -> tuple[str, ...] | None:
    """The strings of `text`, None when it is no JSON array. Raises NotStrings."""
    text = text.lstrip(SPACES)
    if not text.startswith("[") or not (kinds := _token_kinds(text)):
        return None
    if kinds == {"string"}:
        return tuple(map(printable, json.loads(text)))
    if kinds == {"empty"}:
        return ()
    raise NotStrings


def _token_kinds(text: str) -> set[str]:
    """What `text`, which begins with "[", holds if it is one JSON value: string, number, word, nested, or empty for
    []; nothing if it is no JSON. A table of what may come next, no recursion.

    state: value | first (a value or "]") | key | first-key (a key or "}") | colon | after (a value)
    """
    kinds: set[str] = set()
    open_: list[str] = []
    state, position = "value", 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        kind, token = match.lastgroup or "", match.group().lstrip(" \t\n\r")
        if kind == "number" and math.isinf(float(token)):
            return set()
        if token in ("[", "{") and state in ("value", "first"):
            kinds |= {"nested"} if open_ else set()
            open_.append(token)
            state = "first" if token == "[" else "first-key"
            if len(open_) > _MAX_DEPTH:
                return set()
        elif kind != "mark" and state in ("value", "first"):
            kinds.add(kind)
            state = "after"
        elif kind == "string" and state in ("key", "first-key"):
            state = "colon"
        elif token == ":" and state == "colon":
            state = "value"
        elif token == "," and state == "after":
            state = "value" if open_[-1] == "[" else "key"
        elif token == {"[": "]", "{": "}"}[open_[-1]] and state in ("first", "first-key", "after"):
            open_.pop()
            state = "after"
        else:
            return set()
        if not open_:
            return (kinds or {"empty"}) if not text[position:].strip(" \t\n\r") else set()
    return set()
