"""Expansion as the planner uses it; odd texts are frozen in tests/golden/language."""

import pytest

from rootless_builder.errors import IechorfileError
from rootless_builder.language.words import expand, expand_raw, expand_words

ENV = {"x": "value", "empty": "", "path": "a/b.tar.gz", "spaced": "a  b"}


@pytest.mark.parametrize(("text", "value"), [
    ("$x-${x}", "value-value"), ("'$x' \"$x\" \\$x", "$x value $x"),
    ("${no:-d} ${no-d} ${empty:-d} ${empty-d}", "d d d "), ("${x:+s}${no:+s}${empty+s}", "ss"),
    ("${no:-${no:-$x}}", "value"), ("${path##*/} ${path#*/} ${path%.*} ${path%%.*}", "b.tar.gz b.tar.gz a/b.tar a/b"),
    ("${path/./-} ${path//./-}", "a/b-tar.gz a/b-tar-gz"), ("${spaced}", "a  b"), ("", ""),
])
def test_expand(text: str, value: str) -> None:
    assert expand(text, ENV)[0] == value


def test_names_without_a_value_are_told() -> None:
    assert expand("$x $no ${other:-$third}", ENV)[1] == {"no", "other", "third"}


def test_words_are_split_outside_quotes_and_inside_values() -> None:
    assert expand_words("a \"b c\" $spaced '$spaced'", ENV) == ["a", "b c", "a", "b", "$spaced"]


def test_the_escape_token_may_be_a_backtick() -> None:
    assert expand("c:\\$x`$x", ENV, escape="`")[0] == "c:\\value$x"


def test_a_heredoc_body_keeps_its_quotes() -> None:
    assert expand_raw("'$x' \"${no:-d}\" \\$x\n", ENV) == "'value' \"d\" $x\n"


@pytest.mark.parametrize(("text", "cause"), [
    ("'a", "single quote"), ('"a', "double quote"), ("${x", "missing '}'"), ("${}", "bad substitution"),
    ("${x!}", "unsupported modifier"), ("${x:#a}", "unsupported modifier"), ("${no:?say so}", "no: say so"),
    ("${empty:?}", "not allowed to be empty"), ("${no?}", "not allowed to be unset"), ("${x%\\a}", "invalid escape"),
    ("${x/a}", "missing '/'"),
])
def test_what_cannot_be_expanded(text: str, cause: str) -> None:
    with pytest.raises(IechorfileError) as caught:
        expand(text, ENV)
    assert caught.value.message.startswith("cannot expand") and cause in caught.value.message


def test_words_nest_as_deep_as_one_likes() -> None:
    assert expand("${no:-" * 5000 + "x" + "}" * 5000, {})[0] == "x"


def test_a_message_does_not_repeat_a_whole_file() -> None:
    with pytest.raises(IechorfileError) as caught:
        expand("'" + "x" * 100_000, {})
    assert len(caught.value.message) < 300
