"""One command measured: wall-clock seconds, CPU seconds and the peak memory of its whole process tree."""

import ctypes
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL = 0.02  # seconds between two looks at the memory of the tree
DEADLINE = 900.0  # seconds for one command
PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class Times:
    """What the rounds of one workload gave one contender. wall, cpu: seconds; memory: bytes; error: why no more."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    error: str = ""

    def median(self, what: str = "wall") -> float | None:
        figures = getattr(self, what)
        return statistics.median(figures) if figures else None


class Failed(Exception):
    """A command of a contender did not do its work; the text is its last line."""


def run(argv: Sequence[str], *, also: Iterable[int] = ()) -> tuple[float, float, int]:
    """(wall seconds, CPU seconds, peak bytes) of one command; also: daemons that work for it, whose growth of CPU time
    and whose memory count too. Errors: Failed.
    """
    daemons = list(also)
    before = sum(_cpu(pid) for daemon in daemons for pid in _tree(daemon))
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        child = start(argv, output.fileno())
        watch = _Watch([child.pid, *daemons])
        killer = threading.Timer(DEADLINE, end_tree, [child.pid])
        killer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
            wall = time.perf_counter() - began
            child.returncode = os.waitstatus_to_exitcode(status)
        finally:
            killer.cancel()
            peak = watch.stop()
            if child.returncode is None:
                end_tree(child.pid)
        if child.returncode != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").split("\n")
            said = next((line.strip() for line in reversed(lines) if line.strip() and not line.startswith("hint:")),
                        f"exit code {child.returncode}")
            raise Failed(said[:200] if wall < DEADLINE else f"not done after {DEADLINE:.0f} s")
    grown = sum(_cpu(pid) for daemon in daemons for pid in _tree(daemon)) - before
    return wall, usage.ru_utime + usage.ru_stime + max(grown, 0.0), max(peak, usage.ru_maxrss * 1024)


def start(argv: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
    """In a session of its own: Ctrl-C at the terminal is for us, who then end it."""
    return subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def adopt_orphans() -> None:
    """What the contenders leave behind becomes our child, whatever its user: `end_rest` finds it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_tree(pid: int) -> None:
    for one in reversed(_tree(pid)):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def end_rest() -> None:
    """Every process that came from us and still is."""
    while len(tree := _tree(os.getpid())) > 1:
        for pid in tree[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


def drop_caches() -> None:
    """Nothing of any file is in memory afterwards (root only)."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def used(*folders: Path) -> tuple[int, int]:
    """(bytes, inodes) on disk below `folders`; a file of several names counts once."""
    seen: set[tuple[int, int]] = set()
    size = 0
    for folder in folders:
        for here, names, files in os.walk(folder):
            for name in [".", *names, *files]:
                info = os.lstat(os.path.join(here, name))
                if (info.st_dev, info.st_ino) not in seen:
                    seen.add((info.st_dev, info.st_ino))
                    size += info.st_blocks * 512
    return size, len(seen)


class _Watch:
    """The most memory that the processes below `roots` had at one time: the sum of their resident sets, what they
    share counted once for each (so it is never too little)."""

    def __init__(self, roots: list[int]) -> None:
        self._roots = roots
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(INTERVAL):
            self._peak = max(self._peak, sum(_resident(pid) for root in self._roots for pid in _tree(root)))

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak


def _tree(pid: int) -> list[int]:
    """The process and all below it."""
    found, pending = [], [pid]
    while pending:
        here = pending.pop()
        found.append(here)
        try:
            for task in os.listdir(f"/proc/{here}/task"):
                pending += map(int, Path(f"/proc/{here}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _cpu(pid: int) -> float:
    """Of the process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
