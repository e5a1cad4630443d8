"""The build cache: key of a step → what the step made.

    cache/XX/KEY          StepRecord as JSON
    cache/inputs/XX/…     what the step at a position was made from the last time: [[label, digest], …]

A record is worth nothing without its layer: `get` looks for the blob and keeps it for this process.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from ..errors import StoreError
from ..oci.digest import Digest, InvalidDigest
from ..values import dataclass, field
from .blobs import Blobs
from .layout import Layout
from .names import read_record

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What a step made. diff_id: its layer, stored uncompressed under this digest; None: no layer.

    size: bytes of that blob. created_by: the instruction, for people. facts: whatever else the builder wants
    to know on a hit, as text.
    """

    diff_id: Digest | None = None
    size: int = 0
    created_by: str = ""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)


class Cache(Protocol):
    def get(self, key: str) -> StepRecord | None: ...

    def put(self, key: str, record: StepRecord) -> None: ...

    def explain(self, position: str, inputs: Sequence[tuple[str, str]]) -> str: ...

    def remember_inputs(self, position: str, inputs: Sequence[tuple[str, str]]) -> None: ...


class BuildCache:
    def __init__(self, layout: Layout, blobs: Blobs) -> None:
        self._layout = layout
        self._blobs = blobs

    def get(self, key: str) -> StepRecord | None:
        """A miss when nothing is recorded, the record is damaged, or its blob is gone or of another size."""
        path = self._path(key)
        record = None
        with contextlib.suppress(StoreError):
            record = _parse(read_record(path, self._layout.seen), key)
        if record is None or (record.diff_id is not None and not self._blobs.use(record.diff_id, record.size)):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # last use, for prune
        return record

    def put(self, key: str, record: StepRecord) -> None:
        """Errors: DiskFull, StoreError."""
        data = json.dumps({
            "key": key, "diff_id": str(record.diff_id) if record.diff_id else None, "size": record.size,
            "created_by": record.created_by, "facts": dict(record.facts),
        }, sort_keys=True).encode()
        self._layout.write(self._path(key), data, "write to the build cache")

    def remember_inputs(self, position: str, inputs: Sequence[tuple[str, str]]) -> None:
        """position: text that names the step whatever it holds ("FILE stage 0 step 3"); inputs: (label, digest).

        Errors: DiskFull, StoreError.
        """
        data = json.dumps({"inputs": [list(pair) for pair in inputs]}).encode()
        self._layout.write(self._inputs_path(position), data, "write to the build cache")

    def explain(self, position: str, inputs: Sequence[tuple[str, str]]) -> str:
        """Why this step is not in the cache, as one sentence: the first input that differs from the last time."""
        record = None
        with contextlib.suppress(StoreError):
            record = read_record(self._inputs_path(position))
        if record is None:
            return "this step was not built here before"
        last = [(str(pair[0]), str(pair[1])) for pair in record.get("inputs", ()) if len(pair) == 2]
        return _difference(last, inputs) or "its result was removed from the store"

    def entries(self) -> "Iterator[tuple[Path, StepRecord, int, int]]":
        """(file, record, last use in ns, bytes of the file) of every record; damaged ones are passed over."""
        for path in _files(self._layout.cache):
            with contextlib.suppress(StoreError, FileNotFoundError):
                status = path.stat()
                record = step_of(path)
                if record is not None:
                    yield path, record, status.st_mtime_ns, status.st_blocks * 512

    def _path(self, key: str) -> Path:
        name = key.rpartition(":")[2]
        if not _HEX.fullmatch(name):
            name = hashlib.sha256(key.encode()).hexdigest()
        return self._layout.cache / name[:2] / name

    def _inputs_path(self, position: str) -> Path:
        name = hashlib.sha256(position.encode("utf-8", "surrogateescape")).hexdigest()
        return self._layout.inputs / name[:2] / name


class NoCache:
    """`--no-cache`: knows nothing, and still remembers for the next build."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def get(self, key: str) -> StepRecord | None:
        return None

    def put(self, key: str, record: StepRecord) -> None:
        self._cache.put(key, record)

    def explain(self, position: str, inputs: Sequence[tuple[str, str]]) -> str:
        return "--no-cache was given"

    def remember_inputs(self, position: str, inputs: Sequence[tuple[str, str]]) -> None:
        self._cache.remember_inputs(position, inputs)


def _difference(last: Sequence[tuple[str, str]], now: Sequence[tuple[str, str]]) -> str:
    """The first one of (label, digest) pairs, in words; "" for none."""
    for one, before in zip_longest(now, last, fillvalue=("", "")):
        if one == before:
            continue
        if one[0] == before[0]:
            return f"{one[0]} changed"
        added = one[0] not in dict(last) and one[0]
        gone = before[0] not in dict(now) and before[0]
        if added and gone:
            return f"{added} is here instead of {gone}"
        if added:
            return f"{added} was added"
        return f"{gone} is gone" if gone else f"{one[0]} stands elsewhere"
    return ""


def step_of(path: Path) -> StepRecord | None:
    """The record in this file; None when it is not there. Errors: StoreError when it cannot be read."""
    record = read_record(path)
    step = _parse(record, None)
    if step is None and record is not None:
        raise StoreError("it is no record of a step")
    return step


def _files(cache: Path) -> Iterator[Path]:
    """cache/XX/KEY, not cache/inputs."""
    if cache.is_dir():
        for shard in sorted(cache.iterdir()):
            if len(shard.name) == 2 and shard.is_dir():
                yield from sorted(path for path in shard.iterdir() if _HEX.fullmatch(path.name))


def _parse(record: dict[str, Any] | None, key: str | None) -> StepRecord | None:
    if record is None or (key is not None and record.get("key") != key):
        return None
    try:
        diff_id = Digest.parse(record["diff_id"]) if record.get("diff_id") else None
        return StepRecord(diff_id=diff_id, size=int(record["size"]), created_by=str(record["created_by"]),
                          facts={str(name): str(value) for name, value in record["facts"].items()})
    except (KeyError, TypeError, ValueError, AttributeError, InvalidDigest):
        return None
