"""What a build step prints cannot reach the terminal as a command to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless_builder.cli.terminal import Lines, clean


@pytest.mark.parametrize(("text", "shown"), [
    ("plain", "plain"), ("grün 中", "grün 中"), ("a\tb", "a\tb"),
    ("\x1b[31mred\x1b[0m", "red"), ("\x1b[2J\x1b[Hgone", "gone"), ("\x1b]0;title\x07rest", "rest"),
    ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"), ("\x1bP+q544e\x1b\\x", "x"), ("\x9b31mred", "red"),
    ("a\x08b", "a^Hb"), ("\x00", "^@"), ("\x7f", "^?"), ("half\x1b", "half"), ("half\x1b[", "half"),
    ("\u202egnp.exe", "gnp.exe"), ("\udcff", "\\udcff"),
])
def test_what_a_terminal_obeys_is_gone(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text())
def test_nothing_a_terminal_obeys_is_ever_left(text: str) -> None:
    shown = clean(text)
    assert all(letter in "\n\t" or (letter.isprintable() or ord(letter) > 0x9f) for letter in shown)
    assert clean(shown) == shown


def test_lines_come_whole_however_they_are_cut() -> None:
    data = "one\r\ntwö\nthree\r10%\r20%\nlast".encode()
    for cut in range(len(data)):
        lines = Lines()
        found = [*lines.feed(data[:cut]), *lines.feed(data[cut:]), *lines.rest()]
        assert found == ["one", "twö", "20%", "last"]


def test_a_line_without_end_is_not_held_for_ever() -> None:
    lines = Lines()
    assert sum(len(line) for line in lines.feed(b"x" * 200_000)) == 200_000
