"""Killed at any moment: no image is lost, nothing half-written is taken for whole, and the next command works.

In CI 100 tries at random instants and a sample of kills at calls that write; with -m soak 1,250 more, and every call.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence

import pytest

from tests.reliability.operations import (
    COUNT,
    KILL_GROUP,
    KILL_SELF,
    OPERATIONS,
    Bench,
    Operation,
    Record,
    every_call,
    noted,
)

IN_CI = 100
SOAK = 1250  # tries, of which some four in five are killed before they are done
EACH = 4  # of the calls that write, in CI

operations = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def lasts(bench: Bench, operation: Operation) -> float:
    """Seconds that the command takes when nobody kills it: the least of three, which no other process held up."""
    took = []
    for _ in range(3):
        bench.reset()
        began = time.monotonic()
        code, said, _ = bench.run(operation, mode=COUNT)
        took.append(time.monotonic() - began)
        assert code == 0, said
    return min(took)


def kill_at_random(bench: Bench, operation: Operation, times: int, seed: int) -> int:
    """How many were killed before they were done."""
    chance = random.Random(seed)
    longest = lasts(bench, operation)
    killed = 0
    found: list[str] = []
    for number in range(times):
        bench.reset()
        instant = chance.uniform(0, longest * 1.05)
        group = bool(number % 2)
        with bench.struck(operation, mode=COUNT) as (process, _):
            try:
                process.wait(instant)
            except subprocess.TimeoutExpired:
                killed += 1
                (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
        bench.living()
        with noted(found):
            bench.holds(operation, f"{operation.name} (seed {seed}, {number}) killed after {instant:.3f} s"
                                   f"{' with its group' if group else ''}")
    assert not found, "\n".join(found)
    return killed


def sample(calls: range, share: int) -> list[int]:
    return sorted(random.Random(len(calls)).sample(calls, min(share, len(calls))))


def kill_at_calls(bench: Bench, operation: Operation, calls: Sequence[int]) -> int:
    """Kills at each of these calls that write, the process and its group by turns; how often."""
    hits = 0
    found: list[str] = []
    for at in calls:
        bench.reset()
        with noted(found):
            _, _, plan = bench.run(operation, mode=KILL_GROUP if at % 2 else KILL_SELF, at=at)
            hits += plan.hit
            bench.living()
            bench.holds(operation, f"{operation.name} killed at its call {at}")
    assert not found, "\n".join(found)
    return hits


@operations
def test_killed_at_a_random_instant(bench: Bench, operation: Operation) -> None:
    times = -(-IN_CI // len(OPERATIONS))
    assert kill_at_random(bench, operation, times, seed=6) > times // 2


@operations
def test_killed_at_a_call_that_writes(bench: Bench, operation: Operation) -> None:
    assert kill_at_calls(bench, operation, sample(bench.calls_of(operation), EACH)) > 0


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@operations
def test_killed_at_many_random_instants(bench: Bench, operation: Operation, record_property: Record) -> None:
    record_property("kills", kill_at_random(bench, operation, -(-SOAK // len(OPERATIONS)), seed=int(time.time())))


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@every_call
def test_killed_at_every_call_that_writes(bench: Bench, operation: Operation, part: slice,
                                          record_property: Record) -> None:
    record_property("kills", kill_at_calls(bench, operation, bench.calls_of(operation)[part]))


def test_a_build_that_is_wholly_cached_sweeps_too(bench: Bench) -> None:
    build = OPERATIONS[0]
    bench.reset()
    code, said, _ = bench.run(build, mode=COUNT)
    assert code == 0, said
    left = bench.person.write("scratch/fakeroot.1/gone/0123456789ab-1-1.ffff/root/file", "of a killed command")
    os.utime(left.parents[1], (1, 1))
    bench.holds(build, "a killed command left its root file system")
