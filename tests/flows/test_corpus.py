"""Hundreds of small build files give what BuildKit makes of them: the same config, history, layers and refusals.

The answers are BuildKit's own, recorded (tests/golden/corpus/README.md); no oracle is needed here. All are built once,
by two processes of the plain user, and then each case is a test of its own.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests import provision
from tests.conftest import Person, _person
from tests.golden.corpus import cases
from tests.golden.corpus.answers import plain, without
from tests.golden.corpus.cases import Case

PROCESSES = 2
LEAST = 800  # so many the corpus is promised to have
CASES = cases.read_all()
pytestmark = pytest.mark.timeout(900)  # the first test waits for all builds
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def answers() -> dict[str, Answer]:
    lines = [line for path in (cases.HERE / "answers").glob("*.jsonl") for line in path.read_text().splitlines()]
    return {one["name"]: one for one in map(json.loads, lines)}


@pytest.fixture(scope="module")
def built() -> Iterator[dict[str, Answer]]:
    """Name → what iechor made of it, or said. The corpus is copied to where the user can read it."""
    for person in _person(provision.PLAIN_USER, "fakeroot"):
        shutil.copytree(cases.HERE, person.home / "tests/golden/corpus",
                        ignore=shutil.ignore_patterns("answers", "__pycache__"))
        yield drive(person)


def drive(person: Person) -> dict[str, Answer]:
    started = []
    for number in range(PROCESSES):
        folder = person.home / f"drive{number}"
        names = [case.name for case in CASES[number::PROCESSES]]
        started.append(person.start(
            *person.command()[:1], "-m", "tests.golden.corpus.driver", folder, *names, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={"IECHOR_HOME": f"{folder}-store", "IECHOR_SCRATCH": f"{folder}-scratch"}))
    found: dict[str, Answer] = {}
    for process in started:
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, err
        found.update({one["name"]: one for one in map(json.loads, out.splitlines())})
    return found


def test_the_corpus_is_as_large_as_promised(answers: dict[str, Answer]) -> None:
    assert len(CASES) >= LEAST
    assert {case.name for case in CASES} == answers.keys(), "tests.golden.corpus.record writes the answers"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def test_case(case: Case, answers: dict[str, Answer], built: dict[str, Answer]) -> None:
    expected, seen = answers[case.name], built[case.name]
    assert "this is a bug" not in seen.get("error", "") and "Traceback" not in seen.get("error", "")
    if case.refuses:
        assert "error" not in expected, "BuildKit refuses it too"
        assert plain(case.refuses) in plain(seen.get("error", "")), seen
    elif case.builds:
        assert "error" in expected, "BuildKit builds it too"
        assert "error" not in seen, seen
    elif "error" in expected:
        assert plain(case.error[0]) in plain(expected["error"])
        assert plain(case.error[1]) in plain(seen.get("error", "")), seen
    else:
        assert without(seen, case.without) == without(expected, case.without)
