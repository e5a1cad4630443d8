"""The scheduler by itself: limits, waiting without a slot, the first error, and threads that are told to stop."""

import threading
from collections.abc import Callable

import pytest

from rootless_builder.errors import Interrupted, SourceError
from rootless_builder.events import Event, Notice
from rootless_builder.once import Once
from rootless_builder.schedule import Cancelled, Schedule


def test_one_job_is_the_callers_thread() -> None:
    done: list[tuple[int, threading.Thread]] = []
    with Schedule(1) as schedule:
        schedule.run([lambda n=n: done.append((n, threading.current_thread())) for n in range(3)])  # type: ignore[misc]
        schedule.begin(lambda: done.append((3, threading.current_thread())))
        schedule.ahead(lambda: done.append((4, threading.current_thread())))
    assert done == [(n, threading.main_thread()) for n in range(4)]


@pytest.mark.parametrize("jobs", [2, 3])
def test_so_many_work_at_once_and_no_more(jobs: int) -> None:
    lock, working, most = threading.Lock(), set[int](), list[int]()
    full = threading.Barrier(jobs)

    def work(number: int) -> None:
        with schedule.slot(), schedule.slot():  # the second is the same one
            with lock:
                working.add(number)
                most.append(len(working))
            full.wait(30)  # as many as that do work at once
            with lock:
                working.remove(number)

    with Schedule(jobs) as schedule:
        schedule.run([lambda n=n: work(n) for n in range(jobs * 4)])  # type: ignore[misc]
    assert max(most) == jobs


def test_who_waits_gives_the_slot_away() -> None:
    """Three that need a fourth, and slots for two."""
    with Schedule(2) as schedule:
        once: Once[str, int] = Once(schedule.waiting)
        begun = threading.Barrier(4)

        def needs() -> None:
            with schedule.slot():
                assert once.get("it", make) == 42

        def make() -> int:
            with schedule.waiting():
                begun.wait(30)
            return 42

        def others() -> None:
            for _ in range(3):
                with schedule.slot():
                    pass
            begun.wait(30)

        schedule.run([needs, needs, needs, others, others, others])


def test_the_first_error_is_told_and_ends_the_others() -> None:
    stopped, ended, going = threading.Event(), list[str](), threading.Event()

    def fails() -> None:
        going.wait(30)
        raise SourceError("first")

    def long() -> None:
        try:
            with schedule.slot():
                going.set()
                stopped.wait(30)
                schedule.check()
        except Cancelled:
            ended.append("cancelled")
            raise SourceError("second") from None

    with Schedule(0) as schedule, schedule.stopping(stopped.set):
        with pytest.raises(SourceError, match="first"):
            schedule.run([fails, long, long])
        with pytest.raises(Cancelled), schedule.stopping(stopped.set):
            pass
        assert ended == ["cancelled", "cancelled"]


def test_what_is_begun_ahead_ends_with_the_rest() -> None:
    stopped, ended = threading.Event(), threading.Event()
    said: list[Event] = []

    def ahead() -> None:
        stopped.wait(30)
        ended.set()

    def interrupted() -> None:
        raise Interrupted(2)

    with pytest.raises(Interrupted), Schedule(4) as schedule, schedule.stopping(stopped.set):
        schedule.gated(said.append)(Notice(text="one"))
        schedule.ahead(ahead)
        schedule.run([interrupted])
    assert ended.is_set() and len(said) == 1


def test_a_thread_that_does_not_end_says_nothing_more() -> None:
    held, told = threading.Event(), threading.Event()
    said: list[Event] = []

    def deaf(emit: Callable[[Event], None]) -> None:
        held.wait(30)
        emit(Notice(text="late"))
        told.set()

    with pytest.raises(Interrupted), Schedule(4) as schedule:
        emit = schedule.gated(said.append)
        schedule.ahead(lambda: deaf(emit))
        raise Interrupted(2)
    held.set()
    assert told.wait(30) and said == []
