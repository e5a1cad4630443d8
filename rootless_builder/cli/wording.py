"""Events in words, the same for every renderer."""

from .. import events
from ..span import Span
from .terminal import clean


def title(event: events.StepStarted) -> str:
    """[2/4] RUN make, [builder 2/4] RUN make; the first stage without a name goes without saying."""
    stage = f"stage-{event.stage}" if event.stage.isdecimal() else event.stage
    stage = "" if stage in ("", "stage-0") else f"{stage} "
    return clean(f"[{stage}{event.number}/{event.total}] {' '.join(event.text.split())}")


def transfer(event: events.Transfer) -> str:
    """pulling debian:12 sha256:0123456789ab 5.2MB / 29MB"""
    from . import tables

    total = f" / {tables.size(event.total)}" if event.total else ""
    return clean(f"{event.verb} {event.name} {event.digest[:19]} {tables.size(event.done)}{total}")


def finding(event: events.CheckFound) -> list[str]:
    """iEchorfile:3: JSONArgsRecommended: CMD should be …, and the lines it is about."""
    from . import report

    span = Span(event.file, event.line, event.end_line)
    lines = [f"{span}: {event.rule}: {event.detail}", *report.excerpt(span, event.source, event.first)]
    return [clean(line) for line in lines]
