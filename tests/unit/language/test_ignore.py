"""Ignore files: what a walk of the context asks."""

import itertools
import time

import pytest

from rootless_builder.errors import IechorfileError
from rootless_builder.language.ignore import IgnorePatterns, read_patterns


def test_the_last_match_decides_and_folders_count_for_what_is_in_them() -> None:
    patterns = IgnorePatterns.read("# logs\n*.log\n!keep.log\n/build/\n!build/keep\nbuild/keep/not\n")
    left_out = [path for path in ("a.log", "keep.log", "sub/a.log", "build", "build/x", "build/keep", "build/keep/a",
                                  "build/keep/not", "builds") if patterns.matches(path)]
    assert left_out == ["a.log", "build", "build/x", "build/keep/not"]


def test_without_patterns_nothing_is_left_out() -> None:
    assert not IgnorePatterns() and not IgnorePatterns.read("# nothing\n\n")
    assert not IgnorePatterns().matches("a")


def test_the_context_itself_stays() -> None:
    assert not IgnorePatterns(["**"]).matches(".")


@pytest.mark.parametrize(("text", "folder", "enter"), [
    ("a\n", "a", False), ("a\n!a/b\n", "a", True), ("a\n!b\n", "a", False), ("a\n!a/b/c\n", "a/b", True),
    ("a\n!a/b/c\n", "a/x", False), ("*\n!**/*.py\n", "a/b", True), ("*\n!src/*.py\n", "src", True),
    ("*\n!src/*.py\n", "docs", False), ("*\n!src/**\n", "src/a", False), ("a\n!ab/c\n", "a", False),
    ("*\n!src/\n", "src/lib", False), ("*\n!a*/x\n", "abc", True),
])
def test_whether_a_walk_must_enter_what_is_left_out(text: str, folder: str, enter: bool) -> None:
    assert IgnorePatterns.read(text).may_reinclude_below(folder) is enter


def test_a_walk_that_skips_finds_the_same_as_one_that_does_not() -> None:
    """All trees of three names and three levels against every pair of a pattern and an exception."""
    names = ("a", "ab", "b")
    folders = ["/".join(path) for depth in (1, 2) for path in itertools.product(names, repeat=depth)]
    leaves = [f"{folder}/{name}" for folder in folders for name in names]
    excluding = ("*", "a", "**/a", "a/*", "a/**")
    for first, second in itertools.product(excluding, ("a", "a/b", "*/b", "**/b", "a*/a", "[ab]/ab")):
        patterns = IgnorePatterns([first, "!" + second])
        for leaf in leaves:
            parts = leaf.split("/")[:-1]
            above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
            reached = all(not patterns.matches(folder) or patterns.may_reinclude_below(folder) for folder in above)
            assert reached or patterns.matches(leaf), (first, second, leaf)


@pytest.mark.parametrize("pattern", ["!", "[a", "a\\"])
def test_a_pattern_that_cannot_be_read(pattern: str) -> None:
    with pytest.raises(IechorfileError, match="cannot read the ignore pattern") as caught:
        IgnorePatterns([pattern]).matches("a")
    assert caught.value.hint


def test_read_patterns() -> None:
    assert read_patterns("\ufeff# a\n /x/../y/ \r\n!\t/z\n\n") == ["y", "!z"]
    with pytest.raises(IechorfileError, match="65535"):
        read_patterns("x" * 65_536)


@pytest.mark.lean
def test_a_large_context_is_matched_quickly() -> None:
    patterns = IgnorePatterns.read("**/node_modules\n*.log\n**/*.pyc\n.git\n!docs/**/keep\nbuild/**\n")
    started = time.process_time()
    assert sum(patterns.matches(f"src/pkg{n % 100}/module{n}/file.py") for n in range(50_000)) == 0
    assert time.process_time() - started < 5
