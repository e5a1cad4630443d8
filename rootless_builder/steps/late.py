"""The layer of a RUN, written while the next RUN is at work.

    RUN n ends ─▶ its upper folder, a lower without a name ─▶ RUN n + 1 begins on it        stage's thread
                       └─▶ packed, hashed, synced, recorded ─▶ named by its digest          another thread

Whoever needs the digest waits for it: that is the end of RUN n + 1, before its own layer begins. So there is never more
than one for each stage, and what is recorded is on the disk as ever.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import IechorError, Interrupted
from ..once import Once
from ..plan.steps import Step
from ..store.buildcache import StepRecord
from ..store.images import LayerRef

if TYPE_CHECKING:
    from ..scratch.adoption import AdoptedLayer

Waiting = Callable[[], contextlib.AbstractContextManager[object]]


class LateLayer:
    """Threads share it. Context manager: for the step that comes next. If that fails, this one's layer is kept all the
    same; if this one's cannot be written, it is that what is raised.

    below: the layers it lies on. facts: what its record will say of "created" and "effect". write: makes its record, in
    whichever thread asks first, then `rest` is closed; waiting: a context for others meanwhile.
    """

    def __init__(self, step: Step, below: tuple[LayerRef, ...], adopted: "AdoptedLayer", facts: Mapping[str, str],
                 rest: contextlib.ExitStack, write: Callable[[], StepRecord], waiting: Waiting) -> None:
        self.step = step
        self.facts = facts
        self.failure: BaseException | None = None
        self._below = below
        self._adopted = adopted
        self._rest = rest
        self._write = write
        self._once: Once[None, StepRecord] = Once(waiting)
        self._lock = threading.Lock()  # of where it lies, and of what is to be stopped
        self._stop: Callable[[], object] = bool

    def record(self) -> StepRecord:
        """Written now, unless another thread does so or has. Errors: those of `write`, pointing at its own step."""
        return self._once.get(None, self._written)

    @contextlib.contextmanager
    def staying(self) -> "Iterator[AdoptedLayer]":
        """It does not move: for as long as a sandbox needs to mount it."""
        with self._lock:
            yield self._adopted

    @contextlib.contextmanager
    def stopping(self, stop: Callable[[], object]) -> Iterator[None]:
        """stop: called when the layer cannot be written, by the thread that finds out. Errors: why it could not."""
        with self._lock:
            self.check()
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = bool

    def check(self) -> None:
        """Errors: why it could not be written."""
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        failed = isinstance(error, IechorError) and not isinstance(error, Interrupted)
        if failed:
            with contextlib.suppress(Exception):
                self.record()
        with self._lock, contextlib.suppress(IechorError):
            self._adopted.discard()
        if failed:
            self.check()

    def _written(self) -> StepRecord:
        try:
            with self._rest:
                record = self._write()
            if record.diff_id is not None:
                with self._lock:
                    self._adopted.publish(record.diff_id, [layer.diff_id for layer in self._below])
        except BaseException as error:
            if isinstance(error, IechorError):
                error.at(self.step.shown.span)
            with self._lock:
                self.failure = error
                self._stop()
            raise
        return record
