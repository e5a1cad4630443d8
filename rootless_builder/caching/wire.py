"""Step records on their way between stores: the one JSON document of an exported cache, written and read back.

    {"version": 1, "records": [{"key": …, "diff_id": "sha256:…" | null, "size": …, "facts": {…}}, …]}

It is the config blob of a cache of its own (MEDIA_TYPE), or stands under INLINE in an image's config. What is read was
written by somebody else: every value has the shape it should have, or its record is left out. A record says only which
layer a step made; the layer's own bytes are checked against that digest before anything uses them.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import UnsafeArchive
from ..oci import document
from ..oci.digest import Digest, InvalidDigest
from ..store.buildcache import StepRecord

MEDIA_TYPE = "application/vnd.iechor.cache.v1+json"
INLINE = "iechor.cache.v1"
LIMIT = 16 << 20  # bytes of the document: some 40,000 steps
VERSION = 1
LARGEST = 1 << 50  # bytes of a layer
# What a hit says again. Other facts (of URLs that were fetched, say) stay in the store that knows them.
FACTS: Mapping[str, "re.Pattern[str]"] = {
    "created": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII),
    "effect": re.compile(r"[ -~]{0,200}"),
    "made": re.compile(r"\d{1,12}", re.ASCII),
    "after": re.compile(r"[0-9a-f]{64}"),
    "content": re.compile(r"[0-9a-f]{64}"),
    "findings": re.compile(r"[^\x00-\x1f\x7f]{0,100000}"),
}
_KEY = re.compile(r"[0-9a-f]{64}")


def dump(records: Mapping[str, StepRecord]) -> dict[str, Any]:
    """The document, in the order of keys: the same records give the same bytes."""
    return {"version": VERSION, "records": [
        {"key": key, "diff_id": str(record.diff_id) if record.diff_id else None, "size": record.size,
         "facts": dict(record.facts)} for key, record in sorted(records.items())]}


def portable(record: StepRecord) -> bool:
    """Whether it is a step's, and may leave this machine."""
    return record.facts.keys() <= FACTS.keys()


def load(data: bytes | Mapping[str, Any]) -> dict[str, StepRecord]:
    """key → record. Errors: UnsafeArchive when it is no such document at all."""
    what = "build cache"
    if isinstance(data, bytes) and len(data) > LIMIT:
        raise UnsafeArchive(f"cannot read the {what}: it is longer than {LIMIT} bytes")
    found = document.load(data, what) if isinstance(data, bytes) else data
    if document.number(found, "version", what) != VERSION:
        raise UnsafeArchive(f"cannot read the {what}: it is of another version than {VERSION}")
    return dict(_records(document.mappings(found, "records", what)))


def _records(entries: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, StepRecord]]:
    for entry in entries:
        key, size, facts = entry.get("key"), entry.get("size"), entry.get("facts")
        if not isinstance(key, str) or not _KEY.fullmatch(key) or not isinstance(facts, dict):
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST:
            continue
        try:
            diff_id = None if entry.get("diff_id") is None else Digest.parse(str(entry["diff_id"]))
        except InvalidDigest:
            continue
        if diff_id is not None and diff_id.algorithm != "sha256":
            continue
        yield key, StepRecord(diff_id=diff_id, size=size, facts={
            name: value for name, value in facts.items()
            if isinstance(value, str) and name in FACTS and FACTS[name].fullmatch(value)})
