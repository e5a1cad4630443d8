"""The patterns of ${v#p} and its like."""

import time

import pytest

from rootless_builder.language import shellpatterns
from rootless_builder.language.shellpatterns import BadPattern, replace, trim_prefix, trim_suffix


@pytest.mark.parametrize(("pattern", "value", "shortest", "longest"), [
    ("*/", "a/b/c", "b/c", "c"), ("?", "abc", "bc", "bc"), ("", "abc", "abc", "abc"), ("*", "abc", "abc", ""),
    ("x", "abc", "abc", "abc"), ("\\*", "*a", "a", "a"), ("a*c*", "abcabc", "abc", ""), ("*", "a\nb", "a\nb", "\nb"),
    ("[a]", "a", "a", "a"), ("a.b", "axb", "axb", "axb"),
])
def test_prefix(pattern: str, value: str, shortest: str, longest: str) -> None:
    assert trim_prefix(pattern, value, longest=False) == shortest
    assert trim_prefix(pattern, value, longest=True) == longest


@pytest.mark.parametrize(("pattern", "value", "shortest", "longest"), [
    (".*", "a.b.c", "a.b", "a"), ("/*", "a/b/c", "a/b", "a"), ("c\\*", "abc*", "ab", "ab"), ("?", "", "", ""),
])
def test_suffix(pattern: str, value: str, shortest: str, longest: str) -> None:
    assert trim_suffix(pattern, value, longest=False) == shortest
    assert trim_suffix(pattern, value, longest=True) == longest


def test_replace_takes_the_longest_from_the_left() -> None:
    assert replace("a*a", "xabacay", "-", every=False) == "x-y"
    assert replace("a", "banana", "<$0>", every=True) == "b<a>n<a>n<a>"
    assert replace("a", "banana", "<$0>", every=False) == "b<$0>nana"
    assert replace("", "ab", "-", every=True) == "-a-b-"
    assert replace("*", "ab", "-", every=True) == "-"


def test_a_backslash_escapes_wild_cards_only() -> None:
    with pytest.raises(BadPattern):
        trim_prefix("\\a", "a", longest=False)


def test_many_stars_do_not_take_for_ever() -> None:
    started = time.process_time()
    assert trim_prefix("*a" * 30 + "b", "a" * 5000, longest=True) == "a" * 5000
    assert shellpatterns.replace("*a" * 10 + "b", "a" * 1000, "", every=True) == "a" * 1000
    assert time.process_time() - started < 5


@pytest.mark.parametrize("pattern", ["?*zzz", "*?z", "?*a*?*z", "\\?*z", "a*b", "*" + "a" * 500 + "b", "??z"])
def test_no_pattern_looks_through_a_line_more_than_once(pattern: str) -> None:
    """A million letters, and lines of a hundred: what went over them again and again would take hours."""
    for value in ("a" * 1_000_000, ("a" * 99 + "\n") * 10_000):
        for every in (True, False):
            assert shellpatterns.replace(pattern, value, "x", every=every) == value
        assert shellpatterns.trim_prefix(pattern, value, longest=True) == value
        assert shellpatterns.trim_suffix(pattern, value, longest=False) == value


def test_a_pattern_that_would_take_too_long_is_refused() -> None:
    with pytest.raises(shellpatterns.BadPattern, match="a pattern of 50001 letters is too long for a value of 100000"):
        shellpatterns.replace("?" * 50_000 + "z", "a" * 100_000, "", every=True)
