"""What a build does side by side: tasks in threads, a limit on how many of them work, and one end for all.

    stage tasks ──┐   wait for each other without a slot; take one for as long as they work
    tasks ahead ──┴─▶ slots (--jobs) ─▶ the first error ─▶ everything else is stopped, and that error is told

Whoever waits for another thread gives its slot back meanwhile (`waiting`), so no order of tasks can lock up.
Threads only compute, read and wait: processes are started by the sandbox server and by subprocess alone.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from .errors import Interrupted
from .events import Emit, Event
from .threads import Thread, start

PATIENCE = 0.7  # seconds for threads to end after a Ctrl-C; what they leave is swept by the next command
LONG_PATIENCE = 10.0  # after an error
_LOOK = 1.0  # seconds between two looks whether anybody still works

Task = Callable[[], object]


class Cancelled(Exception):
    """Raised in a thread whose work is not wanted any more. Never told: the reason is another thread's error."""


class Schedule:
    """A context manager; one for each build. jobs: how many steps work at once, 0: no limit. At 1 nothing is
    started ahead, and tasks run one after the other in the caller's thread."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._change = threading.Condition()
        self._free = jobs
        self._holding = threading.local()
        self._threads: list[Thread] = []
        self._stops: list[Task] = []
        self._failure: BaseException | None = None
        self._cancelled = False
        self._abandoned = False

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def run(self, tasks: Sequence[Task]) -> None:
        """Until all have ended. Errors: that of the first that failed, at once."""
        try:
            if self.jobs == 1 or len(tasks) == 1:
                for task in tasks:
                    task()
            else:
                self._run(tasks)
        except BaseException as error:
            self._end(error)
            raise

    def ahead(self, task: Task) -> None:
        """Begun now, for somebody who will ask for what it makes: it is they who meet its error, too."""
        def with_slot() -> None:
            with self.slot():
                task()

        if self.jobs != 1 and not self._cancelled:
            self._start(_quietly, with_slot)

    def begin(self, task: Task) -> None:
        """A task that somebody will wait for; with one job it is done at once."""
        if self.jobs == 1:
            task()
        else:
            self._start(_quietly, task)

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """The right to work; within another one it is the same. Errors: Cancelled."""
        if getattr(self._holding, "slot", False) or self.jobs == 1:
            self.check()
            yield
            return
        self._take()
        try:
            yield
        finally:
            if self._holding.slot:
                self._give()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While we wait for another thread, somebody else may have our slot. Errors: Cancelled."""
        held = getattr(self._holding, "slot", False)
        if held:
            self._give()
        yield
        if held:
            self._take()

    def check(self) -> None:
        """Errors: Cancelled."""
        if self._cancelled:
            raise Cancelled

    def gated(self, emit: Emit) -> Emit:
        """`emit`, but a thread that did not end in time says nothing any more."""
        def gate(event: Event) -> None:
            if not self._abandoned:
                emit(event)

        return gate

    @contextlib.contextmanager
    def stopping(self, stop: Task) -> Iterator[None]:
        """stop: ends what is done in this context, called from the thread that cancels; it does not wait.

        Errors: Cancelled.
        """
        with self._change:
            self.check()
            self._stops.append(stop)
        try:
            yield
        finally:
            with self._change:
                self._stops.remove(stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if any(thread.is_alive() for thread in self._threads):
            self._cancel()
            until = time.monotonic() + (PATIENCE if isinstance(error, Interrupted) else LONG_PATIENCE)
            for thread in self._threads:
                thread.join(max(0.0, until - time.monotonic()))
            self._abandoned = any(thread.is_alive() for thread in self._threads)

    def _run(self, tasks: Sequence[Task]) -> None:
        left = set(range(len(tasks)))

        def done(number: int, task: Task) -> None:
            try:
                task()
            except BaseException as error:  # noqa: BLE001 told by whoever called run
                self._failed(error)
            with self._change:
                left.discard(number)
                self._change.notify_all()

        for number, task in enumerate(tasks):
            self._start(done, number, task)
        with self._change:
            while left and self._failure is None:
                alive = any(thread.is_alive() for thread in self._threads)  # asked first: what they told is there then
                if not self._change.wait(_LOOK) and not alive and left and self._failure is None:
                    raise MemoryError("no memory to tell how the threads ended")
        if self._failure is not None:
            raise self._failure

    def _start(self, target: Callable[..., object], *args: object) -> None:
        """Errors: MemoryError."""
        self._threads.append(start(lambda: target(*args)))

    def _failed(self, error: BaseException) -> None:
        """Only the first counts: what fails after it does so because everything was stopped."""
        with self._change:
            if self._failure is None and not self._cancelled:
                self._failure = error

    def _cancel(self) -> None:
        with self._change:
            self._cancelled = True
            self._change.notify_all()
            for stop in self._stops:
                with contextlib.suppress(Exception):
                    stop()

    def _take(self) -> None:
        with self._change:
            while not self._cancelled and self.jobs and not self._free:
                self._change.wait()
            self.check()
            self._free -= 1
            self._holding.slot = True

    def _give(self) -> None:
        with self._change:
            self._free += 1
            self._holding.slot = False
            self._change.notify_all()


def _quietly(task: Task) -> None:
    with contextlib.suppress(Exception):
        task()
