"""A disk that is full, over quota or broken at any call: a clear error of its own, and nothing lost or half-written.

The library makes calls fail from the Nth on (a full disk), or the Nth alone (an error that comes and goes). In CI two
of the calls for each error; with -m soak 150, and both kinds.
"""

import errno
import random

import pytest

from tests.reliability.operations import COUNT, FAIL_ON, FAIL_ONCE, OPERATIONS, Bench, Operation

EACH, SOAK = 2, 150  # of the calls, for each error, in CI and in soak
CODES = {errno.ENOSPC: 13, errno.EDQUOT: 13, errno.EIO: 14}  # docs/exit-codes.md
SAID = {errno.ENOSPC: "no space", errno.EDQUOT: "quota", errno.EIO: "input/output error"}

operations = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
errors = pytest.mark.parametrize("error", CODES, ids=errno.errorcode.get)


def fill(bench: Bench, operation: Operation, error: int, share: int) -> int:
    """How many calls failed."""
    bench.reset()
    code, said, plan = bench.run(operation, mode=COUNT)
    assert code == 0, said
    calls = range(1, plan.count + 1)
    chosen = sorted(random.Random(error).sample(calls, min(share, len(calls))))
    hits = 0
    for at in chosen:
        for mode in (FAIL_ON, FAIL_ONCE) if share == SOAK else (FAIL_ON if at % 2 else FAIL_ONCE,):
            bench.reset()
            code, said, plan = bench.run(operation, mode=mode, at=at, error=error)
            after = f"{operation.name}, {errno.errorcode[error]} {'from' if mode == FAIL_ON else 'at'} call {at}"
            hits += plan.hit
            tell(code, said, error, after)
            bench.living()
            bench.holds(operation, after)
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
    fill(bench, operation, error, EACH)


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@operations
@errors
def test_a_disk_that_fails_at_many_calls(bench: Bench, operation: Operation, error: int) -> None:
    print(f"\n{operation.name}: {errno.errorcode[error]} at {fill(bench, operation, error, SOAK)} calls")


def test_our_disk_that_fails_while_an_archive_is_read_is_not_the_archives(bench: Bench) -> None:
    load = next(one for one in OPERATIONS if one.name == "load")
    bench.reset()
    code, said, _ = bench.run(load, mode=FAIL_ON, at=2, error=errno.EIO)
    assert code, said
    tell(code, said, errno.EIO, "load")
