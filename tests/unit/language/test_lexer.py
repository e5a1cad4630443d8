"""Logical lines: what belongs to one instruction, where it stands, and which directives hold."""

import pytest

from rootless_builder.errors import IechorfileError
from rootless_builder.language.lexer import Lexer, LogicalLine


def lines(text: str) -> list[LogicalLine]:
    lexer = Lexer(text.encode(), "f")
    return list(iter(lexer.next, None))


def test_a_continued_instruction_is_one_line_with_the_place_of_all_of_it() -> None:
    first, second = lines("FROM a\nRUN b \\\n  # why\n\n  && c\n")
    assert (first.text, str(first.span)) == ("FROM a", "f:1")
    assert (second.text, second.span.line, second.span.end_line) == ("RUN b   && c", 2, 5)


def test_comments_above_an_instruction_belong_to_it() -> None:
    first, second = lines("# one\n# two\n\nFROM a\n# three\n#\n# four\nRUN b\n")
    assert first.comments == ("one", "two")
    assert second.comments == ("four",)


def test_directives_are_read_and_are_no_comments() -> None:
    lexer = Lexer(b"# syntax=iechor/iechorfile:1 and more\n# check=skip=all;error=true\n# escape=`\n# x\nFROM a\n", "f")
    line = lexer.next()
    assert line is not None and line.comments == ("x",)
    directives = lexer.directives
    assert directives.escape == "`"
    assert directives.syntax and (directives.syntax.value, directives.syntax.span.line) == ("iechor/iechorfile:1", 1)
    assert directives.check and directives.check.value == "skip=all;error=true"


@pytest.mark.parametrize(("text", "line", "words"), [
    ("# escape=\\\n# escape=\\\nFROM a\n", 2, "twice"),
    ("# escape=x\nFROM a\n", 1, "escape token"),
    ("FROM a\nRUN " + "x" * 65_532 + "\n", 2, "65535"),
    ("FROM a\nRUN " + "x" * 65_532, 2, "65535"),
])
def test_what_no_line_may_be(text: str, line: int, words: str) -> None:
    with pytest.raises(IechorfileError, match=words) as caught:
        lines(text)
    assert caught.value.span and caught.value.span.line == line
    assert caught.value.hint


def test_the_longest_line_there_may_be() -> None:
    assert len(lines("FROM a\nRUN " + "x" * 65_531 + "\n")[1].text) == 65_535


def test_empty_lines_in_a_continuation_are_warned_about_with_their_place() -> None:
    lexer = Lexer(b"FROM a\nRUN b \\\n\n  c\n", "f")
    while lexer.next():
        pass
    (warning,) = lexer.warnings
    assert warning.text == "Empty continuation line found in: RUN b   c"
    assert warning.span.line == 4
