"""Bytes → logical lines: directives and comments taken out, continuations joined, each with its place.

    # escape=`                     directive: only in the first lines, each once
    # a comment                    anywhere, inside an instruction too
    RUN one && `                   continuation: the escape token is last but for blanks, and not doubled
        two
    RUN <<END                      a heredoc's body is fetched by `heredoc`, once the line is understood
    …
    END

Bytes, because BuildKit joins and measures bytes. A physical line holds at most 65,535 of them.
"""

import re

from ..errors import IechorfileError
from ..span import Span
from ..values import dataclass, replace
from .characters import decode, encode, strip, strip_left
from .instructions import Directive, Directives, ParseWarning

_BOM = b"\xef\xbb\xbf"
_DIRECTIVE = re.compile(rb"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*")
_MAX_LINE = 65_536  # bytes, its line end included


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalLine:
    """`span` ends where the continuations do; `comments` are those since the last instruction."""

    text: str
    span: Span
    comments: tuple[str, ...]


class Lexer:
    """Reads a file from top to bottom; `directives` is complete once `next` has answered."""

    def __init__(self, data: bytes, file: str) -> None:
        self.file = file
        self.directives = Directives()
        self.warnings: list[ParseWarning] = []
        self._lines = data.split(b"\n")
        self._check_lengths()
        self._lines[0] = self._lines[0].removeprefix(_BOM)
        if not self._lines[-1]:
            self._lines.pop()
        self._at = 0
        self._escape = b"\\"
        self._directives_over = False
        self._seen: set[str] = set()
        self._comments: list[str] = []

    def next(self) -> LogicalLine | None:
        """The next logical line, None at the end. Raises IechorfileError."""
        while self._at < len(self._lines):
            start = self._at + 1
            head, continued = self._without_continuation(self._first_line())
            if not head and not continued:
                continue
            parts, empty = self._continuations(continued)
            text = decode(b"".join([head, *parts]))
            if empty:
                place = Span(self.file, self._at, self._at)
                self.warnings.append(ParseWarning(text=f"Empty continuation line found in: {text}", span=place))
            comments = tuple(self._comments)
            self._comments.clear()
            return LogicalLine(text=text, span=self.span(start), comments=comments)
        return None

    def heredoc(self, name: str, *, chomp: bool, start: int) -> str:
        """The lines up to `name`, line ends and tabs as they are; `start` is the line of the instruction.

        Raises IechorfileError when `name` never comes.
        """
        terminator = encode(name)
        for index in range(self._at, len(self._lines)):
            line = self._lines[index].rstrip(b"\r\n")
            if (line.lstrip(b"\t") if chomp else line) == terminator:
                body = self._lines[self._at: index]
                self._at = index + 1
                return decode(b"".join(line + b"\n" for line in body))
        raise IechorfileError(f"cannot read the heredoc {name}: the file ends before it does", span=self.span(start),
                              hint=f"Put {name} on a line of its own behind the text.")

    def span(self, start: int) -> Span:
        """From line `start` to what was read last."""
        return Span(self.file, start, max(start, self._at))

    # -- physical lines --------------------------------------------------------------------------------

    def _first_line(self) -> bytes:
        """The next physical line as the first of an instruction; b"" when it is a comment or a directive."""
        line = self._lines[self._at]
        self._at += 1
        bare = strip_left(line.rstrip(b"\r\n"))
        if not bare.startswith(b"#"):
            self._directives_over = True
            return bare
        if self._directives_over or not self._directive(bare):
            text = strip(decode(line[1:]))
            if text:
                self._comments.append(text)
            else:
                self._comments.clear()
        return b""

    def _continuations(self, continued: bool) -> tuple[list[bytes], bool]:
        """The lines that go on with the one just read, without comments and empty ones; and were there empty ones?"""
        parts: list[bytes] = []
        empty = False
        while continued and self._at < len(self._lines):
            line = self._lines[self._at].rstrip(b"\r\n")
            self._at += 1
            bare = strip_left(line)
            if bare.startswith(b"#"):
                continue
            if bare:
                line, continued = self._without_continuation(line)
                parts.append(line)
            else:
                empty = True
        return parts, empty

    def _without_continuation(self, line: bytes) -> tuple[bytes, bool]:
        """`line` without a continuation at its end, and whether there was one."""
        stripped = line.rstrip(b" \t")
        if stripped.endswith(self._escape) and not stripped.endswith(self._escape * 2):
            return stripped[:-1], True
        return line, False

    def _directive(self, line: bytes) -> bool:
        """Take `line`, a comment, as a directive if it is one; the first that is none ends them."""
        match = _DIRECTIVE.fullmatch(strip_left(line[1:]))
        name = match[1].decode().lower() if match else ""
        if match is None or name not in ("syntax", "escape", "check"):
            self._directives_over = True
            return False
        span, value = Span(self.file, self._at, self._at), decode(match[2])
        if name in self._seen:
            raise IechorfileError(f"cannot read the directive {name}: it is given twice", span=span,
                                  hint="Leave one of them out.")
        self._seen.add(name)
        if name == "escape":
            if value not in ("\\", "`"):
                raise IechorfileError(f"cannot set the escape token: {value!r} is not \\ or `", span=span,
                                      hint="Write # escape=\\ or # escape=`.")
            self._escape = value.encode()
            self.directives = replace(self.directives, escape=value)
        else:
            # Behind the name of a syntax there may be more words, which are for that frontend.
            directive = Directive(value=value.partition(" ")[0] if name == "syntax" else value, span=span)
            both = {"syntax": self.directives.syntax, "check": self.directives.check, name: directive}
            self.directives = replace(self.directives, syntax=both["syntax"], check=both["check"])
        return True

    def _check_lengths(self) -> None:
        """BuildKit refuses longer lines; one without a line end must be one shorter still."""
        for number, line in enumerate(self._lines, 1):
            if len(line) >= _MAX_LINE:
                raise IechorfileError(f"cannot read line {number}: it is longer than {_MAX_LINE - 1} bytes",
                                      span=Span(self.file, number, number),
                                      hint="Break it with continuations, or COPY a file instead.")
