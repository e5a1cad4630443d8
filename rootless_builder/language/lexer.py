"""Bytes → logical lines: directives and comments taken out, continuations joined, each with its place.

    # escape=`                     directive: only in the first lines, each once
    # a comment                    anywhere, inside an instruction too
    RUN one && `                   continuation: the escape token is last but for blanks, and not doubled
        two
    RUN <<END                      a heredoc's body is fetched by `heredoc`, once the line is understood
    …
    END

Bytes, because BuildKit joins and measures bytes. A physical line holds at most 65,535 of them. The file is never cut
into its lines, of which there may be millions: what is plainly continued is taken, and joined, in one go.
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


def _by_escape(pattern: bytes) -> dict[bytes, re.Pattern[bytes]]:
    """`pattern` for each escape token that may stand for its T."""
    return {token: re.compile(pattern.replace(b"T", re.escape(token)), re.MULTILINE | re.VERBOSE)
            for token in (b"\\", b"`")}


# Where an instruction's continuations are no longer plain: before a line that is neither of these. No group of it is
# repeated, so that neither depth nor memory grows with the lines.
_ENDS_OF_RUNS = _by_escape(rb"""
    ^ (?! [ \t]*+ (?: \#[^\n]*+\n | \r?\n  # a comment, an empty line
                   # continued, without another token in it or so that its end shows it; it begins with no space,
                   # nor with a byte that spaces beyond ASCII begin with
                   | (?=[!"$-~\x80-\xc1\xc3-\xe0\xe4-\xff]) (?: [^\nT]*+T[ \t]*+\r*+\n
                                   | [^\n]*+\n (?: (?<=[^T]T\n) | (?<=[^T]T\r\n) ) ) ) )""")
# Of lines in a run alone:
_SKIPPED = re.compile(rb"^[ \t]*+(?:#[^\n]*+|\r?)\n[\r\n]*+", re.MULTILINE)
_EMPTY = re.compile(rb"^[ \t]*+\r?\n", re.MULTILINE)
_ODD_ENDS = _by_escape(rb"T[ \t]*+\r*+\n")


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
        self._data = data
        self._check_lengths()
        self._data = data.removeprefix(_BOM)
        self._at = 0  # lines read
        self._position = 0  # bytes read
        self._escape = b"\\"
        self._directives_over = False
        self._seen: set[str] = set()
        self._comments: list[str] = []

    def next(self) -> LogicalLine | None:
        """The next logical line, None at the end. Raises IechorfileError."""
        while self._position < len(self._data):
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
        found = _terminator(encode(name), chomp).search(self._data, self._position - 1) if self._position else None
        if found is not None and found.start() + 1 < len(self._data):
            body = self._data[self._position: found.start() + 1]
            self._at += body.count(b"\n") + 1
            self._position = min(found.end() + 1, len(self._data))
            return decode(body)
        raise IechorfileError(f"cannot read the heredoc {name}: the file ends before it does", span=self.span(start),
                              hint=f"put {name} on a line of its own behind the text")

    def span(self, start: int) -> Span:
        """From line `start` to what was read last."""
        return Span(self.file, start, max(start, self._at))

    # -- physical lines --------------------------------------------------------------------------------

    def _first_line(self) -> bytes:
        """The next physical line as the first of an instruction; b"" when it is a comment or a directive."""
        line = self._physical()
        bare = strip_left(line.rstrip(b"\r"))
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

    def _physical(self) -> bytes:
        """The next line, without its line feed."""
        end = self._data.find(b"\n", self._position)
        end = len(self._data) if end < 0 else end
        line = self._data[self._position: end]
        self._at += 1
        self._position = min(end + 1, len(self._data))
        return line

    def _continuations(self, continued: bool) -> tuple[list[bytes], bool]:
        """The lines that go on with the one just read, without comments and empty ones; and were there empty ones?"""
        parts: list[bytes] = []
        empty = False
        while continued and self._position < len(self._data):
            end = _ENDS_OF_RUNS[self._escape].search(self._data, self._position)
            assert end is not None  # there is one at the end of the file
            if end.start() > self._position:
                joined, skipped = self._joined(self._data[self._position: end.start()])
                parts.append(joined)
                empty = empty or skipped
                continue
            line = self._physical().rstrip(b"\r")
            bare = strip_left(line)
            if bare.startswith(b"#"):
                continue
            if bare:
                line, continued = self._without_continuation(line)
                parts.append(line)
            else:
                empty = True
        return parts, empty

    def _joined(self, run: bytes) -> tuple[bytes, bool]:
        """A run of lines as one, and whether there was an empty one among them."""
        self._at += run.count(b"\n")
        self._position += len(run)
        empty = _EMPTY.search(run) is not None
        lines = _SKIPPED.sub(b"", run).replace(self._escape + b"\r\n", b"").replace(self._escape + b"\n", b"")
        return _ODD_ENDS[self._escape].sub(b"", lines), empty

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
                                  hint="leave one of them out")
        self._seen.add(name)
        if name == "escape":
            if value not in ("\\", "`"):
                raise IechorfileError(f"cannot set the escape token: {value!r} is not \\ or `", span=span,
                                      hint="write # escape=\\ or # escape=`")
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
        start = 0
        while len(self._data) - start >= _MAX_LINE:
            end = self._data.rfind(b"\n", start, start + _MAX_LINE)
            if end < 0:
                number = self._data.count(b"\n", 0, start) + 1
                raise IechorfileError(f"cannot read line {number}: it is longer than {_MAX_LINE - 1} bytes",
                                      span=Span(self.file, number, number),
                                      hint="break it with continuations, or COPY a file instead")
            start = end + 1


def _terminator(name: bytes, chomp: bool) -> re.Pattern[bytes]:
    """The line feed before the line that ends a heredoc, and that line. What is taken off lines is in no name."""
    if name.endswith(b"\r") or (chomp and name.startswith(b"\t")):
        return re.compile(rb"(?!)")
    return re.compile(rb"\n" + (rb"\t*+" if chomp else b"") + re.escape(name) + rb"\r*+(?=\n|\Z)")
