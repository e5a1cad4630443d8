"""`-t`: a terminal of the container's own, ours raw meanwhile, and put back."""

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time

from tests.sandbox.conftest import Box

SUPERVISE = """
sandbox = launch(read_spec(open("spec.json").read(), ids))
status = supervise(sandbox, terminal=(0, 1))
sandbox.close()
print("ended", status.code, flush=True)
"""


class Screen:
    """Our end of a pseudo terminal with somebody's program at the other."""

    def __init__(self, box: Box, code: str, rows: int = 33, columns: int = 77) -> None:
        self.master, self.slave = os.openpty()
        self.resize(rows, columns)
        os.fchown(self.slave, box.person.uid, -1)
        self.process = box.person.start(*box.script_command(code), stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: str, seconds: float = 20) -> str:
        """Everything up to and with `text`."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert select.select([self.master], [], [], max(0, end - time.monotonic()))[0], self.seen
            self.seen += os.read(self.master, 4096).decode()
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        self.process.wait(timeout=20)
        os.close(self.master)
        os.close(self.slave)


def test_the_command_has_a_terminal_of_its_own(box: Box) -> None:
    script = ("tty; until stty size 2>/dev/null | grep .; do sleep 0.1; done; "
              "test -t 0 && test -t 1 && test -t 2; echo $?; ls -l /dev/console | cut -c1; cat /dev/tty")
    box.person.write("spec.json", box.spec("sh", "-c", script, tty=True).to_json())
    screen = Screen(box, SUPERVISE)
    assert screen.expect("c\r\n").splitlines() == ["/dev/pts/0", "33 77", "0", "c"]
    screen.type("typed\r")
    screen.expect("typed\r\ntyped\r\n")
    screen.type("\x04")
    screen.expect("ended 0")
    screen.close()


def test_keys_are_the_containers_and_the_terminal_comes_back(box: Box) -> None:
    """Ctrl-C goes through as a key and becomes SIGINT inside; afterwards our terminal is as it was."""
    script = "trap 'echo INT; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    box.person.write("spec.json", box.spec("sh", "-c", script, tty=True, init=True).to_json())
    screen = Screen(box, SUPERVISE)
    before = termios.tcgetattr(screen.slave)
    screen.expect("ready")
    assert not termios.tcgetattr(screen.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    screen.type("\x03")
    screen.expect("INT")
    screen.expect("ended 9")
    assert termios.tcgetattr(screen.slave) == before
    screen.close()


def test_the_window_size_follows(box: Box) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    box.person.write("spec.json", box.spec("sh", "-c", script, tty=True, size=(33, 77), init=True).to_json())
    screen = Screen(box, SUPERVISE)
    screen.expect("ready")
    screen.resize(11, 22)
    screen.process.send_signal(signal.SIGWINCH)  # in a session of its own, it is not told by the kernel here
    screen.expect("11 22")
    screen.expect("ended 0")
    screen.close()


def test_a_terminal_for_a_plain_user_of_the_image(many_ids: Box) -> None:
    box = many_ids
    box.person.write("spec.json", box.spec("sh", "-c", "id -u; stat -c %u $(tty); echo x > /dev/tty", tty=True,
                                           user="app").to_json())
    screen = Screen(box, SUPERVISE)
    assert screen.expect("ended 0").splitlines() == ["1000", "1000", "x", "ended 0"]
    screen.close()


def test_output_is_whole_when_the_command_ends_at_once(box: Box) -> None:
    box.person.write("spec.json", box.spec("seq", "1", "3000", tty=True).to_json())
    screen = Screen(box, SUPERVISE)
    assert screen.expect("ended 0").splitlines()[:-1] == [str(n) for n in range(1, 3001)]
    screen.close()


def test_without_a_terminal_of_ours_the_output_still_comes(box: Box) -> None:
    box.person.write("spec.json", box.spec("sh", "-c", "read line; echo got $line; tty", tty=True).to_json())
    process = box.person.start(*box.script_command(SUPERVISE), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    out, err = process.communicate("hello\n", timeout=20)
    assert (out.splitlines(), err) == (["hello", "got hello", "/dev/pts/0", "ended 0"], "")


def test_exec_with_a_terminal(box: Box) -> None:
    code = """
spec = read_spec(open("spec.json").read(), ids)
with Launcher() as launcher:
    first = launcher.launch(spec)
    os.read(first.outputs[1], 10)
    shown = "tty; stty size; ps -o comm > /tmp/n; wc -l < /tmp/n"
    second = launcher.join(first.pid, dataclasses.replace(spec, argv=("sh", "-c", shown), tty=True, size=(33, 77)))
    status = supervise(second, terminal=(0, 1))
    second.close()
    first.close()
print("ended", status.code, flush=True)
"""
    box.person.write("spec.json", box.spec("sh", "-c", "echo up; sleep 1000").to_json())
    screen = Screen(box, code)
    # ps shows its header, pid 1, sh, ps
    assert screen.expect("ended 0").splitlines() == ["/dev/pts/0", "33 77", "4", "ended 0"]
    screen.close()
