"""A disk that is full, over quota or broken at any call: a clear error of its own, and nothing lost or half-written.

The library makes calls fail from the Nth on (a full disk), or the Nth alone (an error that comes and goes). In CI two
of the calls for each error; with -m soak every call with each error, the two kinds by turns: a call that needs room
meets both.
"""

import errno
import random
from collections.abc import Sequence

import pytest

from tests.reliability.operations import FAIL_ON, FAIL_ONCE, OPERATIONS, Bench, Operation, Record, every_call, noted

EACH = 2  # of the calls, for each error, in CI
CODES = {errno.ENOSPC: 13, errno.EDQUOT: 13, errno.EIO: 14}  # docs/exit-codes.md
SAID = {errno.ENOSPC: "no space", errno.EDQUOT: "quota", errno.EIO: "input/output error"}

operations = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
errors = pytest.mark.parametrize("error", CODES, ids=errno.errorcode.get)


def fail(bench: Bench, operation: Operation, error: int, calls: Sequence[int]) -> int:
    """How many of these calls failed by themselves or began it."""
    hits = 0
    found: list[str] = []
    for at in calls:
        mode = FAIL_ON if (at + list(CODES).index(error)) % 2 else FAIL_ONCE
        after = f"{operation.name}, {errno.errorcode[error]} {'from' if mode == FAIL_ON else 'at'} call {at}"
        bench.reset()
        with noted(found):
            code, said, plan = bench.run(operation, mode=mode, at=at, error=error)
            hits += bool(plan.hit)
            tell(code, said, error, after)
            bench.living()
            bench.holds(operation, after)
    assert not found, "\n".join(found)
    return hits


def tell(code: int, said: str, error: int, after: str) -> None:
    """What the user is told: the cause, a remedy, and the exit code of its kind; 0 when it could do without."""
    assert "Traceback" not in said and "this is a bug" not in said, f"{after}: {said}"
    if code == 0:
        return
    assert code == CODES[error], f"{after}: exit code {code}: {said}"
    assert SAID[error] in said.lower(), f"{after}: {said}"
    assert "hint:" in said, f"{after}: {said}"


@operations
@errors
def test_a_disk_that_fails_at_some_call(bench: Bench, operation: Operation, error: int) -> None:
    calls = bench.calls_of(operation, error)
    fail(bench, operation, error, random.Random(error).sample(calls, min(EACH, len(calls))))


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@every_call
@errors
def test_a_disk_that_fails_at_every_call(bench: Bench, operation: Operation, part: slice, error: int,
                                         record_property: Record) -> None:
    calls = bench.calls_of(operation, error)[part]
    record_property("faults", fail(bench, operation, error, calls))


def test_our_disk_that_fails_while_an_archive_is_read_is_not_the_archives(bench: Bench) -> None:
    load = next(one for one in OPERATIONS if one.name == "load")
    bench.reset()
    code, said, _ = bench.run(load, mode=FAIL_ON, at=2, error=errno.EIO)
    assert code, said
    tell(code, said, errno.EIO, "load")
