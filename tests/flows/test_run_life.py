"""What `run -d` leaves, and the commands on it: ps, logs, exec, stop, kill, wait, rm."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.flows.running import Box, box, layout, plain, until

__all__ = ["box", "layout", "plain"]

DUTIFUL = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
STUBBORN = "echo ready; while :; do sleep 0.05; done"


def test_a_whole_life(box: Box) -> None:
    identity = box.detached("web", DUTIFUL)
    assert len(identity) == 64
    (row,) = [json.loads(line) for line in box.iechor("ps", "--format", "json").stdout.splitlines()]
    assert (row["ID"], row["Names"], row["State"]) == (identity[:12], "web", "running")
    assert row["Status"].startswith(("Up", "Less"))
    until(lambda: box.iechor("logs", "web").stdout == "ready\n")
    script = "pwd; id -un; echo $A; exit 4"
    done = box.iechor("exec", "-e", "A=b", "-w", "/home", "-u", "app", "web", "sh", "-c", script, code=4)
    assert done.stdout == "/home\napp\nb\n"
    waiting = box.person.start(*box.person.command("wait", identity[:12]), stdout=subprocess.PIPE)
    assert box.iechor("stop", "web").stdout == "web\n"
    assert waiting.communicate(timeout=10)[0] == "3\n"
    assert box.iechor("logs", "web").stdout == "ready\ntold\n"
    assert box.iechor("ps", "-q").stdout == ""
    assert "Exited (3)" in box.iechor("ps", "-a").stdout
    assert box.iechor("wait", "web").stdout == "3\n"
    assert box.iechor("stop", "web").stdout == "web\n"
    assert box.iechor("rm", "web").stdout == "web\n"
    assert box.containers() == set()
    until(lambda: not box.person.processes())
    assert os.listdir(box.person.scratch / "containers") == ["names"]


def test_stop_kills_after_the_timeout_what_does_not_listen(plain: Box) -> None:
    plain.detached("deaf", STUBBORN)
    begin = time.monotonic()
    plain.iechor("stop", "-t", "1", "deaf")
    assert 1 <= time.monotonic() - begin < 6
    assert plain.iechor("wait", "deaf").stdout == "137\n"


def test_stop_sends_the_stop_signal(plain: Box) -> None:
    plain.detached("usr", "trap 'exit 9' USR1; while :; do sleep 0.05; done", "--stop-signal USR1")
    plain.iechor("stop", "usr")
    assert plain.iechor("wait", "usr").stdout == "9\n"


def test_kill_sends_any_signal(plain: Box) -> None:
    plain.detached("heard", "trap 'echo hup' HUP; trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done")
    until(lambda: plain.iechor("logs", "heard").stdout)
    plain.iechor("kill", "-s", "HUP", "heard")
    until(lambda: plain.iechor("logs", "heard").stdout == "ready\nhup\n")
    plain.iechor("kill", "-s", "SIGINT", "heard")
    assert plain.iechor("wait", "heard").stdout == "5\n"
    plain.detached("killed", STUBBORN)
    plain.iechor("kill", "killed")
    assert plain.iechor("wait", "killed").stdout == "137\n"
    assert "not running" in plain.iechor("kill", "killed", code=16).stderr


def test_rm_refuses_what_runs_unless_forced(plain: Box) -> None:
    plain.detached("busy", STUBBORN)
    assert "iechor rm -f busy" in plain.iechor("rm", "busy", code=16).stderr
    plain.iechor("rm", "-f", "-t", "0", "busy", "no-such")
    assert "busy" not in plain.containers()
    assert "no container" in plain.iechor("rm", "busy", code=16).stderr


def test_rm_removes_itself_when_it_ends(plain: Box) -> None:
    identity = plain.detached("brief", "until [ -e /tmp/go ]; do sleep 0.05; done; exit 6", "--rm")
    waiting = plain.person.start(*plain.person.command("wait", "brief"), stdout=subprocess.PIPE)
    time.sleep(0.5)
    plain.iechor("exec", "brief", "touch", "/tmp/go")
    assert waiting.communicate(timeout=10)[0] == "6\n"
    assert not (plain.person.scratch / "containers" / identity).exists() and "brief" not in plain.containers()


def test_logs_keep_streams_apart_and_follow_until_the_end(plain: Box) -> None:
    plain.detached("talker", "printf a; sleep 0.3; echo b; echo oops >&2; sleep 0.3; echo c; exit 1")
    followed = plain.iechor("logs", "-f", "talker", timeout=20)
    assert (followed.stdout, followed.stderr) == ("ab\nc\n", "oops\n")
    assert plain.iechor("logs", "--tail", "1", "talker").stdout == "c\n"
    stamped = plain.iechor("logs", "-t", "talker").stdout.splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["ab", "c"] and stamped[0][:2] == "20"
    assert plain.iechor("logs", "--since", "10m", "talker").stdout == "ab\nc\n"
    assert plain.iechor("logs", "--since", stamped[1].split()[0], "talker").stdout == "c\n"


def test_exec_passes_input_and_ends_with_its_own_code(plain: Box) -> None:
    plain.detached("host", STUBBORN)
    text = "line\n" * 50_000
    assert plain.iechor("exec", "-i", "host", "cat", input=text).stdout == text
    assert plain.iechor("exec", "host", "cat", input="not given").stdout == ""
    assert plain.iechor("exec", "host", "sh", "-c", "kill -TERM $$", code=143).stdout == ""
    assert "not found" in plain.iechor("exec", "host", "no-such", code=127).stderr
    assert plain.iechor("exec", "host", "touch", "/tmp/made").stdout == ""
    assert plain.iechor("exec", "host", "ls", "/tmp").stdout == "made\n"
    plain.iechor("exec", "-d", "host", "sh", "-c", "sleep 0.2; touch /tmp/later")
    until(lambda: "later" in plain.iechor("exec", "host", "ls", "/tmp").stdout)
    plain.iechor("rm", "-f", "-t", "0", "host")
    assert "no container" in plain.iechor("exec", "host", "true", code=125).stderr


def test_exec_sees_and_keeps_the_owners_of_the_container(box: Box) -> None:
    box.detached("owners", "touch /tmp/f; chown 1000:44 /tmp/f; echo ready; sleep 600")
    until(lambda: box.iechor("logs", "owners").stdout)
    assert box.iechor("exec", "owners", "stat", "-c", "%u:%g", "/tmp/f").stdout == "1000:44\n"
    box.iechor("exec", "owners", "chown", "7:8", "/tmp/f")
    assert box.iechor("exec", "owners", "stat", "-c", "%u:%g", "/tmp/f").stdout == "7:8\n"
    box.iechor("rm", "-f", "-t", "0", "owners")


def test_exec_ends_with_the_container_and_a_signal_reaches_its_command(plain: Box) -> None:
    plain.detached("both", STUBBORN)
    command = plain.person.command("exec", "both", "sh", "-c", "echo up; sleep 500")
    for code in (130, 137):
        process = plain.person.start(*command, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        if code == 130:
            process.send_signal(signal.SIGINT)
        else:
            plain.iechor("kill", "both")
        assert process.wait(10) == code


def test_a_killed_monitor_takes_the_container_along(plain: Box) -> None:
    identity = plain.detached("lost", STUBBORN)
    state = json.loads((plain.person.scratch / "containers" / identity / "state.json").read_bytes())
    os.kill(state["monitor"]["pid"], signal.SIGKILL)
    shown = ("ps", "-a", "--format", "{{.Names}} {{.State}} {{.ExitCode}}")
    until(lambda: "lost exited 137" in plain.iechor(*shown).stdout)
    until(lambda: not os.path.exists(f"/proc/{state['init']['pid']}"))
    assert plain.iechor("wait", "lost").stdout == "137\n"
    plain.iechor("stop", "lost")
    plain.iechor("rm", "lost")


@pytest.mark.parametrize("victim", ["init", "monitor"])
def test_stop_works_though_the_monitor_hangs(plain: Box, victim: str) -> None:
    identity = plain.detached(f"stuck-{victim}", DUTIFUL)
    pid = json.loads((plain.person.scratch / "containers" / identity / "state.json").read_bytes())[victim]["pid"]
    os.kill(pid, signal.SIGSTOP)
    plain.iechor("rm", "-f", "-t", "0.2", f"stuck-{victim}", timeout=60)
    assert f"stuck-{victim}" not in plain.containers()
    until(lambda: not os.path.exists(f"/proc/{pid}"))


def test_a_detached_container_keeps_nothing_of_its_caller_open(plain: Box) -> None:
    """`$(iechor run -d …)` must return, and the caller's folder can be unmounted."""
    begin = time.monotonic()
    command = " ".join(plain.person.command("run", "-d", "--name", "quiet", plain.image, "sleep", "600"))
    shell = plain.person.run("sh", "-c", f"id=$({command}); echo got $id", timeout=20)
    assert shell.stdout.startswith("got ") and time.monotonic() - begin < 15
    state = json.loads((plain.person.scratch / "containers" / shell.stdout.split()[1] / "state.json").read_bytes())
    monitor = state["monitor"]["pid"]
    assert os.readlink(f"/proc/{monitor}/cwd") == "/"
    assert os.getsid(monitor) not in (0, os.getsid(0))
    held = {os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in (0, 1, 2)}
    assert all(name == "/dev/null" or name.endswith("/monitor.log") for name in held)
    plain.iechor("rm", "-f", "-t", "0", "quiet")
