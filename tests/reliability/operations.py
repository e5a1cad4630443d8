"""The commands that change a store, each from the same store: what is typed, and what has to hold whatever befell it.

    before   base:1 (busybox), app:1 (built on it, so the cache knows its steps), old:1 (another image), two images
             without a name, a registry with `library/other:1`, an archive `given.tar` with `given:1`
    after    every image that was there is there, but for what the command was told to remove; the store is sound;
             the command can be given again; nothing of the first try is left
"""

import ctypes
import dataclasses
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import images
from tests.conftest import Person
from tests.registry_server import Registry, tiny_layout

FILE = """FROM base:1
COPY one two/ /copied/
RUN mkdir /made && head -c 300000 /dev/urandom > /made/random && chown -R 1000:44 /made && ln -s random /made/link
RUN rm /etc/group && echo x > /made/more
LABEL a=b
COPY one /last
"""
NAMES = ("base:1", "app:1", "old:1")
NAMED = ("images", "--format", "{{.Repository}}:{{.Tag}}")
CHECK = ("check", "--format", "json")
APPLETS = ("cat", "chown", "echo", "grep", "head", "ln", "mkdir", "rm", "sh", "test", "true")  # each is a call
SERVER = """
import contextlib, importlib, io, json, os, pkgutil, sys
import rootless_builder
from rootless_builder.cli.main import main
for found in pkgutil.walk_packages(rootless_builder.__path__, "rootless_builder."):
    if not found.name.endswith(("__main__", "._view")):  # neither is a module to import
        importlib.import_module(found.name)
answers = open(os.dup(1), "w")
os.dup2(2, 1)  # what a step says
print(file=answers, flush=True)
for line in sys.stdin:
    if os.fork():
        os.wait()
        continue
    done = []
    for words in json.loads(line):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = main(words)
        done.append((code, out.getvalue(), err.getvalue()))
    print(json.dumps(done), file=answers, flush=True)
    os._exit(0)
"""
COUNT, KILL_SELF, KILL_GROUP, FAIL_ONCE, FAIL_ON = range(5)
Record = Callable[[str, object], None]  # pytest's record_property: what tests/soak.py adds up


@contextmanager
def noted(found: list[str]) -> Iterator[None]:
    """What does not hold is told at the end, with all else that does not: a trial of hours goes on."""
    try:
        yield
    except (AssertionError, subprocess.TimeoutExpired) as error:
        found.append(str(error))


class Plan(ctypes.Structure):
    """As faults.c has it."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("count", "at", "mode", "error", "hit")]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """argv: after `iechor`; {registry} and {n} are filled in. gone: names that the command may have taken away."""

    name: str
    argv: tuple[str, ...]
    gone: tuple[str, ...] = ()
    again: tuple[int, ...] = (0,)  # exit codes of the second try


OPERATIONS = (
    Operation(name="build", argv=("build", "-t", "new:1", "context")),
    Operation(name="rebuild", argv=("build", "-t", "new:1", "app")),  # wholly cached
    Operation(name="pull", argv=("pull", "other:1")),
    Operation(name="push", argv=("push", "app:1", "{registry}/pushed/{n}:1")),
    Operation(name="save", argv=("save", "-o", "saved.tar", "--format", "oci-archive", "app:1")),
    Operation(name="load", argv=("load", "-i", "given.tar")),
    Operation(name="prune", argv=("prune", "--cache")),
    Operation(name="rmi", argv=("rmi", "old:1"), gone=("old:1",), again=(0, 7)),
)
PARTS = {"build": 8, "prune": 2}  # tests that try all calls of an operation: each takes minutes
every_call = pytest.mark.parametrize(("operation", "part"), [
    pytest.param(operation, slice(number, None, parts), id=f"{operation.name}-{number}")
    for operation in OPERATIONS for parts in (PARTS.get(operation.name, 1),) for number in range(parts)])


class Bench:
    """A plain user, the store that every try begins with, and the preloaded library that strikes."""

    def __init__(self, person: Person, registry: Registry, library: Path, template: Path) -> None:
        self.person = person
        self.registry = registry
        self._library = library
        self._template = template
        self._number = 0
        # Who looks at the store afterwards: a process for each look, but Python is started and fed only once.
        self._looks = person.start(sys.executable, "-c", SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._looks.stdout is not None and self._looks.stdout.readline() == "\n"

    def fill(self, work: Path) -> None:
        """The store of `before`, kept in the template."""
        user = self.person
        layout = images.busybox(work / "box", APPLETS)
        other = tiny_layout(work / "other", [{"hello": "hello\n", "random": os.urandom(400_000)}, {"more": "m"}])
        self.registry.fill(other, "library/other:1")
        user.mirror(self.registry)
        user.write("context/iEchorfile", FILE)
        user.write("context/one", "1" * 5000)
        user.write("context/two/deep/file", "2")
        user.write("old/iEchorfile", "FROM base:1\nRUN echo old > /old\nCOPY hello /\n")
        user.write("old/hello", "hello")
        user.iechor("load", "-i", layout)
        image_id = user.iechor("images", "-q").stdout.strip()
        user.iechor("tag", image_id, "base:1")
        user.iechor("build", "-t", "old:1", "old")
        user.write("old/hello", "changed")
        for _ in range(2):  # images that prune takes
            user.iechor("build", "--no-cache", "old")
        user.write("app/iEchorfile", "FROM base:1\nRUN echo app > /app\nCOPY iEchorfile /\n")
        user.iechor("build", "-t", "given:1", "app")
        user.iechor("save", "-o", "given.tar", "--format", "docker-archive", "given:1")
        user.iechor("rmi", "given:1")
        user.iechor("build", "-t", "app:1", "app")
        user.iechor("images")  # index.json is surely younger than the names
        for folder in ("store", "scratch"):
            os.rename(user.home / folder, self._template / folder)

    def reset(self) -> None:
        self._number += 1
        for folder in ("store", "scratch"):
            shutil.rmtree(self.person.home / folder, ignore_errors=True)
            subprocess.run(["cp", "-a", "--reflink=auto", self._template / folder, self.person.home / folder],
                           check=True)
        (self.person.home / "saved.tar").unlink(missing_ok=True)

    def words(self, operation: Operation) -> list[str]:
        return [word.format(registry=self.registry.host, n=self._number) for word in operation.argv]

    @contextmanager
    def struck(self, operation: Operation, **plan: int) -> Iterator[tuple["subprocess.Popen[str]", Plan]]:
        """The command, started with the plan in place; not waited for."""
        path = self.person.write("plan", bytes(Plan(**plan)))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
            process = self.person.start(
                *self.person.command(*self.words(operation)),
                env={"LD_PRELOAD": str(self._library), "FAULTS": str(path)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
            try:
                yield process, Plan.from_buffer_copy(shared)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def run(self, operation: Operation, **plan: int) -> tuple[int, str, Plan]:
        """(exit code, what it said, the plan as it ended) of the command under the plan."""
        with self.struck(operation, **plan) as (process, _):
            out, err = process.communicate(timeout=120)
        return process.returncode, out + err, Plan.from_buffer_copy((self.person.home / "plan").read_bytes())

    def calls_of(self, operation: Operation, error: int = 0) -> range:
        """The numbers of the calls that write; of those alone that can fail with this error, where one is named."""
        self.reset()
        code, said, plan = self.run(operation, mode=COUNT, error=error)
        assert code == 0, said
        return range(1, plan.count + 1)

    def holds(self, operation: Operation, after: str) -> None:
        """Everything promised, after whatever happened; `after` says what did."""
        user = self.person
        self._whole_output(after)
        words = self.words(operation)
        (_, names, _), (_, sound, _), (code, _, said), (_, names2, _), (_, sound2, _) = self.commands(
            NAMED, CHECK, words, NAMED, CHECK)
        assert code in operation.again, f"{after}: the next {operation.name}: {code} {said}"
        for listed, told, when in ((names, sound, after), (names2, sound2, f"{after}, and again")):
            assert set(listed.split()) >= set(NAMES) - set(operation.gone), f"{when}: an image is gone: {listed}"
            assert json.loads(told)["Sound"], f"{when}: {json.loads(told)['Damages']}"
        self._whole_output(after)
        assert self.left() == [], f"{after}, and again: left: {self.left()}"
        living = [process.cmdline() for process in self.living()]
        assert not living, f"{after}: a process is left: {living}"
        assert str(user.home) not in Path("/proc/self/mountinfo").read_text(), f"{after}: a mount is left"

    def commands(self, *commands: Sequence[str]) -> list[tuple[int, str, str]]:
        """(code, stdout, stderr) of several commands, in one process of the user."""
        assert self._looks.stdin is not None and self._looks.stdout is not None
        print(json.dumps(commands), file=self._looks.stdin, flush=True)
        found: list[tuple[int, str, str]] = json.loads(self._looks.stdout.readline())
        return found

    def close(self) -> None:
        self._looks.communicate()

    def left(self) -> list[str]:
        """Files that only a killed command can have left."""
        own = [folder for folder in self.person.scratch.glob("*.1/*") if folder.name in ("run", "tmp", "gone")]
        places = [*own, self.person.store / "tmp", self.person.store / "leases", self.person.store / "trash",
                  self.person.store / "claims"]
        return [f"{path}: {[str(below.relative_to(path)) for below in path.rglob('*')][:20]}"
                for place in places if place.exists() for path in place.iterdir()]

    def living(self) -> list[Any]:
        """Processes of the user that outlive what they were started for; those that are about to end get a moment."""
        deadline = time.monotonic() + 10
        while (found := self._started()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _started(self) -> list[Any]:
        return [process for process in self.person.processes() if process.pid != self._looks.pid]

    def _whole_output(self, after: str) -> None:
        """What has the name that the user asked for is whole."""
        saved = self.person.home / "saved.tar"
        if saved.exists():
            with tarfile.open(saved) as archive:
                assert "index.json" in archive.getnames(), f"{after}: saved.tar is cut off"
                for member in archive:
                    data = archive.extractfile(member)
                    assert data is None or len(data.read()) == member.size, f"{after}: saved.tar is cut off"
