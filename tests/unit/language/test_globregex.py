"""Ignore patterns of stars alone: the quick expression says what the plain one says, and stays quick."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless_builder.language import globregex, goregex
from rootless_builder.language.filepattern import clean
from rootless_builder.language.ignore import IgnorePatterns
from rootless_builder.language.ignorepattern import IgnorePattern, _compile

PARTS = st.lists(st.sampled_from(["*", "**/", "/", "a", "b", "a/", "?", "*a", "/**/", "."]), min_size=1, max_size=7)
PATHS = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


@settings(max_examples=500, deadline=None)
@given(PARTS.map("".join).map(clean), PATHS)
def test_the_same_as_the_expression_it_stands_for(text: str, path: str) -> None:
    import re

    kind, source = _compile(text)
    if kind != "regex" or globregex.translate(text) is None:
        return
    plain = goregex.translate(source)
    pattern = IgnorePattern(text, exclusion=False)
    assert pattern.hits(path) == (re.search(plain.whole, path, re.ASCII) is not None)
    if not plain.exact_only:
        assert pattern.covers(path) == (re.search(plain.tree, path, re.ASCII) is not None)


@pytest.mark.parametrize(("pattern", "path"), [
    ("*a" * 20 + "b", "a" * 4000), ("*a" * 20 + "b/*", "a" * 4000 + "/b"), ("**/a/" * 20 + "b", "a/" * 2000 + "c"),
    ("**/a*a*/" * 20 + "b", "aaaa/" * 2000 + "c"), ("?*" * 20 + "b", "a" * 2000),
])
def test_no_pattern_takes_its_time(pattern: str, path: str) -> None:
    started = time.process_time()
    assert not IgnorePatterns([pattern]).matches(path)
    assert time.process_time() - started < 2  # milliseconds; what tries everything takes years
