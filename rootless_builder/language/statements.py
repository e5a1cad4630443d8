"""A file as BuildKit's parse tree has it: one statement for each instruction, cut into values, not yet checked.

    statement = keyword [ flags ] values { heredoc }
    ONBUILD   = keyword [ flags ] statement          the heredocs stay with the outer one
"""

from ..errors import IechorfileError
from ..span import Span
from ..values import dataclass, replace
from .arguments import read_arguments
from .characters import lower, split_spaces, strip
from .flags import split_flags
from .heredoc import heredocs_of
from .instructions import Directives, Heredoc, ParseWarning
from .keywords import kind_of
from .lexer import Lexer, LogicalLine

_WITH_HEREDOCS = ("add", "copy", "run")
_MAX_NESTED = 100  # ONBUILD ONBUILD …: never right, and each costs a copy of the line


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`name` is lower case; `values` is BuildKit's chain; `inner` is what ONBUILD holds; `text` is the logical line."""

    keyword: str
    name: str
    span: Span
    text: str
    comments: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    json: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    inner: "Statement | None" = None

    @property
    def kind(self) -> str:
        """The instruction it is, "" for an unknown one."""
        return kind_of(self.name) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    directives: Directives
    statements: tuple[Statement, ...]
    warnings: tuple[ParseWarning, ...]


def read_statements(data: bytes, file: str) -> Statements:
    """Raises IechorfileError, with a span: a line that cannot be cut into values, a file without instructions."""
    lexer = Lexer(data, file)
    statements = []
    while line := lexer.next():
        try:
            statement = _statement(line, lexer.directives.escape)
            statements.append(_with_heredocs(statement, lexer))
        except IechorfileError as error:
            raise error.at(line.span) from None
    if not statements:
        raise IechorfileError("cannot build from this file: it has no instructions", span=lexer.span(1),
                              hint="begin with FROM and the name of an image")
    return Statements(directives=lexer.directives, statements=tuple(statements), warnings=tuple(lexer.warnings))


def _statement(line: LogicalLine, escape: str) -> Statement:
    """ONBUILDs are opened from the outside and closed from the inside, so that no depth is too deep for us."""
    outer: list[Statement] = []
    text = line.text
    while True:
        keyword, flags, rest = _split_command(text, escape)
        name = lower(keyword)
        statement = Statement(keyword=keyword, name=name, span=line.span, text=text, flags=flags,
                              comments=() if outer else line.comments)
        if statement.kind != "onbuild":
            arguments = read_arguments(statement.kind, rest, escape)
            statement = replace(statement, values=arguments.values, json=arguments.json)
            break
        if not rest:
            break
        if len(outer) == _MAX_NESTED:
            raise IechorfileError(f"cannot read ONBUILD: more than {_MAX_NESTED} of them in one another",
                                  hint="ONBUILD takes one instruction that is no ONBUILD")
        outer.append(statement)
        text = rest
    for onbuild in reversed(outer):
        statement = replace(onbuild, inner=statement)
    return statement


def _split_command(text: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """keyword, flags, rest; a keyword ends at a blank only."""
    keyword, *rest = split_spaces(strip(text), 1)
    if not rest:
        return keyword, (), ""
    flags, arguments = split_flags(rest[0], escape)
    return keyword, flags, strip(arguments)


def _with_heredocs(statement: Statement, lexer: Lexer) -> Statement:
    holder = statement.inner if statement.inner and statement.kind == "onbuild" else statement
    if holder.kind not in _WITH_HEREDOCS or holder.json or "<<" not in statement.text:
        return statement
    start = statement.span.line
    heredocs = tuple(
        replace(heredoc, content=lexer.heredoc(heredoc.name, chomp=heredoc.chomp, start=start))
        for heredoc in heredocs_of(statement.text)
    )
    span = lexer.span(start)
    inner = replace(statement.inner, span=span) if statement.inner else None
    return replace(statement, heredocs=heredocs, span=span, inner=inner)
