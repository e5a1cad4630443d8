"""The front door: what a person sees of the command line itself, whatever the flows behind it do."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, Person


def iechor(*args: str, **kwargs: object) -> "subprocess.CompletedProcess[str]":
    """As whoever runs the tests; the home is empty."""
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home, "IECHOR_SCRATCH": f"{home}/scratch", "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-m", "rootless_builder", *args], capture_output=True, text=True,
                              env=env, timeout=60, stdin=subprocess.DEVNULL, **kwargs)  # type: ignore[call-overload]
    assert "Traceback" not in done.stderr
    return done


def test_version_says_which_parts_are_in_use() -> None:
    done = iechor("version")
    assert done.returncode == 0
    assert done.stdout.startswith("iechor 0.")
    assert "LayerCore" in done.stdout
    assert json.loads(iechor("version", "--format", "json").stdout)["Version"] in done.stdout
    assert iechor("version", "--format", "{{.Version}}").stdout.strip() in done.stdout
    assert iechor("--version").stdout == done.stdout


def test_no_command_shows_the_usage_and_fails() -> None:
    done = iechor()
    assert done.returncode == 2
    assert "usage: iechor" in done.stderr


@pytest.mark.parametrize(("args", "said"), [
    (("bild",), 'unknown command "bild"\nhint: did you mean "build"?'),
    (("build", "--tga", "x"), 'unknown option "--tga"\nhint: did you mean "--tag"?'),
    (("build", "--network", "hots"), 'did you mean "host"?'),
    (("image", "pul"), 'did you mean "pull"?'),
    (("build", "a", "b"), 'unexpected argument "b"'),
    (("pull",), "the following arguments are required: NAME"),
])
def test_a_wrong_command_line_says_what_was_meant(args: tuple[str, ...], said: str) -> None:
    done = iechor(*args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_what_is_not_carried_out_is_an_error_with_a_code_of_its_own() -> None:
    done = iechor("build", "--device", "x", ".")
    assert done.returncode == 4
    assert "--device" in done.stderr


def test_asking_for_what_happens_anyway_is_no_error() -> None:
    """Scripts written for docker say --provenance=false; the missing context is what fails here."""
    done = iechor("build", "--provenance=false", "--tls-verify=true", "--squash=false", "/nonexistent/context")
    assert done.returncode != 4
    assert "--provenance" not in done.stderr


def test_run_answers_125_for_every_error_of_ours() -> None:
    assert iechor("run").returncode == 125
    assert iechor("--scratch", "/x", "run", "--no-such-option", "image").returncode == 125
    assert iechor("container", "exec").returncode == 125


def test_every_command_has_help() -> None:
    listed = iechor("--help").stdout
    for name in ("build", "run", "exec", "ps", "logs", "stop", "kill", "wait", "rm", "images", "pull", "push", "login",
                 "logout", "tag", "rmi", "inspect", "history", "save", "load", "prune", "info", "version"):
        assert f"\n    {name} " in listed
        assert f"usage: iechor {name}" in iechor(name, "--help").stdout


def test_a_closed_pipe_is_quiet() -> None:
    """As in `iechor --help | head -0`; 141 is what a shell reports of a program killed by SIGPIPE."""
    command = f'{sys.executable} -m rootless_builder --help; echo "code $?" >&2'
    done = subprocess.run(["bash", "-c", f"({command}) | true"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr


def test_a_bug_is_one_line_and_a_file(tmp_path: Path) -> None:
    """A folder that is no store at all makes nothing but messages; a broken installation is a bug, and said so."""
    program = ("import sys, rootless_builder.cli.main as m; m.handler = lambda name: 1 / 0; "
               "sys.exit(m.main(['version', '--debug'][:int(sys.argv[1])]))")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program, "1"], capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "this is a bug in iechor" in done.stderr
    [saved] = tmp_path.iterdir()
    assert str(saved) in done.stderr
    assert "ZeroDivisionError" in saved.read_text()
    assert "Traceback" in saved.read_text()
    shown = subprocess.run([sys.executable, "-c", program, "2"], capture_output=True, text=True, env=env)
    assert "Traceback" in shown.stderr


def test_both_plain_users_can_run_it(plain_user: Person, subuid_user: Person) -> None:
    for person in (plain_user, subuid_user):
        assert person.iechor("version").stdout.startswith("iechor ")
        assert not person.store.exists()


def test_starting_up_is_quick() -> None:
    """`iechor version` costs less than 60 ms of a processor more than Python itself: the least of several runs."""

    def cost(*argv: str) -> float:
        found = []
        for _ in range(8):
            process = subprocess.Popen([sys.executable, *argv], stdout=subprocess.DEVNULL, cwd=ROOT)
            usage = os.wait4(process.pid, 0)[2]
            process.returncode = 0
            found.append(usage.ru_utime + usage.ru_stime)
        return min(found)

    assert cost("-m", "rootless_builder", "version") - cost("-c", "pass") < 0.060
