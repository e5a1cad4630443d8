"""A tiny container image on disk, and the three people who run it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rootless_builder.sandbox.mounts import Mount, standard
from rootless_builder.sandbox.spec import SandboxSpec
from tests.conftest import Person, _person
from tests.provision import PLAIN_USER, SUBUID_USER

BUSYBOX = Path("/bin/busybox")
DRIVE = Path(__file__).with_name("drive.py")
PASSWD = """root:x:0:0:root:/root:/bin/sh
app:x:1000:1001::/home/app:/bin/sh
nogroup:x:1005:1005:::/bin/sh
"""
GROUP = """root:x:0:
adm:x:4:root,app
app:x:1001:
extra:x:2000:other,app
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """As drive.py tells it; error: kind, message, hint, status, where there was one."""

    code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    out: str = ""
    err: str = ""
    created: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None


class Box:
    """A root file system with busybox, owned by `person`, who runs things in it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.root = person.home / "root"
        for folder in ("bin", "etc", "tmp", "home/app", "root"):
            (self.root / folder).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.root / "bin/busybox")
        applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in applets:
            if name != "busybox":
                (self.root / "bin" / name).symlink_to("busybox")
        (self.root / "etc/passwd").write_text(PASSWD)
        (self.root / "etc/group").write_text(GROUP)
        (self.root / "tmp").chmod(0o1777)
        person.write("drive.py", DRIVE.read_text())
        self.own(self.root)
        self.env: dict[str, str] = {}  # of those who run things, beside the person's own
        self._driver: subprocess.Popen[str] | None = None

    def own(self, path: Path) -> None:
        """Give what the test made to the person."""
        for folder, names, files in os.walk(path):
            for name in (".", *names, *files):
                os.chown(os.path.join(folder, name), self.person.uid, self.person.gid, follow_symlinks=False)

    def spec(self, *argv: str, mounts: tuple[Mount, ...] | None = None, **fields: Any) -> SandboxSpec:
        fields = {"env": ("PATH=/bin",), "root": str(self.root), **fields}
        return SandboxSpec(mounts=standard() if mounts is None else mounts, argv=argv, **fields)

    def run(self, *argv: str, stdin: str | None = None, timeout: float | None = None, **fields: Any) -> Result:
        """`argv` in a sandbox of the person."""
        if self._driver is None:
            self._driver = self.person.start(sys.executable, self.person.home / "drive.py", env=self.env,
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._driver.stdin is not None and self._driver.stdout is not None
        request = {"spec": self.spec(*argv, **fields).to_json(), "stdin": stdin, "timeout": timeout}
        self._driver.stdin.write(json.dumps(request) + "\n")
        self._driver.stdin.flush()
        return Result(**json.loads(self._driver.stdout.readline()))

    def close(self) -> None:
        """The driver ends, of its own accord."""
        if self._driver is not None:
            self._driver.communicate(timeout=20)
            assert self._driver.returncode == 0
            self._driver = None

    def sh(self, script: str, **fields: Any) -> Result:
        """A shell script, which has to succeed."""
        result = self.run("sh", "-ec", script, **fields)
        assert (result.code, result.error) == (0, None), result
        return result

    def script(self, code: str, **fields: Any) -> subprocess.CompletedProcess[str]:
        """Python of the test's own as the person, after `from drive import *` and `ids = enter()`."""
        return self.person.run(*self.script_command(code), **fields)

    def script_command(self, code: str) -> list[str]:
        head = "import os, signal, sys, time\nfrom drive import *\nids = enter()\n"
        path = self.person.write("script.py", head + code)
        return [sys.executable, str(path)]


PEOPLE = {"plain": (PLAIN_USER, "fakeroot"), "subuid": (SUBUID_USER, "subuid"), "root": ("root", "host")}


@contextmanager
def box_of(who: str) -> Iterator[Box]:
    with contextmanager(_person)(*PEOPLE[who]) as person, closing(Box(person)) as made:
        yield made


@pytest.fixture(scope="module", params=PEOPLE)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """For each of: a plain user with one id, one with a subordinate range, root. Kept for the whole module: a test
    that changes more of the root than /tmp takes `fresh`.
    """
    with box_of(request.param) as made:
        yield made


@pytest.fixture(scope="module", params=["subuid", "root"])
def many_ids(request: pytest.FixtureRequest) -> Iterator[Box]:
    """For those with more than one id."""
    with box_of(request.param) as made:
        yield made


@pytest.fixture(params=PEOPLE)
def fresh(request: pytest.FixtureRequest) -> Iterator[Box]:
    """As `box`, for one test."""
    with box_of(request.param) as made:
        yield made


@pytest.fixture
def plain() -> Iterator[Box]:
    """The plain user's, for one test."""
    with box_of("plain") as made:
        yield made


@pytest.fixture
def processes() -> Iterator[Callable[[str], list[int]]]:
    """The pids on this machine whose command line holds a word."""

    def find(word: str) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    if word.encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    yield find


@pytest.fixture(scope="session")
def show_euid(shared: Path) -> Path:
    """A static program that exits with its effective uid."""
    program = shared / "euid"
    subprocess.run(["gcc", "-static", "-x", "c", "-o", program, "-"], check=True, text=True,
                   input="#include <unistd.h>\nint main(void) { return geteuid() & 255; }\n")
    return program
