"""The arithmetic of bench/RESULTS.md: what a ratio is of, and what a round that failed is told as."""

import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import results
from bench.contenders.base import Contender
from bench.floors import Floors
from bench.measure import Times
from bench.runs import Trues
from bench.workloads import Shot, Workload


class Peer(Contender):
    """Whose command is `line`."""

    def __init__(self, name: str, line: str) -> None:
        super().__init__(Path("/"), "root")
        self.name, self.peer, self.line = name, name != "iechor", line


class Small(Workload):
    key, title = "small", "a command"

    def shots(self, who: Contender):  # type: ignore[no-untyped-def]
        assert isinstance(who, Peer)
        yield Shot("W0", [sys.executable, "-c", who.line])
        yield Shot("W0b", [sys.executable, "-c", "pass"])


def times(*wall: float) -> Times:
    return Times(wall=list(wall), cpu=list(wall), memory=[1000] * len(wall))


def test_an_aim_is_a_ratio_of_medians() -> None:
    table = {("W2", "iechor"): times(0.9, 0.7, 5.0), ("W2o", "iechor"): times(0.3, 0.3, 0.3),
             ("W2", "floor"): times(0.1, 0.1, 0.1), ("W2", "docker BuildKit"): times(3.0)}
    peers = [Peer("iechor", ""), Peer("docker BuildKit", "")]
    rows = results.of_aims(Trues(Path("/"), 1.0, Floors(Path("/"), [])), table, peers)
    assert [(row.text.partition(":")[0], row.most, round(row.value, 3)) for row in rows] == [
        ("W2 / docker BuildKit", 0.4, 0.3), ("W2 less W2o / floor", 1.0, 1.5)]
    assert results.row(rows[0]).endswith("| yes |") and results.row(rows[1]).endswith("| **no** |")


def test_a_peer_that_fails_is_told_and_does_not_stop_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    table: dict[tuple[str, str], Times] = {}
    workload = Small(Path("/"), 1.0, Floors(Path("/"), []))
    bad, good = Peer("bad", "print('said first', flush=True); raise SystemExit('out of luck')"), Peer("good", "pass")
    for _ in range(2):
        for who in (bad, good):
            bench.series(workload, who, table)
    assert table["W0", "bad"].error == "out of luck" and ("W0b", "bad") not in table
    assert [len(table[shot, "good"].wall) for shot in ("W0", "W0b")] == [2, 2]
    text = "\n".join(results.of_workload(workload, table, ["bad", "good"]))
    assert "- bad, W0: out of luck" in text and text.count("| good |") == 2 and "| bad |" not in text
    assert "out of luck" in capfd.readouterr().err


def test_a_slow_peer_is_measured_once() -> None:
    table = {("W0", "slow"): times(61.0), ("W0", "quick"): times(59.0)}
    assert not bench.patient(table, Peer("slow", ""), 60.0)
    assert bench.patient(table, Peer("quick", ""), 60.0)


def test_memory_is_that_of_the_whole_tree() -> None:
    table: dict[tuple[str, str], Times] = {}
    child = "b = bytearray(60_000_000); import time; time.sleep(0.5)"
    line = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    bench.series(Small(Path("/"), 1.0, Floors(Path("/"), [])), Peer("iechor", line), table)
    assert table["W0", "iechor"].memory[0] > 60e6
