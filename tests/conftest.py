"""Who the tests run iechor as, and the machine around them. Nothing skips: what is missing is an error that says so.

    plain_user    one uid, no subordinate range: the cluster user            (fakeroot)
    subuid_user   a subordinate range and newuidmap                          (--userns=subuid)
    root_user     real root                                                  (--userns=host)
    registry      a docker-registry on 127.0.0.1, for the whole session; person.mirror(registry) points docker.io at it
    busybox       that registry's library/busybox:latest, made without any code of ours
    ubuntu        that registry's library/ubuntu:22.04, which is a small Debian
    reading_core  tars are read by the layer core in C, then once more by its twin

The two users, the virtual environment they can read and the Debian base are made by tests/provision.py.
"""

import dataclasses
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import images, provision
from tests.cores import CORES, reading_with
from tests.registry_server import Registry, serve_registry

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = Path(sys.prefix) == provision.VENV  # else the source tree is used, which has to be readable by all then
TMP = Path("/var/tmp")  # plain users can reach it, and it is a disk: /tmp may be a tmpfs


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, nohup's a hang-up, and both hand that on; at a terminal nobody does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A test that calls the command line in this process leaves its handlers to no other test."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody at a shell: a home of their own for one test, with the store and the scratch space in it."""

    name: str
    uid: int
    gid: int
    home: Path
    userns: str

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def scratch(self) -> Path:
        return self.home / "scratch"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a login gives, and nothing of the test's own; the certificates this machine trusts are part of it."""
        kept = {key: value for key, value in os.environ.items() if key in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
        ours = {} if INSTALLED else {"PYTHONPATH": str(ROOT)}
        return {**kept, "HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "LANG": "C.UTF-8",
                "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", **ours,
                "PYTHONDONTWRITEBYTECODE": "1", "IECHOR_HOME": str(self.store), "IECHOR_SCRATCH": str(self.scratch),
                "IECHOR_USERNS": self.userns, **(extra or {})}

    def start(self, *argv: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None,
              **popen: Any) -> "subprocess.Popen[str]":
        """A process of theirs, in a session of its own, text mode."""
        popen.setdefault("start_new_session", True)
        return subprocess.Popen([str(word) for word in argv], user=self.uid, group=self.gid, umask=0o022,
                                extra_groups=[], env=self.environment(env), cwd=cwd or self.home,
                                text=True, errors="replace", **popen)

    def run(self, *argv: str | Path, input: str | None = None, env: Mapping[str, str] | None = None,
            cwd: Path | None = None, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        """Whatever its exit code; both streams captured."""
        stdin = {"stdin": subprocess.PIPE if input is not None else subprocess.DEVNULL}
        process = self.start(*argv, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **stdin)
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def iechor(self, *args: str | Path, code: int | None = 0, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
        """`iechor ARGS`, which has to end with `code` (None: any) and never with a traceback or a confessed bug."""
        done = self.run(*self.command(*args), **kwargs)
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        assert "this is a bug" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, f"{done.returncode} {done.args}\n{done.stdout}\n{done.stderr}"
        return done

    def command(self, *args: str | Path) -> list[str]:
        """The words that run `iechor ARGS`, for start()."""
        return [sys.executable, "-m", "rootless_builder", *map(str, args)]

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> Path:
        """A file of theirs below their home; parent folders are made."""
        target = self.home / path
        for folder in [*reversed(target.relative_to(self.home).parents)][1:]:
            (self.home / folder).mkdir(exist_ok=True)
            os.chown(self.home / folder, self.uid, self.gid)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        target.chmod(mode)
        os.chown(target, self.uid, self.gid)
        return target

    def mirror(self, registry: Registry) -> None:
        """Their docker.io is `registry` from now on."""
        self.write(".config/iechor/config.toml", f'[registries."docker.io"]\nmirrors = ["{registry.host}"]\n')

    def processes(self) -> list[psutil.Process]:
        """What still runs with this home in its environment, whoever it runs as."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def _person(name: str, userns: str) -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.fail("these tests become other users: run them as root")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        pytest.fail(f"there is no user {name}: run `python3 tests/provision.py users` as root")
    home = Path(tempfile.mkdtemp(prefix=f"iechor-test-{userns}-", dir=TMP))
    os.chown(home, account.pw_uid, account.pw_gid)
    home.chmod(0o755)
    person = Person(name=name, uid=account.pw_uid, gid=account.pw_gid, home=home, userns=userns)
    try:
        yield person
    finally:
        for process in person.processes():
            process.kill()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def plain_user() -> Iterator[Person]:
    yield from _person(provision.PLAIN_USER, "fakeroot")


@pytest.fixture
def subuid_user() -> Iterator[Person]:
    yield from _person(provision.SUBUID_USER, "subuid")


@pytest.fixture
def root_user() -> Iterator[Person]:
    yield from _person("root", "host")


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """A folder of the session that every user can read."""
    folder = Path(tempfile.mkdtemp(prefix="iechor-test-shared-", dir=TMP))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def registry(shared: Path) -> Iterator[Registry]:
    with serve_registry(shared / "registry") as server:
        yield server


@pytest.fixture(scope="session")
def busybox(registry: Registry, shared: Path) -> str:
    """The name of a small base image in the registry: busybox, a few users, /tmp."""
    registry.fill(images.busybox(shared / "busybox"), "library/busybox:latest")
    return "busybox"


@pytest.fixture(scope="session")
def ubuntu(registry: Registry) -> str:
    """A real base under the name the documentation uses: today's Debian, see tests/provision.py."""
    registry.fill(images.debian(), "library/ubuntu:22.04")
    return "ubuntu:22.04"


@pytest.fixture(scope="module", params=CORES)
def reading_core(request: pytest.FixtureRequest) -> Iterator[None]:
    with reading_with(CORES[request.param]):
        yield
