"""Two habits of the command lines written with Go's pflag that argparse does not know.

    --pull          an option whose value may be left out takes one with "=" only: `--pull .` is --pull and a context
    --rm=false      a switch may be given a value
"""

import argparse
from collections.abc import Mapping, Sequence

from .options import Later

ALONE: Mapping[str, str] = {"--pull": "always"}
_TRUE = ("true", "1", "t")
_FALSE = ("false", "0", "f")


def normalise(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """`argv` as argparse reads it. Words after the first argument of run and exec are the application's: untouched."""
    out: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*out, word, *rest]
        if not word.startswith("-") or word == "-":
            below = _subparser(parser, word)
            if below is not None:
                return [*out, word, *normalise(below, rest)]
            out.append(word)
            if _takes_rest(parser):
                return [*out, *rest]
            continue
        spelled, value_follows = _option(parser, word)
        out.extend(spelled)
        if value_follows and rest:
            out.append(rest.pop(0))
    return out


def _option(parser: argparse.ArgumentParser, word: str) -> tuple[list[str], bool]:
    """(the words instead of `word`, whether the next word is its value)."""
    name, equals, value = word.partition("=")
    action = parser._option_string_actions.get(name)
    if action is None:
        return [word], not word.startswith("--") and _cluster_wants_value(parser, word)
    if name in ALONE and not equals:
        return [f"{name}={ALONE[name]}"], False
    if action.nargs != 0:
        return [word], not equals
    if equals and value.lower() in _TRUE:
        return [name], False
    if equals and value.lower() in _FALSE:
        return _off(parser, action, name), False
    return [word], False


def _off(parser: argparse.ArgumentParser, action: argparse.Action, name: str) -> list[str]:
    """What says "not `name`": a hidden switch that takes it back; nothing, where it was never to be carried out."""
    if not isinstance(action, argparse._StoreTrueAction):
        return [] if isinstance(action, Later) else [f"{name}=false"]
    off = f"--no:{action.dest}"
    if off not in parser._option_string_actions:
        parser.add_argument(off, dest=action.dest, action="store_false", help=argparse.SUPPRESS, default=action.default)
    return [off]


def _cluster_wants_value(parser: argparse.ArgumentParser, word: str) -> bool:
    """Of short options in one word (-it, -p80:80): whether the last one still needs its value."""
    for place, letter in enumerate(word[1:], start=1):
        action = parser._option_string_actions.get(f"-{letter}")
        if action is None:
            return False
        if action.nargs != 0:
            return place == len(word) - 1
    return False


def _subparser(parser: argparse.ArgumentParser, word: str) -> argparse.ArgumentParser | None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found: argparse.ArgumentParser | None = action.choices.get(word)
            return found
    return None


def _takes_rest(parser: argparse.ArgumentParser) -> bool:
    return any(action.nargs == argparse.REMAINDER for action in parser._actions)
