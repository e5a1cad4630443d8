"""Modes of what iechor leaves, whatever the umask; images that the umask does not reach; credentials for their owner
alone; and every signal a clean end with the exit code that shells know.
"""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import images
from tests.conftest import TMP, Person
from tests.registry_server import Registry, serve_registry
from tests.same import layers

TEXT = """FROM busybox
COPY --chmod=640 file /copied
COPY file /as-it-is
RUN umask; echo made >/made; mkdir /folder
WORKDIR /work
"""


def with_umask(person: Person, umask: str, *words: str | Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
    done = person.run("sh", "-c", 'umask "$0" && exec "$@"', umask, *person.command(*words))
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_umask_opens_nothing_and_changes_no_image(plain_user: Person, registry: Registry, busybox: str,
                                                      umask: str) -> None:
    person = plain_user
    person.mirror(registry)
    person.write("c/file", "text")
    context = person.write("c/iEchorfile", TEXT).parent
    options = ("build", "--source-date-epoch=1000000000", "--no-cache", "-t")
    person.iechor(*options, "usual", context)
    with_umask(person, umask, *options, "other", context)
    assert [layer.digest for layer in layers(person, "usual")] == [layer.digest for layer in layers(person, "other")]
    for place in ("fresh-store", "fresh-scratch"):
        assert not (person.home / place).exists()
    with_umask(person, umask, "--store", person.home / "fresh-store", "--scratch", person.home / "fresh-scratch",
               *options, "x", context)
    for place in (person.store, person.scratch, person.home / "fresh-store", person.home / "fresh-scratch"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700, place


@pytest.mark.parametrize("umask", ["000", "022"])
def test_credentials_are_their_owners_alone(plain_user: Person, tmp_path: Path, umask: str) -> None:
    """Also where the file was there with another mode. And a password is on no command line, of ours or a helper's."""
    with serve_registry(tmp_path / "registry", users={"me": "pass-word-1"}) as registry:
        old = plain_user.write(".config/iechor/auth.json", "{}", mode=0o664)
        script = 'umask "$0"; printf %s pass-word-1 | exec "$@"'
        done = plain_user.run("sh", "-c", script, umask, *plain_user.command("login", "-u", "me", "--password-stdin",
                                                                              registry.host))
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE(old.stat().st_mode) == 0o600
        assert "pass-word-1" not in done.stdout + done.stderr


@pytest.fixture
def stalled(plain_user: Person, tmp_path: Path) -> Iterator[str]:
    """HOST:PORT of a registry that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def loaded(plain_user: Person) -> Iterator[str]:
    """An image of the plain user's store."""
    folder = TMP / f"iechor-test-layout-{os.urandom(4).hex()}"
    image = plain_user.iechor("load", "-i", images.busybox(folder)).stdout.split()[-1]
    plain_user.iechor("tag", image, "base")
    yield "base"
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def commands(person: Person, stalled: str, name: str) -> list[str | Path]:
    """One that lasts until somebody ends it."""
    if name == "build":
        return ["build", "--progress=plain", person.write("c/iEchorfile", "FROM base\nRUN sleep 1000\n").parent]
    return {"save": ["save", "-o", "-", "base"], "pull": ["pull", f"{stalled}/x"],
            "push": ["push", "base", f"{stalled}/x"], "run": ["run", "--rm", "--init", "base", "sleep", "1000"]}[name]


def busy(process: "subprocess.Popen[str]", name: str) -> bool:
    """Whether it does what it will do for ever: waits for the registry, the reader or the command."""
    found = psutil.Process(process.pid)
    if name in ("pull", "push"):
        return any(connection.status == psutil.CONN_ESTABLISHED for connection in found.net_connections())
    if name == "save":
        return found.status() == psutil.STATUS_SLEEPING and b"pipe" in Path(f"/proc/{process.pid}/wchan").read_bytes()
    return any(child.cmdline()[:2] == ["sleep", "1000"] for child in found.children(recursive=True))


INT, TERM, HUP = (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)


@pytest.mark.parametrize(("name", "number", "code"), [
    ("build", *INT), ("build", *HUP), ("pull", *TERM), ("pull", *HUP), ("push", *INT), ("push", *TERM), ("save", *INT),
    ("save", *TERM), ("run", *TERM), ("run", *HUP)])
def test_a_signal_ends_a_command_cleanly(plain_user: Person, stalled: str, loaded: str, name: str,
                                         number: signal.Signals, code: int) -> None:
    process = plain_user.start(*plain_user.command(*commands(plain_user, stalled, name)), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.Error, OSError):
            if busy(process, name):
                break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    told = process.communicate(timeout=20)[1]
    assert process.returncode == code, told
    assert "Traceback" not in told and "bug" not in told
    assert not list((plain_user.store / "leases").iterdir())
    assert [path.name for path in (plain_user.store / "tmp").iterdir()] == []
    assert plain_user.processes() == []


@pytest.mark.parametrize("name", ["build", "pull", "save", "run", "images"])
def test_a_closed_pipe_is_141_and_says_nothing(plain_user: Person, registry: Registry, busybox: str, loaded: str,
                                               name: str) -> None:
    """What reads us has gone, as in `iechor images | head -0`."""
    plain_user.mirror(registry)
    context = plain_user.write("c/iEchorfile", "FROM base\nRUN true\n").parent
    words = {"build": ["build", "-q", context], "pull": ["pull", "busybox"], "save": ["save", "-o", "-", "base"],
             "run": ["run", "--rm", "--init", "base", "yes"], "images": ["images"]}[name]
    process = plain_user.start(*plain_user.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait(30) == 141, told
    assert "Traceback" not in told and "cannot" not in told
    assert not list((plain_user.store / "leases").iterdir()) and plain_user.processes() == []
