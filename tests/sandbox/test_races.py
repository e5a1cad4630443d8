"""Two processes at once: what they leave is what one order of both leaves, and no file inherits another's owner."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Person
from tests.sandbox.fakeroot_lab import Lab, build_programs
from tests.sandbox.test_view import add_programs

SOURCE = Path(__file__).with_name("races.c")
WORDS = re.findall(r'^    {"([a-z-]+)"', SOURCE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def programs(shared: Path) -> Iterator[Path]:
    folder = build_programs(shared / "race-programs")
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", folder / "races", SOURCE], check=True)
    yield folder


@pytest.fixture
def lab(plain_user: Person, programs: Path) -> Lab:
    lab = Lab(plain_user, programs)
    add_programs(lab, [programs / "races"])
    return lab


@pytest.fixture
def mounted(lab: Lab) -> Path:
    """A folder of the host's, to be seen in the image: another file system than the image's overlay."""
    folder = lab.person.home / "mounted"
    folder.mkdir(mode=0o777)
    os.chown(folder, lab.person.uid, lab.person.gid)
    folder.chmod(0o1777)
    return folder


def wrong(lab: Lab, word: str, rounds: int, folder: str = "/tmp", **fields: Any) -> str:
    ran = lab.run("races", word, str(rounds), folder, **fields)
    return ran.out + ran.err


@pytest.mark.parametrize("word", WORDS)
def test_two_at_once(lab: Lab, mounted: Path, word: str) -> None:
    assert wrong(lab, word, 100) == "0 wrong\n"
    assert wrong(lab, word, 100, "/m", binds={"/m": str(mounted)}) == "0 wrong\n"


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("word", WORDS)
def test_two_at_once_and_many_times(lab: Lab, mounted: Path, word: str) -> None:
    """With the lent view and without; in an overlay, in a tree that is checked out, in what is mounted."""
    for fields in ({}, {"view": False}, {"overlay": False}, {"overlay": False, "view": False}):
        assert wrong(lab, word, 2000, **fields) == "0 wrong\n"
    assert wrong(lab, word, 2000, "/m", binds={"/m": str(mounted)}) == "0 wrong\n"
