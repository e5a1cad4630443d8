"""A RUN's layer is written while the next RUN works: what is recorded, told and left when either of them fails."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.running import until
from tests.flows.test_build import build, context
from tests.flows.test_parallel import events, left_over
from tests.registry_server import Registry
from tests.reliability.test_hardship import mounted

CHAIN = """\
FROM busybox
RUN mkdir /d && echo 1 > /d/kept && echo 1 > /d/gone && head -c 3000000 /dev/zero > /d/big && chown 1000:44 /d/kept
RUN rm /d/gone && echo 2 >> /d/kept && chmod 600 /d/kept
ENV between=them
RUN true
RUN rm -r /d/big && mkdir /d/big && echo "$between" > /d/big/x
COPY a /d/
RUN test "$(cat /d/kept)" = "$(printf '1\\n2')" && test ! -e /d/gone && ls -n /d > /seen
"""


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    plain_user.mirror(registry)
    return plain_user


def test_the_image_is_the_same(user: Person) -> None:
    """As where each layer is written before the next step begins."""
    context(user, CHAIN, a="a")
    made = []
    for jobs in ("1", "4", "0"):
        found = events(user, "--no-cache", f"--jobs={jobs}", "--timestamp=1000000000")
        written = {event["step"]: event["diff_id"] for event in found if event["event"] == "LayerWritten"}
        made.append((written, user.iechor("images", "-q", "--no-trunc").stdout.split()[0]))
        assert [event["step"] for event in found if event["event"] == "StepFinished"] == list(range(1, 8))
    assert made[0] == made[1] == made[2] and len(made[0][0]) == 5
    assert not build(user, CHAIN, "--timestamp=1000000000", a="a").count("DONE") - 1  # FROM alone


def test_a_layer_that_cannot_be_written_ends_the_next_run(user: Person) -> None:
    """The step that is to blame is shown, not the one that was running."""
    name = f"4244.{os.getpid()}"
    context(user, f"FROM busybox\nRUN head -c 60000000 /dev/urandom > /big\nRUN sleep {name}\n")
    with mounted(user, "small", "-t", "tmpfs", "-o", "size=40M", "tmpfs") as small:
        env = {"IECHOR_HOME": str(small / "store")}
        done = user.iechor("build", "--progress=plain", "c", env=env, code=13)
        assert "iEchorfile:2" in done.stderr and "no space" in done.stderr.lower(), done.stderr
        assert re.search(r"^#3 .*RUN sleep", done.stderr, re.MULTILINE)
        assert re.search(r"^#3 CANCELED", done.stderr, re.MULTILINE) and "cannot run" not in done.stderr
        assert os.listdir(small / "store" / "tmp") == []
    assert not [one for one in user.processes() if name in " ".join(one.cmdline())]
    assert left_over(user) == []


def test_what_a_failed_run_was_run_on_is_kept(user: Person) -> None:
    text = "FROM busybox\nRUN head -c 30000000 /dev/urandom > /big\nRUN exit 7\n"
    shown = build(user, text, code=6)
    assert "iEchorfile:3" in shown and "exit code 7" in shown
    assert left_over(user) == []
    again = build(user, text, code=6)
    assert re.search(r"^#2 CACHED", again, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_end_while_both_are_at_work(user: Person, number: signal.Signals) -> None:
    name = f"4245.{os.getpid()}"
    folder = context(user, f"FROM busybox\nRUN head -c 90000000 /dev/urandom > /big\nRUN echo started; sleep {name}\n")
    process = user.start(*user.command("build", "--progress=plain", folder), stderr=subprocess.PIPE)
    assert process.stderr is not None
    until(lambda: " started\n" in process.stderr.readline())
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode in (130, -signal.SIGKILL) and "Traceback" not in said
    until(lambda: not [one for one in user.processes() if name in " ".join(one.cmdline())])
    shown = build(user, "FROM busybox\nRUN echo swept\n")
    assert "swept" in shown and left_over(user) == []
    assert json.loads(user.iechor("check", "--format", "json").stdout)["Sound"]


def test_equal_runs_in_two_stages(user: Person) -> None:
    """Both go on upon one layer, which is made once and unpacked never."""
    step = "RUN head -c 3000000 /dev/urandom > /big"
    shown = build(user, f"""\
FROM busybox AS a
{step}
RUN ls -l /big > /a
FROM busybox AS b
{step}
RUN ls -l /big > /b
FROM scratch
COPY --from=a /a /
COPY --from=b /b /
""")
    assert len(re.findall(r"^#\d+ CACHED", shown, re.MULTILINE)) == 1
    folders: list[Path] = list(user.scratch.glob("*/layers/*"))
    sizes = [sum(path.lstat().st_size for path in folder.rglob("*")) for folder in folders]
    assert sum(size > 3_000_000 for size in sizes) == 1
