import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import rootless_builder
from rootless_builder.threads import Crew, side_by_side, start

SHORT = """
import resource, sys
from rootless_builder.threads import Crew, side_by_side, start
from rootless_builder.layer.readahead import ReadAhead

size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]),) * 2)

class Source:
    left = 5
    def read(self, wanted):
        self.left -= 1
        return b"x" * 1000 if self.left > 0 else b""

try:
    done = []
    start(lambda: done.append(1)).join()
    assert done == [1]
except MemoryError:
    pass
try:
    assert side_by_side(lambda number: 2 * number, range(9), 3) == list(range(0, 18, 2))
    with ReadAhead(Source()) as stream:
        assert sum(len(stream.read(1000)) for _ in range(4)) == 4000
except MemoryError:
    pass
print("ended")
"""


@pytest.mark.parametrize("free", [0, 1 << 18, 1 << 20, 3 << 20, 8 << 20, 9 << 20, 12 << 20, 40 << 20, 100 << 20])
def test_it_begins_or_fails_and_never_waits_for_ever(free: int) -> None:
    """threading.Thread.start does, from 9 to 12 MB on where stacks have 8."""
    done = subprocess.run([sys.executable, "-c", SHORT, str(free)], capture_output=True, text=True, timeout=60, env={
        **os.environ, "PYTHONPATH": str(Path(rootless_builder.__file__).parents[1])}, check=False)
    assert done.returncode == 0 or "MemoryError" in done.stderr, done.stderr
    assert done.stdout == "ended\n" or "MemoryError" in done.stderr
    if free >= 100 << 20:
        assert (done.stdout, done.stderr) == ("ended\n", "")


def test_without_any_thread_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("rootless_builder.threads.start_new_thread", refuse)
    with pytest.raises(MemoryError, match="can't start"):
        start(list)
    assert side_by_side(str, range(5), 4) == ["0", "1", "2", "3", "4"]
    with Crew(3) as crew:
        assert [crew.result(job) for job in [crew.submit(lambda n=n: n + 1) for n in range(4)]] == [1, 2, 3, 4]


def test_a_thread_is_waited_for() -> None:
    go, seen = threading.Event(), []
    thread = start(lambda: (go.wait(), seen.append(1)))
    thread.join(0.01)
    assert thread.is_alive()
    go.set()
    thread.join()
    assert (thread.is_alive(), seen) == (False, [1])


def test_results_are_in_order_and_no_more_threads_than_allowed() -> None:
    there, most, lock = set(), [0], threading.Lock()

    def work(number: int) -> int:
        with lock:
            there.add(threading.get_ident())
            most[0] = max(most[0], len(there))
        return number * number

    assert side_by_side(work, range(200), 3) == [number * number for number in range(200)]
    assert most[0] <= 3


def test_the_first_error_ends_what_waits_and_is_told() -> None:
    stopped, done = threading.Event(), []

    def work(number: int) -> None:
        if number == 1:
            raise OSError("first")
        if number == 0:
            assert stopped.wait(20)
            raise ValueError("because of the first")
        done.append(number)

    with pytest.raises(OSError, match="first"):
        side_by_side(work, range(50), 2, failed=stopped.set)
    assert len(done) < 50


def test_a_signal_breaks_the_waiting_off() -> None:
    go, told = threading.Event(), []
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(InterruptedError("alarm")))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(InterruptedError, match="alarm"):
            side_by_side(lambda _: go.wait(30), range(3), 2, broken=lambda: (told.append(1), go.set()))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert told == [1]
