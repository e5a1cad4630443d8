"""Builds whose steps mean harm, as the plain user, whole: bombs, output without end, sequences for the terminal."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.running import until

CGROUPS = Path("/sys/fs/cgroup")
MEGABYTES = 200
SOAK_MEGABYTES = 10_000
PEAK = 200 << 20  # bytes: what the builder may take, whatever a step writes
# Title, clipboard, "tell me your answerback", clear, cursor home, and what makes a line lie about its order.
SEQUENCES = (r"\033]0;owned\007\033]52;c;b3duZWQ=\007\033[5n\005\033[2J\033[1;1H\033P+q544e\033\\\202\233c"
             r"\342\200\256abc")


@pytest.fixture
def few() -> Iterator[Path]:
    """A control group of 200 processes, version 1 or 2."""
    parent = CGROUPS / "pids" if (CGROUPS / "pids").is_dir() else CGROUPS
    group = parent / f"iechor-test-{os.getpid()}"
    group.mkdir()
    (group / "pids.max").write_text("200")
    yield group
    until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@pytest.fixture
def small() -> Iterator[Path]:
    """A control group of 300 MiB of memory, version 1 or 2."""
    first = (CGROUPS / "memory").is_dir()
    group = (CGROUPS / "memory" if first else CGROUPS) / f"iechor-test-{os.getpid()}"
    group.mkdir()
    (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(300 << 20))
    yield group
    until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def context(person: Person, text: str) -> Path:
    return person.write("c/iEchorfile", "FROM busybox\n" + text).parent


def build_within(group: Path, user: Person, script: str) -> "subprocess.Popen[str]":
    enter = 'echo $$ >"$1/cgroup.procs" && shift && exec setpriv --reuid "$0" --regid "$0" --clear-groups "$@"'
    words = user.command("build", "--progress=plain", "-t", "x", context(user, f"RUN {script}\n"))
    return subprocess.Popen(["sh", "-c", enter, str(user.uid), str(group), *words], env=user.environment(),
                            cwd=user.home, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_fork_bomb_ends_with_the_build(user: Person, few: Path) -> None:
    """It fills its control group, as fast as it can; Ctrl-C ends the builder, and with it all of them."""
    bomb = "echo begun; b() { b | b & b; }; (b 2>/dev/null); exec sleep 1000"
    build = build_within(few, user, bomb)
    until(lambda: int((few / "pids.events").read_text().split()[1]) > 0, 60)  # so often was a fork refused
    build.send_signal(signal.SIGINT)
    told = build.communicate(timeout=60)[1]
    assert build.returncode == 130 and "Traceback" not in told, told
    until(lambda: not user.processes() and int((few / "pids.current").read_text()) == 0, 30)
    assert not list(user.store.glob("tmp/*")) and not list(user.scratch.glob("*/run/*"))


def test_a_memory_bomb_fails_its_step_alone(user: Person, small: Path) -> None:
    """The kernel kills the largest of the control group, which the builder is not; the step's end is told as it is."""
    build = build_within(small, user, "tail -c 1000000000 /dev/zero | wc -c; exit 3")
    told = build.communicate(timeout=120)[1]
    assert build.returncode == 6 and "exit code 3" in told and "Traceback" not in told, told
    until(lambda: not user.processes(), 30)
    assert user.iechor("check").returncode == 0


def test_a_step_that_kills_all_it_sees_kills_nothing_of_ours(user: Person) -> None:
    """Its init does not mind; nor do another build of the same user, and the builder."""
    other = user.write("other/iEchorfile", "FROM busybox\nRUN echo begun; sleep 3; echo done > /done\n").parent
    running = user.start(*user.command("build", "-t", "other", other), stderr=subprocess.DEVNULL)
    script = "RUN kill -9 -1; kill -9 1; kill -STOP 1; for p in 2 3 4 5; do [ $p = $$ ] || kill -9 $p; done; exit 4\n"
    done = user.iechor("build", "--progress=plain", context(user, script), code=6)
    assert "exit code 4" in done.stderr
    assert running.wait(60) == 0


SEARCH = """FROM busybox AS owner
RUN --mount=type=secret,id=s,env=TOKEN test -n "$TOKEN" && sleep 4
FROM busybox
COPY . /given
RUN --mount=type=bind,target=/ctx,rw --mount=type=bind,target=/fixed \\
    printf '%s%s' {} {} >/pattern; echo changed >/ctx/file; rm -rf /ctx/folder; (echo changed >/fixed/file) 2>&-; \\
    echo searching; grep -rlf /pattern /dev/shm /etc /home /root /run /tmp /usr /var /given /ctx /fixed \\
    /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/root/home 2>/dev/null; \\
    ls -d {} 2>/dev/null; kill -0 {} 2>/dev/null && echo {}; rm /pattern
COPY --from=owner /bin/sh /other
"""


def test_a_step_sees_nothing_that_it_was_not_given(user: Person) -> None:
    """While another step has a secret: neither that, nor the home, the store, other processes, ignored files; and what
    it writes into the context stays in the sandbox.
    """
    mark = f"planted{os.urandom(12).hex()}"
    private = user.write("private", mark)
    user.write("c/.iechorignore", "ignored\n")
    for path in ("c/ignored", "outside/file"):
        user.write(path, mark)
    user.write("c/folder/file", "as it was\n")
    file = user.write("c/file", "as it was\n")
    other = user.start("sleep", "600", env={"MARK": mark})
    try:
        user.write("c/iEchorfile", SEARCH.format(mark[:20], mark[20:], f"{private} {user.store} {user.scratch}",
                                                 other.pid, other.pid))
        done = user.iechor("build", "--progress=plain", "--secret", "id=s,env=GIVEN", user.home / "c",
                           env={"GIVEN": mark})
        said = [line.split(" ", 2)[-1] for line in done.stderr.splitlines() if re.match(r"#\d+ +\d", line)]
        assert said == ["searching"], done.stderr
    finally:
        other.kill()
        other.wait()
    assert file.read_text() == "as it was\n" and (user.home / "c/folder/file").read_text() == "as it was\n"


def peak_of(user: Person, *words: str | Path) -> tuple[int, int, int]:
    """(exit code, bytes of the process's largest size, bytes it wrote to stderr)."""
    process = user.start(*user.command(*words), stderr=subprocess.PIPE)
    assert process.stderr is not None
    seen = [0]

    def drain() -> None:
        while data := os.read(process.stderr.fileno(), 1 << 20):
            seen[0] += len(data)

    reader = threading.Thread(target=drain)
    reader.start()
    peak = 0
    while process.poll() is None:  # wait4(2) would tell of the test's own size too, from which it was forked
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        time.sleep(0.02)
    reader.join()
    return process.returncode, peak * 1024, seen[0]


def flood(user: Person, megabytes: int, progress: str) -> None:
    """With newlines and without one; then the step fails, so that its log stays."""
    size = f"{megabytes}000000"
    text = (f"RUN yes $(seq 1000) | head -c {size}; tr '\\0' x </dev/zero | head -c {size}; echo; echo the end; "
            "false\n")
    code, peak, shown = peak_of(user, "build", f"--progress={progress}", context(user, text))
    assert code == 6 and peak < PEAK, (code, peak)
    assert shown > 2 * megabytes * 900_000 or progress == "quiet"
    logs = [path for path in user.home.rglob("step-*.log") if path.stat().st_size]
    assert len(logs) == 1 and logs[0].stat().st_size < 70 << 20
    end = logs[0].read_bytes()[-30_000:].decode()
    assert "bytes more are left out" in end and end.endswith("the end\n")


@pytest.mark.parametrize("progress", ["plain", "quiet"])
def test_output_without_end_takes_no_memory_and_little_disk(user: Person, progress: str) -> None:
    flood(user, MEGABYTES // 2, progress)


@pytest.mark.soak
def test_ten_gigabytes_of_output(user: Person) -> None:
    flood(user, SOAK_MEGABYTES // 2, "plain")


def obeyed(shown: str) -> list[str]:
    """What a terminal would do something about, but colours, cursor moves of our own region and line ends."""
    own = re.compile(r"\x1b\[[0-9;]*[mKAGHJ]|\x1b\[\?25[lh]|[\r\n\t]")
    return re.findall(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", own.sub("", shown))


def test_the_lines_renderer_passes_no_sequence_on(user: Person) -> None:
    done = user.iechor("build", "--progress=plain", context(user, f"RUN printf '{SEQUENCES}\\n'; false\n"), code=6)
    assert obeyed(done.stderr) == [] and "\x1b" not in done.stderr
    assert "abc" in done.stderr


def test_the_terminal_renderer_passes_no_sequence_on(user: Person) -> None:
    """On a real terminal, whose other end we are: no title, no clipboard, no question that the terminal answers."""
    master, slave = pty.openpty()
    script = f"RUN for i in 1 2 3; do printf '{SEQUENCES}\\n'; sleep 0.3; done; false\n"
    build = user.start(*user.command("build", "--progress=tty", context(user, script)), stdin=slave, stdout=slave,
                       stderr=slave, env={"TERM": "xterm-256color"})
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 1 << 16)
        except OSError:  # EIO: nobody has the other end any more
            break
        shown += data
    os.close(master)
    text = shown.decode("utf-8", "replace")
    assert build.wait(20) == 6
    assert obeyed(text) == [] and "abc" in text
    for sequence in ("\x1b[2J", "\x1b[1;1H", "\x1b]", "\x1b[5n", "\x1bP"):
        assert sequence not in text


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_of_the_builder(user: Person, closed: str) -> None:
    """The store's files must not become what a step writes to."""
    folder = context(user, "RUN echo to stdout; echo to stderr >&2; cat\n")
    words = user.command("build", "--progress=plain", "-t", "x", folder)
    done = user.run("sh", "-c", f'exec "$@" {closed}', "sh", *words)
    assert done.returncode == 0, done
    assert user.iechor("check").returncode == 0
