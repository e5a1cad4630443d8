"""The C code by itself: gcc's analyzer finds nothing in it, its fuzz targets survive seconds (make soak: minutes).

`make -C native check`, its tests under the sanitizers, is run by what they test (test_fakeroot.py, tests/unit/layer).
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
TARGETS = len([*NATIVE.glob("fuzz/fuzz_*.c")])
SOAK_SECONDS = 600  # for each


def make(out: Path, *words: str, timeout: float) -> str:
    done = subprocess.run(["make", "-C", NATIVE, f"OUT={out}", f"PYTHON={sys.executable}", *words], text=True,
                          capture_output=True, timeout=timeout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_the_analyzer_has_nothing_to_say(tmp_path: Path) -> None:
    make(tmp_path, "analyze", timeout=300)


def executions(told: str) -> list[int]:
    return [int(number) for number in re.findall(r"(?:number_of_executed_units: |Done )(\d+)", told)]


@pytest.mark.parametrize("clang", [[], ["CLANG="]], ids=["as it is", "without clang"])
def test_the_fuzz_targets_survive_some_seconds(tmp_path: Path, clang: list[str]) -> None:
    counts = executions(make(tmp_path, "fuzz", "SECONDS=1", *clang, timeout=300))
    assert len(counts) == TARGETS and min(counts) > 100


@pytest.mark.soak
@pytest.mark.timeout(2 * TARGETS * SOAK_SECONDS)
def test_the_fuzz_targets_survive_minutes(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    counts = executions(make(tmp_path, "fuzz", f"SECONDS={SOAK_SECONDS}", timeout=2 * TARGETS * SOAK_SECONDS))
    record_property("executions", sum(counts))
    assert len(counts) == TARGETS and min(counts) > 10_000
