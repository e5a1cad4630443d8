"""Steps that die, are killed or try to fool the supervisor: an error that says so, and the next build works."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Person
from tests.flows.running import until
from tests.registry_server import Registry
from tests.same import differing, layers

CGROUPS = Path("/sys/fs/cgroup")
HUNGRY = "tail -c 2000m /dev/zero"  # tail keeps what it may have to show


@pytest.fixture
def root(root_user: Person, registry: Registry, busybox: str) -> Person:
    root_user.mirror(registry)
    return root_user


@pytest.fixture
def tight() -> Iterator[Path]:
    """A control group of 100 MB, version 1 or 2."""
    parent = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS
    limit = "memory.limit_in_bytes" if parent.name == "memory" else "memory.max"
    group = parent / f"iechor-test-{os.getpid()}"
    group.mkdir()
    (group / limit).write_text(str(100 << 20))
    yield group
    until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def context(person: Person, text: str) -> Path:
    return person.write("c/iEchorfile", "FROM busybox\n" + text).parent


def build(person: Person, text: str, code: int = 0) -> str:
    return person.iechor("build", "--progress=plain", "-t", "x", "--source-date-epoch=1000000000",
                         context(person, text), code=code).stderr


def nothing_left(person: Person) -> None:
    assert not list(person.store.glob("tmp/*")) and not list(person.scratch.glob("*/run/*"))
    until(lambda: not person.processes())


def same_as_root(user: Person, root: Person, text: str) -> None:
    for person in (user, root):
        build(person, text)
    for ours, theirs in zip(layers(user, "x"), layers(root, "x"), strict=True):
        assert not differing(ours, theirs)


@pytest.mark.parametrize("name", ["SEGV", "KILL", "TERM", "SYS", "STOP & sleep .1; kill -KILL"])
def test_a_step_that_dies_by_a_signal(user: Person, root: Person, name: str) -> None:
    shown = build(user, f"RUN chown 5 /bin/busybox; touch /new; kill -{name} $$\n", code=6)
    assert "iEchorfile:2:" in shown and "signal" in shown
    nothing_left(user)
    same_as_root(user, root, f"RUN (chown 5 /etc/group; sh -c 'kill -{name} $$'; chown 6 /etc/passwd) || true\n")


def confined(user: Person, tight: Path, text: str) -> "subprocess.CompletedProcess[str]":
    enter = 'echo $$ >"$1/cgroup.procs" && shift && exec setpriv --reuid "$0" --regid "$0" --clear-groups "$@"'
    command = ["sh", "-c", enter, str(user.uid), str(tight), *user.command("build", "--progress=plain", "-t", "x",
               "--source-date-epoch=1000000000", context(user, text))]
    return subprocess.run(command, env=user.environment(), cwd=user.home, capture_output=True, text=True,
                          timeout=120)


def test_a_step_that_is_out_of_memory(user: Person, root: Person, tight: Path) -> None:
    """The kernel ends the hungry process; the supervisor lives and the owners with it."""
    done = confined(user, tight, f"RUN chown 5 /etc/group && {HUNGRY}\n")
    assert done.returncode == 6 and "137" in done.stderr + "137" * ("signal 9" in done.stderr), done.stderr
    nothing_left(user)
    survivor = f"RUN chown 5 /etc/group; {HUNGRY} || chown 6 /etc/passwd\n"
    done = confined(user, tight, survivor)
    assert done.returncode == 0, done.stderr
    build(root, "RUN chown 5 /etc/group; chown 6 /etc/passwd\n")
    assert not differing(layers(user, "x")[-1], layers(root, "x")[-1]), done.stderr


COPIED_UP = """
RUN mkdir /p; cd /p; for f in chown chmod touch write append truncate move link gone; do \\
    echo $f >$f; chown 1$(expr length $f):43 $f; chmod 4751 $f; done; ln -s nowhere symlink; chown -h 3:4 symlink; \\
    mkfifo fifo; chown 5:6 fifo
RUN cd /p; chown 7 chown; chmod 600 chmod; touch -d @1000000000 touch fifo; echo new >write; echo x >>append; \\
    truncate -c -s 2 truncate; mv move moved; ln link linked; mv symlink symlinked; echo x >>gone; \\
    chown 8 /etc/group; ls -lR /p /etc >/dev/null; PRESSURE; \\
    stat -c '%n %a %u:%g' * /etc/group; rm gone; echo fresh >gone; echo fresh >fresh; \\
    chmod 4711 touch; chown :9 append linked; rm link; cp -a /p /q; cp -a /etc/group /q
"""


def test_what_was_copied_up_keeps_its_owner_when_memory_is_short(user: Person, root: Person, tight: Path) -> None:
    """The overlay's inodes are thrown out of the cache, and have other numbers when they are looked up again."""
    done = confined(user, tight, COPIED_UP.replace("PRESSURE", f"{HUNGRY} >/dev/null || stat -c %i * >/q2; rm /q2"))
    assert done.returncode == 0, done.stderr
    shown = build(root, COPIED_UP.replace("PRESSURE", ": >/q2; rm /q2"))
    for ours, theirs in zip(layers(user, "x"), layers(root, "x"), strict=True):
        assert not differing(ours, theirs), done.stderr
    seen = [re.findall(r"\S+ \d+ \d+:\d+$", text, re.MULTILINE) for text in (shown, done.stderr)]
    assert len(seen[0]) == 13 and seen[0] == seen[1], done.stderr


def supervisor_of(process: "subprocess.Popen[str]") -> psutil.Process:
    """The parent of the one that is process 1 inside."""
    for child in psutil.Process(process.pid).children(recursive=True):
        status = Path(f"/proc/{child.pid}/status").read_text()
        if re.search(r"^NSpid:.*\t1$", status, re.MULTILINE) and (parent := child.parent()):
            return parent
    raise AssertionError("no container runs")


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_a_killed_supervisor(user: Person, busy: bool) -> None:
    """No layer comes of it: owners would be lost. And the step does not hang on an answer that never comes."""
    work = "while :; do stat /new >/dev/null; done" if busy else "sleep 6161"
    folder = context(user, f"RUN touch /new; chown 5 /new; echo started; {work}\n")
    process = user.start(*user.command("build", "--progress=plain", "-t", "x", folder), stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert any("started" in line and "RUN" not in line for line in process.stderr)
    supervisor_of(process).send_signal(signal.SIGKILL)
    rest = process.communicate(timeout=20)[1]
    assert process.returncode not in (0, None) and "Traceback" not in rest and "this is a bug" not in rest, rest
    assert "iEchorfile:2:" in rest, rest
    assert not user.iechor("images", "-q", "x", code=None).stdout
    nothing_left(user)
    build(user, "RUN touch /new; chown 5 /new\n")
    assert layers(user, "x")[-1].members()["new"].owner == (5, 0)


def test_faster_than_they_are_reaped(user: Person, root: Person) -> None:
    """Orphans by the thousand, each with an owner of its own to be told."""
    same_as_root(user, root, "RUN mkdir /o; for i in $(seq 1500); do (touch /o/$i; chown $i:$i /o/$i; sleep .1) & done;"
                             " wait\n")
