"""Habits of docker's and podman's command lines that argparse does not know by itself."""

import pytest

from rootless_builder.cli.argv import normalise
from rootless_builder.cli.parser import get_parser
from rootless_builder.errors import UnsupportedError, UsageError


def parsed(*words: str) -> dict[str, object]:
    parser = get_parser()
    return vars(parser.parse_args(normalise(parser, words)))


@pytest.mark.parametrize(("words", "policy", "context"), [
    (("build", "--pull", "."), "always", "."),
    (("build", "--pull", "folder"), "always", "folder"),
    (("build", "--pull=never", "folder"), "never", "folder"),
    (("build", "folder"), "missing", "folder"),
    (("image", "build", "--pull", "folder"), "always", "folder"),
])
def test_pull_alone_takes_no_word_away(words: tuple[str, ...], policy: str, context: str) -> None:
    found = parsed(*words)
    assert (found["pull"], found["context"]) == (policy, context)


@pytest.mark.parametrize(("word", "value"), [
    ("--rm", True), ("--rm=true", True), ("--rm=True", True), ("--rm=1", True),
    ("--rm=false", False), ("--rm=0", False),
])
def test_a_switch_may_have_a_value(word: str, value: bool) -> None:
    assert parsed("run", word, "image")["rm"] is value


def test_the_last_word_on_a_switch_counts() -> None:
    assert parsed("run", "--rm=false", "--rm", "image")["rm"] is True
    assert parsed("run", "--rm", "--rm=false", "image")["rm"] is False


def test_other_values_of_a_switch_are_refused() -> None:
    with pytest.raises(UsageError):
        parsed("run", "--rm=maybe", "image")


@pytest.mark.parametrize("command", ["run", "exec"])
def test_words_after_the_image_belong_to_the_application(command: str) -> None:
    found = parsed(command, "-it", "-e", "A=1", "name", "sh", "-c", "--pull", "--rm=false", "-e", "--", "--help")
    assert found["arguments"] == ["sh", "-c", "--pull", "--rm=false", "-e", "--", "--help"]
    assert found["env"] == ["A=1"]
    assert found["tty"] is True


def test_short_options_in_one_word() -> None:
    found = parsed("run", "-itp", "8:8", "-p80:80", "-uapp", "image", "-p", "9:9")
    assert found["publish"] == ["8:8", "80:80"]
    assert found["user"] == "app"
    assert found["arguments"] == ["-p", "9:9"]


def test_an_option_takes_a_value_that_looks_like_an_option() -> None:
    assert parsed("run", "--entrypoint=--version", "image")["entrypoint"] == "--version"
    assert parsed("run", "--entrypoint", "", "image")["entrypoint"] == ""


@pytest.mark.parametrize("words", [
    ("build", "--device", "v/c=d"), ("build", "--device=v/c=d"), ("build", "--cpus", "2"),
    ("build", "--provenance=true"), ("build", "--all-platforms"), ("run", "--privileged", "image"),
    ("images", "--filter", "a=b"),
])
def test_known_options_that_are_not_carried_out_say_so(words: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedError, match="cannot carry out -"):
        parsed(*words)


@pytest.mark.parametrize("word", ["--provenance=false", "--sbom=false", "--push=false", "--disable-compression=true",
                                  "--format=oci", "--isolation=oci"])
def test_values_that_ask_for_what_happens_anyway_pass(word: str) -> None:
    assert parsed("build", word)["context"] == "."


def test_abbreviations_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown option"):
        parsed("build", "--no-cach")


def test_every_handler_is_there() -> None:
    import argparse

    from rootless_builder.cli.main import handler

    def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
        below = [choice for action in parser._actions if isinstance(action, argparse._SubParsersAction)
                 for choice in action.choices.values()]
        return [parser, *(inner for one in below for inner in parsers(one))]

    names = {one._defaults["handler"] for one in parsers(get_parser()) if "handler" in one._defaults}
    assert len(names) > 20
    for name in names:
        assert callable(handler(name))
