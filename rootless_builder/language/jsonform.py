"""The exec form: a JSON array of strings, or something else that is then read as shell form.

An array of anything but strings is an error and broken JSON is not, so "is it JSON?" must be answered as Go's
encoding/json does: no NaN, no number beyond a double, at most 10,000 levels.
"""

import json
import math
import re

from .characters import SPACES, printable

_WS = r"[ \t\n\r]*+"
_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
_ARRAY = re.compile(rf"\[{_WS}(?:{_STRING}{_WS}(?:,{_WS}{_STRING}{_WS})*+)?\]{_WS}")
_TOKEN = re.compile(rf"{_WS}(?:(?P<string>{_STRING})|(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)"
                    rf"|(?P<word>true|false|null)|(?P<mark>[\[\]{{}},:]))")
_MAX_DEPTH = 10_000


class NotStrings(ValueError):
    """Valid JSON, and an array, but not all of it strings."""


def read_array(text: str) -> tuple[str, ...] | None:
    """The strings of `text`, None when it is no JSON array. Raises NotStrings."""
    text = text.lstrip(SPACES)
    if not text.startswith("["):
        return None
    if _ARRAY.fullmatch(text):
        return tuple(map(printable, json.loads(text)))
    if _is_json(text):
        raise NotStrings
    return None


def _is_json(text: str) -> bool:
    """Whether `text`, which begins with "[", is one JSON value; a table of what may come next, no recursion.

    state: value | first (a value or "]") | key | first-key (a key or "}") | colon | after (a value)
    """
    state, position, open_ = "value", 0, []
    while match := _TOKEN.match(text, position):
        position = match.end()
        kind, token = match.lastgroup, match.group().lstrip(" \t\n\r")
        if kind == "number" and math.isinf(float(token)):
            return False
        if token in ("[", "{") and state in ("value", "first"):
            open_.append(token)
            state = "first" if token == "[" else "first-key"
            if len(open_) > _MAX_DEPTH:
                return False
        elif kind != "mark" and state in ("value", "first"):
            state = "after"
        elif kind == "string" and state in ("key", "first-key"):
            state = "colon"
        elif token == ":" and state == "colon":
            state = "value"
        elif token == "," and state == "after":
            state = "value" if open_[-1] == "[" else "key"
        elif (token == "]" and state in ("first", "after") or token == "}" and state in ("first-key", "after")) \
                and open_[-1] + token in ("[]", "{}"):
            open_.pop()
            state = "after"
        else:
            return False
        if not open_:
            return not text[position:].strip(" \t\n\r")
    return False
