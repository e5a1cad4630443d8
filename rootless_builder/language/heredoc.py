"""Here-documents: `<<name`, `<<-name`, `<<"name"`, with a file descriptor before and blanks behind the `<<`."""

import re

from ..errors import IechorfileError
from .instructions import Heredoc
from .words import WordLexer

_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
_MAX_FD = 2**64 - 1


def parse_heredoc(word: str) -> Heredoc | None:
    """The heredoc that `word` announces, its content still empty; None when it is none.

    Raises IechorfileError: quotes of the name that are not closed.
    """
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    bare = _lex(match[3], raw_quotes=False)
    if len(bare) != 1:
        return None
    raw = _lex(match[3], raw_quotes=True)
    if len(raw) != 1:
        raise IechorfileError(f"cannot read the heredoc {word!r}: its name is more than one word")
    # Quotes that one reading has and the other has not: some part of the name is quoted.
    return Heredoc(name=bare[0], fd=min(int(match[1] or 0), _MAX_FD) if len(match[1]) < 25 else _MAX_FD,
                   chomp=match[2] == "-", expand=_quotes(bare[0]) == _quotes(raw[0]))


def find_heredoc(word: str) -> Heredoc | None:
    """The same, None also for what is wrong."""
    try:
        return parse_heredoc(word)
    except IechorfileError:
        return None


def heredocs_of(line: str) -> list[Heredoc]:
    """Every heredoc a logical line announces, in order. Raises IechorfileError."""
    lexer = WordLexer(line, _unset, raw_quotes=True, raw_escapes=True, keep_unset=True)
    try:
        lexer.run()
    except IechorfileError:
        return []  # a line the lexer cannot read has none: the shell will say what is wrong
    return [heredoc for word in lexer.words if "<<" in word and (heredoc := parse_heredoc(word))]


def without_tabs(content: str) -> str:
    """The content of a `<<-` heredoc as the reader gets it."""
    return _LEADING_TABS.sub("", content)


def _lex(text: str, *, raw_quotes: bool) -> list[str]:
    lexer = WordLexer(text, _unset, raw_quotes=raw_quotes, keep_unset=True)
    lexer.run()
    return lexer.words


def _unset(name: str) -> None:
    return None


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
