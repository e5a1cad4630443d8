"""Threads that begin, or are said not to have begun.

threading.Thread.start waits for ever for a thread that had no memory to begin: it dies before it says so. Here who
starts one sees its death. Where none can begin, work that does not need a thread is done without.

    start(work) → Thread          MemoryError where there is none
    Crew(most).submit(work) → Job ─▶ Crew.result(job)       done by a few threads, or by who asks for the result
    side_by_side(work, items, most) → results               the first error ends them all
"""

import contextlib
from _queue import SimpleQueue
from _thread import allocate_lock, start_new_thread
from _weakref import ref
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK = 0.05  # seconds between two looks whether a thread still lives


class _Token:
    """Held by a thread for as long as there is one."""

    __slots__ = ("__weakref__",)


class Thread:
    """A thread that works: `start` makes it. The interpreter does not wait for it when it ends."""

    __slots__ = ("_begun", "_ended", "_gone", "_work")

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._begun, self._ended = allocate_lock(), allocate_lock()
        self._begun.acquire()
        self._ended.acquire()
        token = _Token()
        self._gone = ref(token)
        start_new_thread(self._run, (token,))

    def _run(self, token: _Token) -> None:
        self._begun.release()  # needs no memory: what a thread needs before it can come this far is the question
        try:
            self._work()
        finally:
            self._ended.release()

    def has_begun(self) -> bool:
        """Waits until it has, or has died of it."""
        while not self._begun.acquire(timeout=_LOOK):
            if self._gone() is None:
                return self._begun.acquire(blocking=False)
        return True

    def is_alive(self) -> bool:
        return self._ended.locked() and self._gone() is not None

    def join(self, timeout: float = -1) -> None:
        """Until it has ended, or for so many seconds."""
        if self._ended.acquire(timeout=timeout):
            self._ended.release()


def start(work: Callable[[], object]) -> Thread:
    """A thread that does `work`, which raises nothing. Errors: MemoryError, also where no more threads are allowed."""
    try:
        thread = Thread(work)
    except RuntimeError as error:  # pthread_create(3): EAGAIN
        raise MemoryError(str(error)) from error
    if not thread.has_begun():
        raise MemoryError("no memory for a thread")
    return thread


class Job(Generic[Result]):
    """Something to be done once. Made by Crew.submit."""

    __slots__ = ("_done", "_taken", "_work", "error", "value")
    value: Result

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._taken, self._done = allocate_lock(), allocate_lock()
        self._done.acquire()
        self.error: BaseException | None = None

    def do(self) -> None:
        """By whoever comes first."""
        if self._taken.acquire(blocking=False):
            try:
                self.value = self._work()
            except BaseException as error:  # noqa: BLE001 it is told to who asks for the result
                self.error = error
            finally:
                self._done.release()

    def cancel(self) -> None:
        self._taken.acquire(blocking=False)

    def wait(self, timeout: float) -> bool:
        """Whether it is done."""
        if not self._done.acquire(timeout=timeout):
            return False
        self._done.release()
        return True


class Crew:
    """At most `most` threads, each begun when there is work for it. Context manager: at its end what has not begun is
    dropped, and what has is waited for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads: list[Thread] = []
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()

    def submit(self, work: Callable[[], Result]) -> Job[Result]:
        job = Job(work)
        self._jobs.put(job)
        if len(self._threads) < self._most:
            try:
                self._threads.append(start(self._work_off))
            except MemoryError:
                self._most = 0  # those there are have to do
        return job

    def is_done(self, job: Job[Any]) -> bool:
        """Waits for a moment. Where there is no thread (any more), it is done now."""
        if not job.wait(_LOOK) and not any(thread.is_alive() for thread in self._threads):
            job.do()
        return job.wait(0)

    def result(self, job: Job[Result]) -> Result:
        """Waits for it. Errors: those of its work."""
        while not self.is_done(job):
            pass
        if job.error is not None:
            raise job.error
        return job.value

    def close(self) -> None:
        """Drops what has not begun; does not wait."""
        with contextlib.suppress(Exception):  # Empty
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.cancel()
        for _ in self._threads:
            self._jobs.put(None)

    def join(self) -> None:
        """After `close`: until what had begun has ended."""
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
        self.join()

    def _work_off(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.do()


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], most: int, *, joined: bool = True,
                 failed: Callable[[], object] = bool, broken: Callable[[], object] = bool) -> list[Result]:
    """`work` on each item in at most `most` threads; results in order.

    joined: what has begun is waited for, after an error too. failed: called in the thread of whoever fails, so that
    others may end soon. broken: called when the waiting is broken off, by a signal. Errors: the first.
    """
    errors: list[BaseException] = []

    def one(item: Item) -> Result:
        try:
            return work(item)
        except BaseException as error:
            errors.append(error)
            failed()
            raise

    crew = Crew(most)
    try:
        jobs = [crew.submit(partial(one, item)) for item in items]
        while not errors and not all(map(crew.is_done, jobs)):
            pass
    except BaseException:
        broken()
        raise
    finally:
        crew.close()
        if joined:
            crew.join()
    if errors:
        raise errors[0]
    return [job.value for job in jobs]
