"""How an error reads on standard error:

    iechor: iEchorfile:12: cannot run step 4: exit code 1
       11 |
     > 12 | RUN make install
    the last lines the step wrote
    hint: …
"""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ..errors import IechorError, Interrupted
from ..span import Span
from .terminal import clean

CONTEXT = 2  # lines shown above and below
LONGEST = 12  # lines of a span that are shown; a heredoc may have hundreds


def error(known: IechorError, places: Sequence[Path], cause: BaseException | None) -> None:
    """cause: the exception itself, for --debug."""
    if cause is not None:
        traceback.print_exception(cause, file=sys.stderr)
    span = None if isinstance(known, Interrupted) else known.span  # the step it fell on is not to blame
    lines = [f"iechor: {span}: {known.message}" if span else f"iechor: {known.message}"]
    if span:
        lines += excerpt(span, places)
    lines += known.notes
    if known.hint:
        lines.append(f"hint: {known.hint}")
    print("\n".join(clean(line) for text in lines for line in text.split("\n")), file=sys.stderr, flush=True)


def excerpt(span: Span, places: Sequence[Path]) -> list[str]:
    """The lines of the span, marked, with a few around them; nothing when the file cannot be read again."""
    text = _text(span.file, places)
    if text is None or not 1 <= span.line <= len(text):
        return []
    last = min(span.end_line, span.line + LONGEST - 1, len(text))
    shown = []
    for number in range(max(1, span.line - CONTEXT), min(len(text), last + CONTEXT) + 1):
        mark = ">" if span.line <= number <= last else " "
        shown.append(f" {mark} {number:4} | {text[number - 1]}".rstrip())
        if number == span.line and span.column and span.end_column >= span.column:
            shown.append(" " * 8 + "| " + " " * (span.column - 1) + "^" * max(1, span.end_column - span.column))
    return shown


def _text(name: str, places: Sequence[Path]) -> list[str] | None:
    for place in places:
        try:
            return (place / name).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError:
            continue
    return None


def bug(found: BaseException, words: Sequence[str], *, show: bool) -> None:
    """One line, and a file with everything a bug report needs (not the environment: it may hold secrets)."""
    import platform
    import tempfile

    from .. import __version__

    trace = "".join(traceback.format_exception(found))
    if show:
        sys.stderr.write(trace)
    kind = f"{type(found).__name__}: {found}".splitlines()[0][:200]
    line = f"iechor: this is a bug in iechor {__version__}: {clean(kind)}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="iechor-bug-", suffix=".txt", delete=False,
                                         encoding="utf-8", errors="backslashreplace") as report:
            report.write(f"iechor {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
                         f"command: {words[0] if words else ''}\n\n{trace}")
        line += f"\nhint: please report it with the file {report.name}"
    except OSError:
        line += "\nhint: run it again with --debug and please report what it shows"
    print(line, file=sys.stderr, flush=True)
