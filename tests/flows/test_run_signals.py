"""Signals and terminals in the foreground: what Ctrl-C, SIGTERM and a window do, and that nothing ever hangs.

pid 1 has no default actions (pid_namespaces(7)): a signal it has no handler for is dropped.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.flows.running import Box, box, layout, plain, until

__all__ = ["box", "layout", "plain"]

HANDLER = "trap 'echo got; exit 9' {}; echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_go_to_pid_1(plain: Box, name: str) -> None:
    process = plain.person.start(*plain.person.command("run", "--rm", plain.image, "sh", "-c", HANDLER.format(name)),
                                 stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert process.communicate(timeout=10)[0] == "got\n"
    assert process.returncode == 9


def test_a_command_without_handler_needs_three_and_is_killed(plain: Box) -> None:
    command = plain.person.command("run", "--rm", plain.image, "sh", "-c", "echo ready; exec sleep 600")
    process = plain.person.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    until(lambda: "sleep" in {child.name() for child in psutil.Process(process.pid).children(recursive=True)})
    for number in (signal.SIGINT, signal.SIGTERM):  # the shell of -c has a handler for SIGINT
        process.send_signal(number)
        time.sleep(0.2)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 137 and "once more kills it" in errors


def test_with_init_the_default_action_is_taken(plain: Box) -> None:
    command = plain.person.command("run", "--rm", "--init", plain.image, "sh", "-c", "echo ready; exec sleep 600")
    process = plain.person.start(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_a_reader_that_sleeps_does_not_keep_stop_waiting(plain: Box) -> None:
    """The application fills the pipe to a program that does not read; control goes on."""
    command = plain.person.command("run", "--name", "flood", plain.image, "yes")
    process = plain.person.start(*command, stdout=subprocess.PIPE)
    until(lambda: "flood" in plain.iechor("ps", "--format", "{{.Names}}").stdout)
    time.sleep(0.3)
    begin = time.monotonic()
    plain.iechor("stop", "-t", "0.2", "flood")
    assert time.monotonic() - begin < 5
    process.send_signal(signal.SIGINT)  # it waits for us to read the rest: Ctrl-C ends that
    assert process.wait(10) == 137
    process.communicate()


def handles(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal, or has ended already (proc(5), SigCgt)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    caught = re.search(r"SigCgt:\s*(\w+)", status)
    return caught is None or bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("options", ["", "-d"])
def test_ctrl_c_at_any_moment_ends_it_and_leaves_no_process(plain: Box, options: str) -> None:
    for number in range(6):
        name = f"early{options}{number}"
        command = plain.person.command("run", "--rm", "--name", name, *options.split(), plain.image, "cat", "/dev/zero")
        process = plain.person.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until(partial(handles, process.pid, signal.SIGTERM))  # before that it is Python that is starting
        time.sleep(0.06 * number)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        _, said = process.communicate(timeout=10)
        assert process.returncode in (0, 130, 137, -2) and "Traceback" not in said, said
        if name in plain.containers():  # -d was faster
            plain.iechor("rm", "-f", "-t", "0", name)
    until(lambda: not plain.person.processes())
    assert not [name for name in plain.containers() if name.startswith("early")]


@contextmanager
def terminal(box: Box, *args: str) -> Iterator["Screen"]:
    """iechor with a terminal of 33 lines and 77 columns as its own, and its controlling one."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    before = termios.tcgetattr(slave)
    process = box.person.start("setsid", "-cw", *box.person.command(*args), stdin=slave, stdout=slave, stderr=slave,
                               start_new_session=False)
    screen = Screen(master, process)
    try:
        yield screen
        screen.ends()
        assert termios.tcgetattr(slave) == before
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


class Screen:
    def __init__(self, master: int, process: "subprocess.Popen[str]") -> None:
        self.master, self.process, self.text = master, process, ""

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def shows(self, pattern: str) -> "re.Match[str]":
        """Waits for `pattern` in what came since the last match."""
        deadline = time.monotonic() + 10
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        self.text = self.text[found.end():]
        return found

    def ends(self) -> int:
        deadline = time.monotonic() + 10
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            if select.select([self.master], [], [], 0.05)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        return self.process.returncode


def test_a_shell_on_a_terminal(box: Box) -> None:
    with terminal(box, "run", "--rm", "-it", box.image, "sh") as screen:
        screen.type("tty; stty size; echo size-$TERM\r")
        screen.shows(r"/dev/pts/\d+\s+33 77\s+size-xterm")
        screen.type("sleep 600\r")
        time.sleep(0.3)
        screen.type("\x03")
        screen.type("echo code-$?\r")
        screen.shows("code-130")
        fcntl.ioctl(screen.master, termios.TIOCSWINSZ, struct.pack("4H", 11, 22, 0, 0))
        screen.type("sleep 0.3; stty size\r")
        screen.shows("11 22")
        screen.type("exit 5\r")
        assert screen.ends() == 5


def test_exec_on_a_terminal(plain: Box) -> None:
    plain.detached("shell", "sleep 600")
    with terminal(plain, "exec", "-it", "shell", "sh") as screen:
        screen.type("tty; stty size; echo pid-$$\r")
        screen.shows(r"/dev/pts/\d+\s+33 77\s+pid-\d+")
        screen.type("exit 3\r")
        assert screen.ends() == 3
    plain.iechor("rm", "-f", "-t", "0", "shell")


def test_the_first_command_knows_the_size(plain: Box) -> None:
    """Not only from the moment on when it is followed."""
    plain.detached("sized", "sleep 600")
    for words in (["run", "--rm", "-it", plain.image], ["run", "--rm", "-t", plain.image], ["exec", "-it", "sized"],
                  ["exec", "-t", "sized"]):
        for _ in range(3):
            with terminal(plain, *words, "stty", "size") as screen:
                screen.shows("33 77")
                assert screen.ends() == 0
    plain.iechor("rm", "-f", "-t", "0", "sized")


def test_ctrl_c_without_a_terminal_inside(plain: Box) -> None:
    with terminal(plain, "run", "--rm", plain.image, "sh", "-c", HANDLER.format("INT")) as screen:
        screen.shows("ready")
        screen.type("\x03")
        screen.shows("got")
        assert screen.ends() == 9


def test_a_terminal_without_a_caller_that_has_one(plain: Box) -> None:
    """The end of the input is Ctrl-D there, so it does not hang."""
    done = plain.run("--rm -it", "sh", input="echo from the pipe\n", timeout=20, code=None)
    assert "\nfrom the pipe\n" in done.stdout
    plain.detached("kept", "tty; sleep 600", "-dt")
    until(lambda: plain.iechor("logs", "kept").stdout == "/dev/pts/0\n")
    plain.iechor("rm", "-f", "-t", "0", "kept")
