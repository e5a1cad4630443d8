"""Which entries of a packed layer the checks of effects.py have to look at, found without an object for each entry.

A superset is right: what is named here is looked at by the checks themselves. All that are not are plain: readable to
others, no set-id bit, no place of a package cache, no name and no text that tells a secret.
"""

import re
from collections.abc import Iterator

from ..layer.index import RECORD, RECORD_SIZE
from .secretscan import NAMES

_OTHERS = bytes(int(low & 0o5 != 0o5) for low in range(256))  # of the low byte of a mode: r or x of others is missing
_SET_IDS = bytes(int(high & 0o14 != 0) for high in range(256))  # of the byte above it
_LINK = 6
_CACHES = re.compile(rb"(?:\A|\0)(?:var|etc|root|home|usr|go|opt)/")  # all that rules.py knows begin so


def suspects(records: bytes, paths: bytes, hinted: bytes) -> list[int]:
    """Numbers of records, ascending. As TarSink.add_survey returns them: one path for each record, ended by NUL."""
    if _CACHES.search(paths):
        return list(range(len(records) // RECORD_SIZE))
    found = set(memoryview(hinted).cast("I")) | set(_by_mode(records))
    if any(name in paths for name in NAMES):
        found.update(number for number, path in enumerate(paths.split(b"\0")) if any(name in path for name in NAMES))
    return sorted(found)


def _by_mode(records: bytes) -> Iterator[int]:
    for flags in (records[0::RECORD_SIZE].translate(_OTHERS), records[1::RECORD_SIZE].translate(_SET_IDS)):
        number = flags.find(1)
        while number >= 0:
            kind_mode, *_ = RECORD.unpack_from(records, number * RECORD_SIZE)
            if kind_mode >> 16 != _LINK and _is_odd(kind_mode & 0o7777, folder=kind_mode >> 16 == 5):
                yield number
            number = flags.find(1, number + 1)


def _is_odd(mode: int, *, folder: bool) -> bool:
    return bool(mode & 0o6000) or not mode & (0o001 if folder else 0o004)
