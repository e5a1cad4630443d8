"""How an error reads on standard error:

    iechor: iEchorfile:12: cannot run step 4: exit code 1
       11 |
     > 12 | RUN make install
    the last lines the step wrote
    hint: …
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import IechorError, Interrupted
from ..span import Span
from ..urls import redacted
from .terminal import clean

CONTEXT = 2  # lines shown above and below
LONGEST = 12  # lines of a span that are shown; a heredoc may have hundreds
SHORTEST = 6  # letters of a secret that is hidden: a shorter one stands anywhere by chance
_SECRET_OPTIONS = ("--build-arg", "--creds", "--secret", "--env", "-e", "--password", "-p")


def error(known: IechorError, places: Sequence[Path], cause: BaseException | None) -> None:
    """cause: the exception itself, for --debug."""
    if cause is not None:
        import traceback

        traceback.print_exception(cause, file=sys.stderr)
    print("\n".join(clean(line) for line in text(known, places).split("\n")), file=sys.stderr, flush=True)


def text(known: IechorError, places: Sequence[Path], *, prefix: str = "iechor: ") -> str:
    """Its lines, before anything in them is made harmless for a terminal."""
    span = None if isinstance(known, Interrupted) else known.span  # the step it fell on is not to blame
    lines = [f"{prefix}{span}: {known.message}" if span else f"{prefix}{known.message}"]
    if span:
        source = known.source.removesuffix("\n").split("\n") if known.source is not None else _text(span.file, places)
        lines += excerpt(span, source or [], mark=known.mark or "")
    lines += known.notes
    if known.hint:
        lines.append(f"hint: {known.hint}")
    return redacted("\n".join(lines))


def excerpt(span: Span, text: Sequence[str], first: int = 1, *, mark: str = "") -> list[str]:
    """The lines of the span, marked, with a few around them; `text` is the file from its line `first` on.

    mark: what to underline in the first of these lines that has it; without one, the span's own columns.
    """
    end = first + len(text) - 1
    if not first <= span.line <= end:
        return []
    last = min(span.end_line, span.line + LONGEST - 1, end)
    line, column, width = span.line, span.column, span.end_column - span.column
    if mark:
        line = next((number for number in range(span.line, last + 1) if mark in text[number - first]), span.line)
        column, width = text[line - first].find(mark) + 1, len(mark)
    shown = []
    for number in range(max(first, span.line - CONTEXT), min(end, last + CONTEXT) + 1):
        sign = ">" if span.line <= number <= last else " "
        shown.append(f" {sign} {number:4} | {redacted(text[number - first])}".rstrip())
        if number == line and column and width >= 0:
            before = "".join(char if char == "\t" else " " for char in text[number - first][: column - 1])
            shown.append(" " * 8 + "| " + before + "^" * max(1, width))
    return shown


def _text(name: str, places: Sequence[Path]) -> list[str] | None:
    for place in places:
        try:
            return (place / name).read_text(encoding="utf-8-sig", errors="replace").removesuffix("\n").split("\n")
        except OSError:
            continue
    return None


def bug(found: BaseException, words: Sequence[str], *, show: bool) -> None:
    """One line, and a file with everything a bug report needs, that only the user can read. Not the environment, nor
    the words of the command, for they may hold secrets; where the error itself repeats those, they are hidden.
    """
    import platform
    import tempfile
    import traceback

    from .. import __version__

    trace = hidden("".join(traceback.format_exception(found)), words)
    if show:
        sys.stderr.write(trace)
    kind = hidden(f"{type(found).__name__}: {found}".splitlines()[0], words)[:200]
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


def hidden(text: str, words: Sequence[str]) -> str:
    """The text without what may be secret: values of options that carry such things, passwords in URLs."""
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in _SECRET_OPTIONS:
            value = value if equals else "".join(words[number + 1:number + 2])
            for secret in (value, value.partition("=")[2], value.partition(":")[2]):
                text = text.replace(secret, "***") if len(secret) >= SHORTEST else text
    return redacted(text)
