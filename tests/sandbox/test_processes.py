"""Every process of a step is dead when it ends, however it ends; no output is lost, nothing waits for ever."""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rootless_builder.sandbox.mounts import Bind, standard
from tests.sandbox.conftest import Box

# Four ways to outlive a shell; each ends in a `sleep` whose argument is the box's own mark.
DAEMONS = """
setsid sh -c 'sleep {mark} & sleep {mark}' &
nohup sleep {mark} >/dev/null 2>&1 &
(trap '' HUP TERM INT; setsid sleep {mark} </dev/null >/dev/null 2>&1 &) &
sh -c '(sh -c "(sleep {mark} &) &" &) &'
"""


def mark(box: Box) -> str:
    """A number of seconds that no other test sleeps."""
    return f"3{int(box.person.home.name.encode()[-6:].hex(), 16)}"


def sleepers(box: Box) -> list[psutil.Process]:
    word = mark(box)
    found = []
    for process in psutil.process_iter():
        try:
            if word in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def eventually(condition: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for the signal."""
    caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("init", [False, True])
def test_daemons_end_with_the_step(box: Box, init: bool) -> None:
    result = box.sh(DAEMONS.format(mark=mark(box)) + "sleep 0.1; echo done", init=init)
    assert result.out == "done\n"
    assert sleepers(box) == []


@pytest.mark.parametrize("init", [False, True])
def test_a_timeout_kills_everything(box: Box, init: bool) -> None:
    start = time.monotonic()
    script = DAEMONS.format(mark=mark(box)) + f"echo begun; sleep {mark(box)}"
    result = box.run("sh", "-c", script, init=init, timeout=0.5)
    assert (result.code, result.signal, result.timed_out, result.out) == (137, 9, True, "begun\n")
    assert time.monotonic() - start < 5
    assert sleepers(box) == []


def test_zombies_are_reaped_by_the_init(box: Box) -> None:
    """Orphans of the command become pid 1's children; as a RUN has it, they are collected."""
    script = "for i in 1 2 3 4 5; do (sh -c 'sleep 0.01 &' &) ; done; sleep 0.3; ps -o pid,stat | grep -c Z"
    assert box.run("sh", "-c", script, init=True).out == "0\n"


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize("victim", ["launcher", "server", "step", "init"])
def test_whoever_is_killed_takes_all_along(box: Box, victim: str, init: bool) -> None:
    code = f"""
import subprocess
launcher = Launcher()
sandbox = launcher.launch(read_spec(open("spec.json").read(), ids), stdout=1, stderr=2)
server = launcher._server._process.pid
victims = {{"launcher": os.getpid(), "server": server, "step": sandbox.pid, "init": sandbox.init_pid}}
print(victims["{victim}"], flush=True)
status = sandbox.wait()
print(status.code, status.signal, flush=True)
sandbox.close()
launcher.close()
"""
    script = DAEMONS.format(mark=mark(box)) + f"sleep 0.05; echo begun; exec sleep {mark(box)}"
    box.person.write("spec.json", box.spec("sh", "-c", script, init=init).to_json())
    with box.person.start(*box.script_command(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = sorted([process.stdout.readline().strip(), process.stdout.readline().strip()])
        assert lines[1] == "begun"
        assert len(sleepers(box)) >= 4
        psutil.Process(int(lines[0])).send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=20)
    assert eventually(lambda: sleepers(box) == [])
    if victim != "launcher":
        assert (out, err) == ("137 9\n", "")
        assert process.returncode == 0


def test_a_set_uid_pid_1_dies_with_its_supervisor(many_ids: Box, show_euid: Path) -> None:
    """exec of a set-uid program clears the death signal: then the server, which inherits it, has to kill it."""
    program = many_ids.root / "bin/sleeper"
    subprocess.run(["gcc", "-static", "-x", "c", "-o", program, "-"], check=True, text=True,
                   input="#include <unistd.h>\nint main(void) { write(1, \"up\\n\", 3); for (;;) pause(); }\n")
    many_ids.own(many_ids.root)
    many_ids.sh("chmod 4755 /bin/sleeper")
    code = """
sandbox = launch(read_spec(open("spec.json").read(), ids), stdout=1, stderr=2)
print(sandbox.pid, sandbox.init_pid, flush=True)
time.sleep(60)
"""
    many_ids.person.write("spec.json", many_ids.spec("sleeper", mark(many_ids), user="app").to_json())
    with many_ids.person.start(*many_ids.script_command(code), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = sorted([process.stdout.readline(), process.stdout.readline()])
        assert len(sleepers(many_ids)) == 1
        psutil.Process(int(lines[0].split()[0])).kill()
        assert eventually(lambda: sleepers(many_ids) == [])
        process.kill()


def test_a_great_deal_of_output_arrives_whole(box: Box) -> None:
    result = box.sh("seq 1 200000; echo tail >&2")
    assert result.out.splitlines()[-1] == "200000"
    assert len(result.out) == sum(len(str(n)) + 1 for n in range(1, 200001))
    assert result.err == "tail\n"


def test_a_daemon_that_holds_the_pipe_does_not_hold_us(box: Box) -> None:
    start = time.monotonic()
    result = box.sh(f"sleep {mark(box)} & echo done")
    assert result.out == "done\n"
    assert time.monotonic() - start < 5


def test_a_pipe_that_got_out_does_not_hold_us(box: Box) -> None:
    """A program may hand its stdout to somebody outside over a socket; the step still ends, with all it wrote."""
    code = """
import socket, threading
path = os.path.expanduser("~/out/socket")
os.makedirs(os.path.dirname(path), exist_ok=True)
if os.path.exists(path):
    os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
os.chmod(path, 0o777)
server.listen()
kept = []
def take():
    channel, _ = server.accept()
    kept.append(socket.recv_fds(channel, 1, 4))
    channel.sendall(b"k")
threading.Thread(target=take).start()
told = finished(launch(read_spec(open("spec.json").read(), ids)))
assert kept and kept[0][1], kept
print(told["code"], told["out"])
"""
    sender = ("import socket; s = socket.socket(socket.AF_UNIX); s.connect('/out/socket'); "
              "socket.send_fds(s, [b'x'], [1, 2]); s.recv(1); print('sent')")
    out = box.person.home / "out"
    out.mkdir(exist_ok=True)
    box.own(out)
    mounts = (*standard(), Bind(source=str(out), target="/out"), Bind(source="/usr", target="/usr", read_only=True),
              Bind(source="/usr/lib", target="/lib", read_only=True),
              Bind(source="/usr/lib64", target="/lib64", read_only=True))
    box.person.write("spec.json", box.spec("/usr/bin/python3", "-c", sender, mounts=mounts).to_json())
    done = box.script(code, timeout=20)
    assert (done.stdout, done.stderr) == ("0 sent\n\n", "")


def test_signals_reach_pid_1_as_the_kernel_allows(box: Box) -> None:
    """Without a handler pid 1 does not feel SIGTERM (Docker is the same); with one, or under the reaper, it does."""
    code = """
def try_out(argv, init, signals):
    spec = read_spec(open("spec.json").read(), ids)
    sandbox = launch(dataclasses.replace(spec, argv=("sh", "-c", argv), init=init))
    os.read(sandbox.outputs[1], 100)
    for number in signals:
        sandbox.kill(number)
        status = sandbox.wait(1.0 if number == signal.SIGTERM else 5.0)
        print(number, None if status is None else (status.code, status.signal), flush=True)
    sandbox.close()
try_out("echo up; while :; do sleep 0.1; done", False, [signal.SIGTERM, signal.SIGKILL])
try_out("trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done", False, [signal.SIGTERM])
try_out("echo up; while :; do sleep 0.1; done", True, [signal.SIGTERM])
"""
    box.person.write("spec.json", box.spec("true").to_json())
    done = box.script(code)
    assert done.stderr == ""
    assert done.stdout == "15 None\n9 (137, 9)\n15 (3, None)\n15 (143, 15)\n"


def test_supervise_forwards_our_signals(box: Box) -> None:
    code = """
sandbox = launch(read_spec(open("spec.json").read(), ids), stdout=1, stderr=2)
before = signal.getsignal(signal.SIGTERM)
status = supervise(sandbox, forward_signals=True)
sandbox.close()
assert signal.getsignal(signal.SIGTERM) is before
print(status.code, flush=True)
"""
    script = "trap 'echo got; exit 5' TERM; trap 'echo int' INT; echo up; while :; do sleep 0.05; done"
    box.person.write("spec.json", box.spec("sh", "-c", script).to_json())
    with box.person.start(*box.script_command(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert eventually(lambda: catches(process.pid, signal.SIGUSR2))  # the last one that supervise takes over
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "int\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (out, err) == ("got\n5\n", "")


def test_an_interrupt_kills_the_step_and_goes_on(box: Box) -> None:
    code = """
spec = read_spec(open("spec.json").read(), ids)
try:  # "up" may be read before supervise begins
    with launch(spec, stdout=1, stderr=2) as sandbox:
        supervise(sandbox)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    script = DAEMONS.format(mark=mark(box)) + f"echo up; sleep {mark(box)}"
    box.person.write("spec.json", box.spec("sh", "-c", script, init=True).to_json())
    with box.person.start(*box.script_command(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (out, err) == ("interrupted\n", "")
    assert sleepers(box) == []


def test_threads_may_launch_side_by_side(box: Box) -> None:
    code = """
import threading
spec = read_spec(open("spec.json").read(), ids)
told = {}
with Launcher() as launcher:
    def step(n):
        mine = dataclasses.replace(spec, argv=("sh", "-c", f"sleep 0.2; echo {n}; exit {n}"))
        told[n] = finished(launcher.launch(mine))
    threads = [threading.Thread(target=step, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert all(told[n]["out"] == f"{n}\\n" and told[n]["code"] == n for n in range(12)), told
print("ok", len(os.listdir("/proc/self/fd")))
"""
    box.person.write("spec.json", box.spec("true", init=True).to_json())
    done = box.script(code)
    assert done.stderr == ""
    word, fds = done.stdout.split()
    assert word == "ok" and int(fds) <= 5  # 0, 1, 2, the listing's own


def test_the_usage_counts_the_whole_step(box: Box) -> None:
    code = """
spec = read_spec(open("spec.json").read(), ids)
sandbox = launch(spec)
status = supervise(sandbox)
print(status.usage.user_seconds + status.usage.system_seconds > 0.05, status.usage.peak_memory > 1 << 20)
sandbox.close()
"""
    box.person.write("spec.json", box.spec("sh", "-c", "timeout 0.5 sh -c 'while :; do :; done'", init=True).to_json())
    assert box.script(code).stdout == "True True\n"


def test_a_killed_server_is_said(box: Box) -> None:
    code = """
from rootless_builder.errors import SandboxError
launcher = Launcher()
launcher.start()
os.kill(launcher._server._process.pid, signal.SIGKILL)
launcher._server._process.wait()
try:
    launcher.launch(read_spec(open("spec.json").read(), ids))
except SandboxError as error:
    print(error.message)
launcher.close()
print(len(os.listdir("/proc/self/fd")))
"""
    box.person.write("spec.json", box.spec("true").to_json())
    done = box.script(code)
    assert done.stdout == "cannot start a sandbox: its server was killed\n4\n"
    assert done.stderr == ""
