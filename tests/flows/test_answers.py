"""A build that has nothing to do says what it said the last time; whatever it looks at is changed, it is built."""

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.test_build import context
from tests.registry_server import Registry

FILE = """\
FROM busybox AS one
COPY a /one
FROM busybox
ARG WHAT=1
ENV A=$WHAT
COPY sub /sub
COPY a l* /
COPY --from=one /one /
LABEL x=y
"""
FLOW = "rootless_builder.build"  # what a build cannot do without
SCRIPT = """\
import sys
sys.argv[0] = "iechor"
from rootless_builder.cli.main import main
code = main()
sys.stdout.flush()
sys.stderr.flush()
print("rootless_builder.build" in sys.modules)
sys.exit(code)
"""
OPENED = """\
import os, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
sys.argv[0] = "iechor"
from rootless_builder.cli.main import main
main()
print(*sorted({os.path.abspath(os.fsdecode(path)) for path in opened if not isinstance(path, int)}), sep="\\n")
"""


class Builder:
    """Somebody who builds the same again and again."""

    def __init__(self, person: Person, place: Path, *words: str) -> None:
        self.person = person
        self.place = place
        self.words = ("build", "--jobs=1", "--progress=plain", "-t", "x", *words, str(place))

    def build(self, env: dict[str, str] | None = None, code: int = 0) -> tuple[bool, str]:
        """(whether it was built and not said again, what was shown)."""
        done = self.person.run(self.person.command()[0], "-c", SCRIPT, *self.words, env=env)
        assert done.returncode == code, done.stderr
        return done.stdout.split()[-1] == "True", done.stderr

    def settle(self) -> str:
        """Until it is said again; what that shows. Built, found in the cache and noted, said again."""
        for _ in range(4):
            built, shown = self.build()
            if not built:
                return shown
        raise AssertionError("it is never said again")

    def image(self) -> str:
        [found] = json.loads(self.person.iechor("inspect", "x").stdout)
        return str(found["Id"])

    def answers(self) -> list[Path]:
        return list((self.person.scratch / "answers").iterdir())


@pytest.fixture
def builder(plain_user: Person, registry: Registry, busybox: str) -> Builder:
    plain_user.mirror(registry)
    plain_user.write("c/sub/deep/b", "b")
    plain_user.write("c/l1", "1")
    (plain_user.home / "c/sub/link").symlink_to("deep/b")
    return Builder(plain_user, context(plain_user, FILE, a="a"))


def test_it_shows_the_same(builder: Builder) -> None:
    said, image = builder.settle(), builder.image()
    for path in builder.answers():
        path.unlink()
    built, shown = builder.build()
    assert built and _timeless(shown) == _timeless(said)
    assert builder.image() == image


@pytest.mark.parametrize("progress", ["plain", "rawjson", "quiet", "tty"])
def test_in_every_way_of_showing(builder: Builder, progress: str) -> None:
    builder.words = ("build", "--jobs=1", f"--progress={progress}", "-t", "x", str(builder.place))
    run = [builder.person.iechor(*builder.words) for _ in range(4)]
    assert _timeless(run[1].stderr) == _timeless(run[2].stderr) == _timeless(run[3].stderr)
    assert run[1].stdout == run[2].stdout == run[3].stdout
    assert len(builder.answers()) == 1


def _timeless(shown: str) -> list[object]:
    """Without what is measured."""
    if shown.startswith("{"):
        lines = [json.loads(line) for line in shown.splitlines()]
        return [{key: value for key, value in line.items() if key not in ("time", "seconds")} for line in lines]
    return sorted(re.sub(r"\d+\.\ds", "", shown).splitlines())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_like_any_build(builder: Builder, number: int, code: int) -> None:
    """It comes while the answer is being said: the pipe is full."""
    builder.settle()
    pipe, end = os.pipe()
    os.set_blocking(end, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(end, b"\n" * 4096):
            pass
    os.set_blocking(end, True)
    process = builder.person.start(*builder.person.command(*builder.words), stderr=end)
    while Path(f"/proc/{process.pid}/syscall").read_text().split()[1:2] != ["0x2"]:  # write(2, …)
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    os.close(end)
    with open(pipe) as shown:
        assert shown.read().endswith("\niechor: interrupted\n")
    assert process.wait(30) == code
    assert builder.build()[0] is False


Change = Callable[[Builder], object]


def _write(name: str, text: str) -> Change:
    return lambda builder: builder.person.write(f"c/{name}", text)


def _records(builder: Builder) -> list[Path]:
    return list((builder.person.store / "cache").glob("??/*"))


CHANGES: dict[str, Change] = {
    "the file": _write("iEchorfile", FILE + "ENV B=c\n"),
    "only a comment of it": _write("iEchorfile", "# x\n" + FILE),
    "content of the same length": _write("sub/deep/b", "c"),
    "a file that a pattern finds": _write("l2", "2"),
    "a new file": _write("sub/new", ""),
    "a new folder": lambda builder: (builder.place / "sub/folder").mkdir(),
    "a file that is gone": lambda builder: (builder.place / "l1").unlink(),
    "a mode": lambda builder: (builder.place / "a").chmod(0o755),
    "a mode of a folder": lambda builder: (builder.place / "sub/deep").chmod(0o700),
    "the mode of the context": lambda builder: builder.place.chmod(0o700),
    "a link's target": lambda builder: ((builder.place / "sub/link").unlink(),
                                        (builder.place / "sub/link").symlink_to("deep")),
    "an ignore file": _write(".iechorignore", "sub/deep\n"),
    "an ignore file of the other name": _write(".dockerignore", "l1\n"),
    "an ignore file beside the file": _write("iEchorfile.dockerignore", "l1\n"),
    "the configuration": lambda builder: builder.person.write(
        ".config/iechor/config.toml",
        "jobs = 2\n" + (builder.person.home / ".config/iechor/config.toml").read_text()),
    "its name taken away": lambda builder: builder.person.iechor("rmi", "x"),
    "its name given to another image": lambda builder: builder.person.iechor("tag", "busybox", "x"),
    "its base another image": lambda builder: builder.person.iechor("tag", "x", "busybox"),
    "its base gone": lambda builder: builder.person.iechor("rmi", "busybox"),
    "a step that is pruned": lambda builder: builder.person.iechor("prune", "--all", "--force"),
    "a record that is gone": lambda builder: [path.unlink() for path in _records(builder)],
    "a record that is damaged": lambda builder: [path.write_text("{") for path in _records(builder)],
    "the index gone": lambda builder: (builder.person.store / "index.json").unlink(),
    "the index older than a name": lambda builder: (builder.person.store / "refs").touch(),
    "another store": lambda builder: shutil.rmtree(builder.person.store),
    "an answer that is damaged": lambda builder: builder.answers()[0].write_bytes(b"ieanswr2" + bytes(100)),
    "an answer cut short": lambda builder: os.truncate(builder.answers()[0], 1000),
    "an answer of somebody else": lambda builder: os.chown(builder.answers()[0], 12345, -1),
    "an answer that others can write": lambda builder: builder.answers()[0].chmod(0o666),
    # From here on nothing is noted any more.
    "its folder open to others": lambda builder: (builder.person.scratch / "answers").chmod(0o777),
    "a second name": lambda builder: os.link(builder.place / "a", builder.place / "l3"),
}


@pytest.mark.parametrize("half", [0, 1])
def test_each_change_is_seen(builder: Builder, half: int) -> None:
    """One after the other; what a change leaves is where the next one begins."""
    for name, change in list(CHANGES.items())[half::2]:
        builder.settle()
        change(builder)
        assert builder.build()[0], name


def test_what_a_killed_command_left_is_tidied_up(builder: Builder) -> None:
    """And as long as somebody else is at work, it is built."""
    builder.settle()
    for place in ("scratch/fakeroot.1/run/x", "store/leases/x", "store/claims/x"):
        path = builder.person.write(place, "")
        assert builder.build()[0], place
        path.unlink(missing_ok=True)
        assert not builder.build()[0], place


def test_the_environment_counts(builder: Builder) -> None:
    builder.settle()
    assert not builder.build({"SHLVL": "7", "OLDPWD": "/somewhere", "_": "/usr/bin/x"})[0]
    for name, value in (("IECHOR_DEFAULT_REGISTRY", "docker.io"), ("SOURCE_DATE_EPOCH", "1"), ("TERM", "vt100"),
                        ("IECHOR_NO_NATIVE", "1"), ("ANYTHING", "x")):
        assert builder.build({name: value})[0], name


def test_no_password_is_kept(builder: Builder) -> None:
    """Neither one of the environment, nor of the command line or a file that is read."""
    secret = os.urandom(12).hex()
    builder.person.write("c/sub/key", secret)
    builder.words = (*builder.words[:-1], "--build-arg", f"WHAT={secret}", builder.words[-1])
    env = {"HTTPS_PROXY": f"http://me:{secret}@127.0.0.1:9", "TOKEN": secret}
    while builder.build(env)[0]:
        pass
    [kept] = builder.answers()
    assert secret.encode() not in kept.read_bytes()


@pytest.mark.parametrize("words", [
    ["--no-cache"], ["--no-cache-filter=one"], ["--pull=newer"], ["--iidfile=i"], ["--metadata-file=m"],
    ["--logfile=l"], ["-o", "out"], ["--cache-ttl=1h"], ["--cache-to=type=local,dest=k"], ["--build-arg", "WHAT"],
    ["--build-context", "y=/etc"], ["--secret", "id=HOME"], ["--platform=linux/amd64"]], ids=" ".join)
def test_options_that_reach_further_are_never_noted(builder: Builder, words: list[str]) -> None:
    builder.words = (*builder.words[:-1], *words, builder.words[-1])
    assert builder.build()[0] and builder.build()[0]
    assert not (builder.person.scratch / "answers").exists()


def test_nor_is_a_file_that_does(builder: Builder) -> None:
    builder.person.write("c/iEchorfile", "FROM --platform=linux/amd64 busybox\n")
    assert builder.build()[0] and builder.build()[0]
    assert not (builder.person.scratch / "answers").exists()


def test_nor_is_one_that_asks_a_server(builder: Builder, registry: Registry) -> None:
    builder.person.write("c/iEchorfile", f"FROM scratch\nADD http://{registry.host}/v2/ /x\n")
    assert builder.build()[0] and builder.build()[0]
    assert not (builder.person.scratch / "answers").exists()


def test_the_other_folder_of_that_name(builder: Builder) -> None:
    """`iechor build .` is another build elsewhere, also in a folder that took the place of this one."""
    builder.words = (*builder.words[:-1], ".")
    person = builder.person
    for _ in range(3):
        built = person.run(person.command()[0], "-c", SCRIPT, *builder.words, cwd=builder.place).stdout.split()[-1]
    assert built == "False"
    shutil.copytree(builder.place, person.home / "d", symlinks=True)
    builder.place.rename(person.home / "old")
    (person.home / "d").rename(builder.place)
    assert person.run(person.command()[0], "-c", SCRIPT, *builder.words, cwd=builder.place).stdout.split()[-1] == "True"


def test_a_change_that_restores_every_time_but_ctime_is_seen(builder: Builder) -> None:
    """A file that was last changed long ago is not read again; touch -r does not hide a change."""
    path = builder.place / "sub/deep/b"
    os.utime(path, (1, 1))
    time.sleep(2.1)  # until then every file is read each time
    builder.settle()
    path.write_text("c")
    os.utime(path, (1, 1))
    assert builder.build()[0]


def test_its_records_count_as_used(builder: Builder) -> None:
    """Else prune would take what is said again every day for unused."""
    builder.settle()
    for path in _records(builder):
        os.utime(path, (1, 1))
    assert not builder.build()[0]
    assert all(path.stat().st_mtime > 1 for path in _records(builder))


def test_all_that_a_build_opens_is_noted(builder: Builder) -> None:
    """Nothing counts in secret: what this build opens is in the answer, or can make no difference."""
    builder.settle()
    [answer] = builder.answers()
    noted = answer.read_bytes()
    answer.unlink()
    person = builder.person
    opened = person.run(person.command()[0], "-c", OPENED, *builder.words).stdout.splitlines()
    assert len(opened) > 100
    ours, home = Path(__file__).parents[2] / "rootless_builder", person.home
    no_matter = (
        "/proc/", "/sys/", "/dev/", f"{ours}/", f"{sys.prefix}/", f"{sys.base_prefix}/",
        f"{builder.place}/",  # the context is told as a whole
        "/etc/resolv.conf", "/etc/hosts", "/etc/passwd",  # a RUN alone has them
        f"{home}/store/leases/", f"{home}/store/tmp/", f"{home}/scratch/contexts/", f"{home}/scratch/answers/",
        f"{home}/store/refs/", f"{home}/store/images/")  # what index.json is made of: told by their times
    assert [path for path in opened if path.encode() not in noted and not f"{path}/".startswith(no_matter)] == []
