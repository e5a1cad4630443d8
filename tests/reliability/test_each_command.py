"""Each command under each hardship: a clear error with its exit code, or it works; and nothing half-written.

What comes at an instant, or with a number of bytes, comes once in CI, and at many with -m soak.
"""

import os
import shutil
import subprocess
import time

import pytest

from tests.reliability.operations import COUNT, OPERATIONS, Bench, Operation, noted

RUN = Operation(name="run", argv=("run", "--rm", "app:1", "cat", "/app"))
EACH = (*OPERATIONS, RUN)
NEEDS_NO_WRITING = ("save", "run")

INSTANT, INSTANTS = 0.5, [at / 20 for at in range(20)]  # share of the time that the command takes
KILOBYTES, SIZES = 60_000, range(40_000, 110_000, 4_000)  # Python needs some 40,000 to begin, a build 100,000

each_command = pytest.mark.parametrize("operation", EACH, ids=lambda operation: operation.name)


def limited(bench: Bench, limit: str, operation: Operation) -> "subprocess.CompletedProcess[str]":
    return bench.person.run("sh", "-c", f'ulimit {limit} && exec "$@"', "sh",
                            *bench.person.command(*bench.words(operation)))


def clear(code: int, said: str, *causes: str) -> None:
    """Not a crash, not a bug: the cause, and a remedy."""
    assert code > 0, said
    assert "Traceback" not in said and "this is a bug" not in said, said
    assert any(cause in said.lower() for cause in causes) and "hint:" in said, said


@each_command
def test_in_a_store_that_can_only_be_read(bench: Bench, operation: Operation) -> None:
    bench.reset()
    subprocess.run(["mount", "--bind", bench.person.store, bench.person.store], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", bench.person.store], check=True)
        done = bench.person.iechor(*bench.words(operation), code=None)
    finally:
        subprocess.run(["umount", "-l", bench.person.store], check=True)
    if operation.name in NEEDS_NO_WRITING:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 14
        clear(done.returncode, done.stderr, "read-only")
    bench.holds(operation, "read-only")


@each_command
def test_the_store_is_removed_meanwhile(bench: Bench, operation: Operation) -> None:
    remove_meanwhile(bench, operation, INSTANT)


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@each_command
def test_the_store_is_removed_at_many_instants(bench: Bench, operation: Operation) -> None:
    found: list[str] = []
    for share in INSTANTS:
        with noted(found):
            remove_meanwhile(bench, operation, share)
    assert not found, "\n".join(found)


def remove_meanwhile(bench: Bench, operation: Operation, share: float) -> None:
    bench.reset()
    began = time.monotonic()
    bench.run(operation, mode=COUNT)
    instant = (time.monotonic() - began) * share
    bench.reset()
    with bench.struck(operation, mode=COUNT) as (process, _):
        try:
            process.wait(instant)
        except subprocess.TimeoutExpired:
            os.rename(bench.person.store, bench.person.home / "removed")
            shutil.rmtree(bench.person.home / "removed", ignore_errors=True)
        out, err = process.communicate(timeout=120)
    if process.returncode:
        clear(process.returncode, out + err, "no such file", "in the store", "no such image")
    shutil.rmtree(bench.person.home / "removed", ignore_errors=True)
    bench.reset()
    bench.holds(operation, f"removed after {share} of its time")


@each_command
def test_with_a_clock_that_was_set_back(bench: Bench, operation: Operation) -> None:
    """All that is there was written the day after tomorrow."""
    bench.reset()
    later = time.time() + 2 * 24 * 3600
    for folder in (bench.person.store, bench.person.scratch, bench.person.home / "context"):
        for path in folder.rglob("*"):
            os.utime(path, (later, later), follow_symlinks=False)
    bench.person.iechor(*bench.words(operation))
    bench.holds(operation, "clock set back")


@each_command
def test_with_few_descriptors(bench: Bench, operation: Operation) -> None:
    bench.reset()
    done = limited(bench, "-n 64", operation)
    assert done.returncode == 0, done.stderr
    bench.holds(operation, "64 descriptors")


@pytest.mark.lean
@each_command
def test_with_little_memory(bench: Bench, operation: Operation) -> None:
    limit_memory(bench, operation, KILOBYTES)


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@each_command
def test_with_many_sizes_of_little_memory(bench: Bench, operation: Operation) -> None:
    found: list[str] = []
    for kilobytes in SIZES:
        with noted(found):
            limit_memory(bench, operation, kilobytes)
    assert not found, "\n".join(found)


def limit_memory(bench: Bench, operation: Operation, kilobytes: int) -> None:
    bench.reset()
    done = limited(bench, f"-v {kilobytes}", operation)
    assert done.returncode >= 0, f"{done.returncode} {done.stderr}"
    if done.returncode and "iechor:" in done.stderr:  # else Python itself could not begin
        clear(done.returncode, done.stderr, "memory")
    bench.holds(operation, f"with {kilobytes} KiB")
