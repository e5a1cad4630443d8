"""Checked reading and canonical writing of the JSON that images are described in.

A document comes from a registry or an archive, so nothing about it is believed: every reader here says what
it wanted and where, as UnsafeArchive. Canonical JSON: UTF-8, keys sorted, no spaces, as the digests of what
we write need it. A JSON null counts as an absent key, as in Go.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import UnsafeArchive

Object = Mapping[str, Any]
_SURROGATES = re.compile("[\ud800-\udfff]")


def load(data: bytes, what: str) -> dict[str, Any]:
    """One JSON object. `what` names the document in messages ("image config")."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnsafeArchive(f"cannot read the {what}: it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise UnsafeArchive(f"cannot read the {what}: it is not a JSON object")
    return value


def dump(value: object) -> bytes:
    """Canonical bytes. What is no Unicode text (a lone surrogate) becomes U+FFFD, as Go's encoder has it."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return _SURROGATES.sub("\ufffd", text).encode()


def compact(value: Mapping[str, Any]) -> dict[str, Any]:
    """Without the keys that say nothing: None, "", and empty mappings. An empty list is something."""
    return {key: item for key, item in value.items() if item is not None and item != "" and item != {}}


def refuse(what: str, key: str, wanted: str) -> UnsafeArchive:
    return UnsafeArchive(f"cannot read the {what}: {key!r} is not {wanted}")


def text(source: Object, key: str, what: str) -> str:
    value = source.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise refuse(what, key, "a string")
    return value


def required_text(source: Object, key: str, what: str) -> str:
    value = text(source, key, what)
    if not value:
        raise UnsafeArchive(f"cannot read the {what}: it has no {key!r}")
    return value


def number(source: Object, key: str, what: str) -> int:
    """A whole number; 0 when absent."""
    value = source.get(key)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse(what, key, "a whole number")
    return value


def flag(source: Object, key: str, what: str) -> bool:
    value = source.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise refuse(what, key, "true or false")
    return value


def texts(source: Object, key: str, what: str) -> tuple[str, ...] | None:
    """A list of strings; None when absent, which is not the same as ()."""
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise refuse(what, key, "a list of strings")
    return tuple(value)


def text_map(source: Object, key: str, what: str) -> dict[str, str]:
    value = source.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise refuse(what, key, "an object of strings")
    return value


def key_set(source: Object, key: str, what: str) -> tuple[str, ...]:
    """The keys of an object whose values mean nothing (ExposedPorts, Volumes), sorted."""
    value = source.get(key)
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise refuse(what, key, "an object")
    return tuple(sorted(value))


def mapping(source: Object, key: str, what: str) -> dict[str, Any]:
    value = source.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refuse(what, key, "an object")
    return value


def mappings(source: Object, key: str, what: str) -> list[dict[str, Any]]:
    value = source.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise refuse(what, key, "a list of objects")
    return value
