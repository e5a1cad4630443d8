"""Progress on a terminal: what is done stays above, what runs now is redrawn below it, with its last lines.

    [2/4] RUN apt-get update        12.3s     done: one line, for good
    [3/4] RUN pip install flask      4.1s     running: redrawn
       Collecting flask
       Downloading flask-3.0.3.tar.gz
    pulling debian:12 sha256:0123456789ab 5.2MB / 29MB
"""

import threading
import time
from collections import deque
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live as Region
from rich.text import Text

from .. import events
from ..events import Event
from ..values import dataclass
from .terminal import Lines, clean
from .wording import finding, title, transfer

TAIL = 5  # last lines of a running step


class Running:
    """A step that has started and not finished."""

    def __init__(self, event: events.StepStarted) -> None:
        self.title = title(event)
        self.started = time.monotonic()
        self.lines = {1: Lines(), 2: Lines()}
        self.tail: deque[str] = deque(maxlen=TAIL)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the region draws, as values: rich's own thread draws, and must not wait for a lock of ours, since we
    print (which waits for rich's lock) while we hold it."""

    running: tuple[tuple[str, float, tuple[str, ...]], ...] = ()  # title, when it started, last lines
    transfers: tuple[str, ...] = ()


class Live:
    """The region stands while something runs; it is taken down before anything else writes to the terminal."""

    def __init__(self, out: TextIO, *, color: bool) -> None:
        self._console = Console(file=out, no_color=not color, highlight=False, soft_wrap=False, force_terminal=True)
        self._region: Region | None = None
        self._running: dict[int, Running] = {}
        self._transfers: dict[str, events.Transfer] = {}
        self._notices: set[str] = set()
        self._shown = Shown()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            said = self._take(event)
            self._shown = Shown(tuple((step.title, step.started, tuple(step.tail)) for step in self._running.values()),
                                tuple(map(transfer, self._transfers.values())))
            active = bool(self._running or self._transfers)
            if not active:
                self._fall()
            if said is not None:
                self._console.print(said, overflow="ellipsis", no_wrap=True)
            if active:
                self._stand()

    def _take(self, event: Event) -> Text | None:
        """Takes the event in; what it leaves to say for good, above the region."""
        match event:
            case events.StepStarted():
                self._running[event.step] = Running(event)
            case events.StepCached() if event.step in self._running:
                return Text(f"{self._running.pop(event.step).title}  CACHED", style="cyan")
            case events.StepOutput() if event.step in self._running:
                running = self._running[event.step]
                running.tail.extend(running.lines[event.stream].feed(event.data))
            case events.StepFinished() if event.step in self._running:
                effect = f"  {clean(event.effect)}" if event.effect else ""
                return Text.assemble((f"{self._running.pop(event.step).title}  ", "blue"), f"{event.seconds:.1f}s",
                                     (effect, "dim"))
            case events.StepCancelled() if event.step in self._running:
                return Text(f"{self._running.pop(event.step).title}  CANCELED", style="dim")
            case events.Transfer():
                return self._move(event)
            case events.ImageTagged():
                return Text(clean(f"tagged {event.name}"))
            case events.ImageBuilt():
                return Text(f"built {event.image_id} in {event.seconds:.1f}s", style="bold")
            case events.Notice() if event.text not in self._notices:
                self._notices.add(event.text)
                return Text(clean(f"{event.level}: {event.text}"), style="yellow")
            case events.CheckFound():
                head, *lines = finding(event)
                return Text.assemble((f"warning: {head}", "yellow"), *(f"\n{line}" for line in lines))
        return None

    def _move(self, event: events.Transfer) -> Text | None:
        if event.total and event.done >= event.total:
            moving = self._transfers.pop(event.digest, None)
            return Text(f"{transfer(event)} done", style="dim") if moving else None
        self._transfers[event.digest] = event
        return None

    def _stand(self) -> None:
        if self._region is None:
            self._region = Region(console=self._console, get_renderable=self._drawn, transient=True,
                                  refresh_per_second=8, redirect_stdout=False, redirect_stderr=False)
            self._region.start()

    def _fall(self) -> None:
        region, self._region = self._region, None
        if region:
            region.stop()

    def close(self) -> None:
        """Takes the region down, whatever still runs: an error is about to be shown."""
        with self._lock:
            self._running.clear()
            self._transfers.clear()
            self._fall()

    def _drawn(self) -> RenderableType:
        shown, now = self._shown, time.monotonic()
        parts: list[Text] = []
        for name, started, tail in shown.running:
            parts.append(Text.assemble((f"{name}  ", "bold blue"), f"{now - started:.1f}s"))
            parts += [Text(f"   {line}", style="dim") for line in tail]
        parts += [Text(line, style="dim") for line in shown.transfers]
        for part in parts:
            part.no_wrap, part.overflow = True, "ellipsis"
        return Group(*parts)
