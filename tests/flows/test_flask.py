"""The main job: the documentation's example, built from a real base by each kind of user; cached, changed, saved.

How it answers and ends in both forms of CMD: test_run_example.py.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT, Person
from tests.flows.running import until
from tests.flows.test_run_network import fetch, free_port
from tests.registry_server import Registry

PAGE = "Hello World!"


def example(person: Person, folder: str, change: tuple[str, str] = ("", "")) -> Path:
    """A copy of examples/flask of their own."""
    for path in sorted((ROOT / "examples" / "flask").iterdir()):
        person.write(f"{folder}/{path.name}", path.read_text().replace(*change) if change[0] else path.read_text())
    return person.home / folder


def build(person: Person, folder: Path, *more: str) -> tuple[str, float]:
    """(what was shown, seconds)."""
    begin = time.monotonic()
    done = person.iechor("build", "--progress=plain", "-t", "test:latest", *more, folder, timeout=900)
    return done.stderr, time.monotonic() - begin


def cached(shown: str) -> list[str]:
    """The instructions that were found in the cache."""
    steps = dict(re.findall(r"^#(\d+) \[\d+/\d+\] (\w+)", shown, re.MULTILINE))
    return [steps[number] for number in re.findall(r"^#(\d+) CACHED", shown, re.MULTILINE)]


@contextmanager
def served(person: Person, *command: str) -> Iterator["tuple[subprocess.Popen[str], int]"]:
    """`iechor run -p` in the foreground until the page is there; (process, port)."""
    port = free_port()
    process = person.start(*person.command("run", "--rm", "-p", f"127.0.0.1:{port}:8000", "test:latest", *command),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None or page(port), 30)
        assert process.poll() is None, process.communicate()[0]
        yield process, port
    finally:
        process.kill()
        process.communicate()


def page(port: int) -> str:
    return fetch("127.0.0.1", port)


@pytest.mark.timeout(1800)
def test_the_example(plain_user: Person, registry: Registry, ubuntu: str) -> None:
    """As the user without a subordinate range, from the registry, start to end."""
    plain_user.mirror(registry)
    folder = example(plain_user, "flask")

    shown, _ = build(plain_user, folder)
    assert cached(shown) == []

    shown, seconds = build(plain_user, folder)
    assert cached(shown) == ["RUN", "RUN", "COPY"]
    assert seconds < 1.5, "everything was cached: it has to take well under a second, start of Python included"

    with served(plain_user) as (process, port):
        assert page(port) == PAGE
        [name] = plain_user.iechor("ps", "--format", "{{.Names}}").stdout.split()
        plain_user.iechor("stop", "-t", "2", name)
        assert process.wait(15) == 137, "it has no handler for SIGTERM: stop kills it in the end"
    assert plain_user.iechor("ps", "-aq").stdout == ""

    example(plain_user, "flask", ("Hello World!", "Hello again!"))
    shown, _ = build(plain_user, folder)
    assert cached(shown) == ["RUN", "RUN"], "a changed hello.py runs again from its COPY on"
    assert "hello.py changed" in shown
    with served(plain_user) as (_, port):
        assert page(port) == "Hello again!"

    saved = plain_user.home / "saved.tar"
    plain_user.iechor("save", "-o", saved, "test:latest")
    shutil.rmtree(plain_user.store)
    plain_user.iechor("load", "-i", saved)
    with served(plain_user) as (_, port):
        assert page(port) == "Hello again!"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("who", ["subuid_user", "root_user"])
def test_the_example_in_the_other_id_modes(who: str, request: pytest.FixtureRequest, registry: Registry,
                                           ubuntu: str) -> None:
    person: Person = request.getfixturevalue(who)
    person.mirror(registry)
    build(person, example(person, "flask"))
    with served(person) as (_, port):
        assert page(port) == PAGE
