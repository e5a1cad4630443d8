"""The documentation's example, built by a plain user from examples/flask, run in both forms of CMD, and stopped.

    exec form     flask is pid 1: Ctrl-C is KeyboardInterrupt; it has no handler for SIGTERM, and pid 1 no default
    shell form    sh is pid 1 (dash stays), has no handlers, and passes nothing on
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import provision
from tests.conftest import ROOT, Person, _person
from tests.flows.running import Box, until
from tests.flows.test_run_network import fetch, free_port
from tests.flows.test_run_signals import terminal
from tests.registry_server import Registry

EXEC = 'CMD ["flask", "run", "--host", "0.0.0.0", "--port", "8000"]'
SHELL = "CMD flask run --host 0.0.0.0 --port 8000"


@pytest.fixture(scope="module")
def person(registry: Registry, ubuntu: str) -> Iterator[Person]:
    """A plain user with both images: the shell form takes everything but its CMD from the build cache."""
    for person in _person(provision.PLAIN_USER, "fakeroot"):
        person.mirror(registry)
        text = (ROOT / "examples/flask/iEchorfile").read_text()
        assert EXEC in text
        person.write("flask/hello.py", (ROOT / "examples/flask/hello.py").read_text())
        for tag, file in (("exec", text), ("shell", text.replace(EXEC, SHELL))):
            person.write("flask/iEchorfile", file)
            built = person.iechor("build", "--progress=plain", "-t", tag, ".", cwd=Path(person.home / "flask"),
                                  timeout=900)
        assert built.stderr.count("CACHED") == 3
        yield person


@pytest.fixture(params=["exec", "shell"])
def form(request: pytest.FixtureRequest, person: Person) -> Box:
    return Box(person, request.param)


def test_it_answers_in_the_foreground_and_ctrl_c_ends_it(form: Box) -> None:
    port = free_port()
    process = form.person.start(*form.person.command("run", "--rm", "-p", f"127.0.0.1:{port}:8000", form.image),
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert until(lambda: fetch("127.0.0.1", port), 30) == "Hello World!"
    process.send_signal(signal.SIGINT)
    if form.image == "exec":
        assert process.wait(10) == 0
    else:
        time.sleep(0.5)
        assert process.poll() is None and fetch("127.0.0.1", port)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.wait(10) == 137
    process.communicate()
    assert fetch("127.0.0.1", port) == ""


def test_on_a_terminal_ctrl_c_reaches_flask_in_both_forms(form: Box) -> None:
    with terminal(form, "run", "--rm", "-it", "-p", "127.0.0.1::8000", form.image) as screen:
        screen.shows("CTRL.C to quit")
        screen.type("\x03")
        assert screen.ends() in (0, 1, 130)  # flask says 1 when it has only just begun


def test_stop_waits_and_kills_and_with_init_it_ends_at_once(form: Box) -> None:
    for options, code in (("", "137\n"), ("--init", "143\n")):
        form.run(f"-d --name flask {options} -p 127.0.0.1::8000")
        until(lambda: "CTRL+C" in form.iechor("logs", "flask").stderr, 30)
        begin = time.monotonic()
        form.iechor("stop", "-t", "2", "flask")
        assert (time.monotonic() - begin >= 2) == (code == "137\n")
        assert form.iechor("wait", "flask").stdout == code
        form.iechor("rm", "flask")
