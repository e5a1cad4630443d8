"""Somebody with one small image in their store, for all tests of a module: `box` in each id mode, `plain` in fakeroot.

Containers stay until the module ends, so each test gives its own names.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests import images, provision
from tests.conftest import Person, _person

USERS = {"fakeroot": provision.PLAIN_USER, "subuid": provision.SUBUID_USER, "host": "root"}


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """image: its id. Every call is a real `iechor` of that user."""

    person: Person
    image: str

    def iechor(self, *args: str | Path, code: int | None = 0, **kwargs: Any) -> "CompletedProcess[str]":
        return self.person.iechor(*args, code=code, **kwargs)

    def run(self, options: str, *command: str, code: int | None = 0, **kwargs: Any) -> "CompletedProcess[str]":
        """`iechor run OPTIONS image COMMAND`; options are split at blanks."""
        return self.iechor("run", *options.split(), self.image, *command, code=code, **kwargs)

    def out(self, options: str, *command: str, **kwargs: Any) -> str:
        """Standard output of a run with --rm."""
        return self.run(f"--rm {options}", *command, **kwargs).stdout

    def detached(self, name: str, script: str, options: str = "") -> str:
        """A shell script that runs in a container with this name; its id."""
        return self.run(f"-d --name {name} {options}", "sh", "-c", script).stdout.strip()

    def containers(self) -> set[str]:
        """The names of all containers, ended ones too."""
        return set(self.iechor("ps", "-a", "--format", "{{.Names}}").stdout.split())


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true value; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


def _box(mode: str, layout: Path) -> Iterator[Box]:
    for person in _person(USERS[mode], mode):
        loaded = person.iechor("load", "-i", layout).stdout
        yield Box(person, loaded.split()[-1])


@pytest.fixture(scope="session")
def layout(shared: Path) -> Path:
    folder = shared / "running"  # made once, though each module that imports this fixture has its own of it
    return folder if folder.exists() else images.busybox(folder)


@pytest.fixture(scope="module", params=list(USERS))
def box(request: pytest.FixtureRequest, layout: Path) -> Iterator[Box]:
    yield from _box(request.param, layout)


@pytest.fixture(scope="module")
def plain(layout: Path) -> Iterator[Box]:
    yield from _box("fakeroot", layout)
