"""Killed at any moment: no image is lost, nothing half-written is taken for whole, and the next command works.

In CI 100 kills at random instants and a sample of kills at calls that write; with -m soak 1,000 more, and every call.
"""

import os
import random
import signal
import subprocess
import time

import pytest

from tests.reliability.operations import COUNT, KILL_GROUP, KILL_SELF, OPERATIONS, Bench, Operation

IN_CI = 100
SOAK = 1000
EACH = 4  # of the calls that write, in CI

operations = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def lasts(bench: Bench, operation: Operation) -> float:
    """Seconds that the command takes when nobody kills it."""
    bench.reset()
    began = time.monotonic()
    code, said, _ = bench.run(operation, mode=COUNT)
    assert code == 0, said
    return time.monotonic() - began


def kill_at_random(bench: Bench, operation: Operation, times: int, seed: int) -> int:
    """How many were killed before they were done."""
    chance = random.Random(seed)
    longest = lasts(bench, operation)
    killed = 0
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
        bench.holds(operation, f"{operation.name} (seed {seed}, {number}) killed after {instant:.3f} s"
                               f"{' with its group' if group else ''}")
    return killed


def kill_at_calls(bench: Bench, operation: Operation, share: int | None) -> int:
    """Kills at each writing call, or at `share` of them spread over all; how many."""
    bench.reset()
    code, said, plan = bench.run(operation, mode=COUNT)
    assert code == 0, said
    calls = range(1, plan.count + 1)
    chosen = calls if share is None else sorted(random.Random(plan.count).sample(calls, min(share, len(calls))))
    hits = 0
    for at in chosen:
        bench.reset()
        _, _, plan = bench.run(operation, mode=KILL_GROUP if at % 2 else KILL_SELF, at=at)
        hits += plan.hit
        bench.living()
        bench.holds(operation, f"{operation.name} killed at its call {at} of {calls[-1]}")
    return hits


@operations
def test_killed_at_a_random_instant(bench: Bench, operation: Operation) -> None:
    times = -(-IN_CI // len(OPERATIONS))
    assert kill_at_random(bench, operation, times, seed=6) > times // 2


@operations
def test_killed_at_a_call_that_writes(bench: Bench, operation: Operation) -> None:
    assert kill_at_calls(bench, operation, EACH) > 0


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@operations
def test_killed_at_many_random_instants(bench: Bench, operation: Operation) -> None:
    killed = kill_at_random(bench, operation, -(-SOAK // len(OPERATIONS)), seed=int(time.time()))
    print(f"\n{operation.name}: killed {killed} times at random instants")


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@operations
def test_killed_at_every_call_that_writes(bench: Bench, operation: Operation) -> None:
    print(f"\n{operation.name}: killed at {kill_at_calls(bench, operation, None)} calls that write")


def test_a_build_that_is_wholly_cached_sweeps_too(bench: Bench) -> None:
    build = OPERATIONS[0]
    bench.reset()
    code, said, _ = bench.run(build, mode=COUNT)
    assert code == 0, said
    left = bench.person.write("scratch/fakeroot.1/gone/0123456789ab-1-1.ffff/root/file", "of a killed command")
    os.utime(left.parents[1], (1, 1))
    bench.holds(build, "a killed command left its root file system")
