"""The name of a step's result: a digest over its parent's name, the step itself and the digests of its inputs.

No step may read a thing that is not in its key. The encoding is canonical JSON, versioned: another version of the
encoding or of what a step does gives other keys, never another meaning to an old key.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from ..values import fields, is_dataclass
from .steps import InlineFile, Step

VERSION = 1


def cache_key(parent: str, step: Step, inputs: Sequence[str] = ()) -> str:
    """64 hex digits. parent: the key before this step; inputs: digests of what it reads besides, in order."""
    return digest_of({"version": VERSION, "parent": parent, "step": type(step).__name__,
                      "is": _described(step), "inputs": list(inputs)})


def base_key(layers: Sequence[str], platform: str) -> str:
    """The key a stage starts with: what its base holds (diff ids, lowest first), not what the base is called."""
    return digest_of({"version": VERSION, "layers": list(layers), "platform": platform})


def _described(step: Step) -> dict[str, Any]:
    """Every field of the step that decides what it does, by name: what a key is made of."""
    return dict(_fields(step))


def explained(step: Step) -> Iterator[tuple[str, str]]:
    """(label, digest) of the same, each variable of the environment by itself: what a miss is explained by."""
    for name, value in _described(step).items():
        if name == "env":
            yield from ((f"env {one.partition('=')[0]}", digest_of(one)) for one in value)
        else:
            yield name, digest_of(value)


def digest_of(value: object) -> str:
    encoded = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(encoded.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, InlineFile):
        return [value.name, hashlib.sha256(value.data).hexdigest()]
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if is_dataclass(value):
        return {"kind": type(value).__name__} | dict(_fields(value))
    return value


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        if field.compare:
            found = getattr(value, field.name)
            # What a stage or an image holds is an input; its number or name is none.
            yield field.name, found is not None if field.name == "origin" else _plain(found)
