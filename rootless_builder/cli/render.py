"""Events → what the user sees while a command works, always on standard error.

    auto      tty on a terminal, plain elsewhere
    tty       live: what runs now, for how long, its last lines (render_tty.py, with rich)
    plain     lines in the order things happen, stable for logs; as BuildKit's plain progress reads
    rawjson   one JSON object a line: {"event": "StepStarted", "time": …, the event's fields}
    quiet     nothing (also: none)

Renderers are called from several threads when stages are built side by side.
"""

from __future__ import annotations

import contextlib
import os

from .. import events
from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

    from ..events import Emit


@contextlib.contextmanager
def showing(progress: str, out: TextIO, environ: Mapping[str, str]) -> Iterator[Emit]:
    """The renderer, as long as the command works. NO_COLOR (no-color.org) and TERM=dumb are honoured."""
    if progress == "auto":
        progress = "tty" if out.isatty() and environ.get("TERM", "dumb") != "dumb" else "plain"
    if progress == "tty":
        from .render_tty import Live

        live = Live(out, color=not environ.get("NO_COLOR"))
        try:
            yield live
        finally:
            live.close()  # before an error is told, and on Ctrl-C: the cursor must come back
    elif progress == "rawjson":
        from .render_json import RawJson

        yield RawJson(out)
    elif progress in ("quiet", "none"):
        yield events.quiet
    else:
        from .render_lines import Plain

        yield Plain(out)


@contextlib.contextmanager
def logging(path: str, progress: str, environ: Mapping[str, str]) -> Iterator[Emit]:
    """--logfile: what would be shown is added to a file that nobody else may read. Errors: UsageError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write --logfile {path}: {error.strerror}", hint="name another file") from error
    with open(fd, "w", encoding="utf-8", errors="backslashreplace") as out, \
            showing("plain" if progress in ("auto", "tty", "quiet") else progress, out, environ) as emit:
        yield emit
