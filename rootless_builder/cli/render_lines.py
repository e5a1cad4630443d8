"""Progress that is written once and never redrawn, as plain lines."""

from __future__ import annotations

import time
from _thread import allocate_lock  # what threading calls Lock; a build that has nothing to do needs no more of it

from .. import events
from .terminal import Lines, clean
from .wording import finding, title, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from ..events import Event

TRANSFER_EVERY = 2.0  # seconds between two plain lines about one blob


class Plain:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = allocate_lock()
        self._started: dict[int, float] = {}
        self._lines: dict[tuple[int, int], Lines] = {}
        self._last_step: int | None = None
        self._transfers: dict[str, float] = {}
        self._notices: set[str] = set()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._show(event)
            self._out.flush()

    def _show(self, event: Event) -> None:
        match event:
            case events.StepStarted():
                self._started[event.step] = time.monotonic()
                self._step(event.step, title(event))
            case events.StepCached():
                self._step(event.step, "CACHED")
            case events.StepMissed():
                self._step(event.step, clean(f"not cached: {event.reason}"))
            case events.StepOutput():
                lines = self._lines.setdefault((event.step, event.stream), Lines())
                self._output(event.step, lines.feed(event.data))
            case events.StepFinished():
                self._finished(event)
            case events.StepCancelled():
                self._rest(event.step)
                self._step(event.step, "CANCELED")
            case events.Transfer():
                self._transfer(event)
            case events.ImageTagged():
                self._say(clean(f"tagged {event.name}"))
            case events.ImageBuilt():
                self._say(f"built {event.image_id} in {event.seconds:.1f}s")
            case events.Notice():
                self._notice(event)
            case events.CheckFound():
                self._say_again("\n".join(["warning: " + finding(event)[0], *finding(event)[1:]]))
            case events.LayerWritten():
                pass  # said with the step's effect

    def _step(self, step: int, text: str) -> None:
        """A blank line wherever the talk goes over to another step."""
        if self._last_step not in (None, step):
            self._out.write("\n")
        self._last_step = step
        self._out.write(f"#{step} {text}\n")

    def _say(self, text: str) -> None:
        if self._last_step is not None:
            self._out.write("\n")
        self._last_step = None
        self._out.write(f"{text}\n")

    def _output(self, step: int, lines: list[str]) -> None:
        since = time.monotonic() - self._started.get(step, time.monotonic())
        for line in lines:
            self._step(step, f"{since:.3f} {line}".rstrip())

    def _rest(self, step: int) -> None:
        """What it wrote last, without a newline."""
        for stream in (1, 2):
            lines = self._lines.pop((step, stream), None)
            self._output(step, lines.rest() if lines else [])

    def _finished(self, event: events.StepFinished) -> None:
        self._rest(event.step)
        effect = f" {clean(event.effect)}" if event.effect else ""
        self._step(event.step, f"DONE {event.seconds:.1f}s{effect}")

    def _transfer(self, event: events.Transfer) -> None:
        """Each blob's first and last word, and one now and then between."""
        now = time.monotonic()
        complete = bool(event.total) and event.done >= event.total
        if complete or now - self._transfers.get(event.digest, float("-inf")) >= TRANSFER_EVERY:
            self._transfers[event.digest] = float("inf") if complete else now
            self._say_again(transfer(event) + (" done" if complete else ""))

    def _say_again(self, text: str) -> None:
        """Lines about blobs stand together, without blank lines between them."""
        if self._last_step is not None:
            self._say(text)
        else:
            self._out.write(f"{text}\n")

    def _notice(self, event: events.Notice) -> None:
        if event.text not in self._notices:
            self._notices.add(event.text)
            self._say_again(clean(f"{event.level}: {event.text}"))
