"""The records of a build cache, as an enemy writes them: no traceback, no record that is not as we write it."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootless_builder.caching.wire import FACTS, INLINE, LIMIT, dump, load
from rootless_builder.errors import UnsafeArchive
from rootless_builder.oci.digest import Digest
from rootless_builder.store.buildcache import StepRecord

KEY = "a" * 64
GOOD = {"key": KEY, "diff_id": f"sha256:{'b' * 64}", "size": 1024, "facts": {"created": "2024-01-01T00:00:00Z"}}
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                      lambda inner: (st.lists(inner, max_size=3)
                                     | st.dictionaries(st.text(max_size=5), inner, max_size=3)), max_leaves=6)
NAMES = ("key", "diff_id", "size", "facts", "x")


def loaded(*records: Any, version: Any = 1) -> dict[str, StepRecord]:
    return load(json.dumps({"version": version, "records": list(records)}).encode())


def test_what_was_written_is_read_again() -> None:
    record = StepRecord(diff_id=Digest("sha256", "b" * 64), size=7, facts={"effect": "+1 files", "made": "1700000000"})
    assert load(json.dumps(dump({KEY: record})).encode()) == {KEY: record}
    assert load({**dump({KEY: record})}) == {KEY: record}, "inline, from a config"
    assert INLINE.startswith("iechor.")


@pytest.mark.parametrize("wrong", [
    {"key": "../../etc/passwd"}, {"key": KEY.upper()}, {"key": 1}, {"diff_id": "sha256:../x"}, {"diff_id": "md5:1"},
    {"diff_id": f"sha512:{'b' * 128}"}, {"size": -1}, {"size": 1 << 60}, {"size": True}, {"size": 1.5}, {"facts": []}])
def test_a_record_that_is_not_ours_is_left_out(wrong: dict[str, Any]) -> None:
    other = {**GOOD, "key": "c" * 64}
    assert loaded({**GOOD, **wrong}, other).keys() == {"c" * 64}


@pytest.mark.parametrize("facts", [
    {"created": "yesterday"}, {"effect": "\x1b[31mred"}, {"after": "zz"}, {"made": "-1"}, {"etag": "x"}, {"created": 1},
    {"findings": "a\nb"}, {"content": KEY + "\n"}])
def test_a_fact_that_is_not_ours_is_left_out(facts: dict[str, Any]) -> None:
    assert loaded({**GOOD, "facts": facts})[KEY].facts == {}


@pytest.mark.parametrize("data", [
    b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"version":1,"records":{}}', b'{"version":"1","records":[]}',
    b'{"version":1,"records":["a"]}', b" " * (LIMIT + 1)])
def test_what_is_no_document_of_records_is_refused(data: bytes) -> None:
    with pytest.raises(UnsafeArchive):
        load(data)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.fixed_dictionaries({}, optional={name: VALUES for name in NAMES})))
def test_any_json_is_read_or_refused(records: list[dict[str, Any]]) -> None:
    for record in load({"version": 1, "records": records}).values():
        assert record.size >= 0 and record.facts.keys() <= FACTS.keys()
