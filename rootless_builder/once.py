"""Work that several threads ask for and one of them does: the others wait and take what came of it."""

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Work(Generic[Value]):
    __slots__ = ("done", "error", "value")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.value: Value | None = None


class Once(Generic[Key, Value]):
    """key → value, made at the first asking; an error is kept and raised again like a value.

    waiting: a context for the time in which a thread waits for another one's work.
    """

    def __init__(self, waiting: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
                 ) -> None:
        self._waiting = waiting
        self._lock = threading.Lock()
        self._works: dict[Key, _Work[Value]] = {}

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """make() of whoever came first. Errors: what it raised."""
        with self._lock:
            work = self._works.get(key)
            if work is None:
                mine = self._works[key] = _Work()
        if work is None:
            try:
                mine.value = value = make()
            except BaseException as error:
                mine.error = error
                raise
            finally:
                mine.done.set()
            return value
        if not work.done.is_set():
            with self._waiting():
                work.done.wait()
        if work.error is not None:
            raise work.error
        return work.value  # type: ignore[return-value]  # done without an error: make() has returned

    def known(self, key: Key) -> Value | None:
        """The value, None while there is none."""
        work = self._works.get(key)
        return None if work is None else work.value
