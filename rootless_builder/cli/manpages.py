"""What argparse-manpage asks for: one parser for each page of man/.

    manpages.iechor        the overview: global options and a list of the commands
    manpages.build, …      the parser of `iechor build`, as a page of its own, called iechor-build

The groups `image`, `container` and `system` have no pages: what they hold has.
"""

import argparse

from .options import Parser
from .parser import get_parser


def commands() -> tuple[str, ...]:
    """The names that have a page; other names of the same command have none."""
    listed = _subparsers(get_parser()).choices
    return tuple(name for name, parser in listed.items() if parser._defaults.get("command") == name)


def __getattr__(name: str) -> Parser:
    """`iechor` or the name of a command. argparse-manpage reads attributes, so that is what we offer."""
    if name.startswith("__"):
        raise AttributeError(name)
    whole = get_parser()
    listed = _subparsers(whole)
    if name == "iechor":
        listed.choices.clear()  # their options stand on their own pages
        whole.man_short_description = "build and run OCI images without root"
        return whole
    if name not in listed.choices:
        raise AttributeError(name)
    page = listed.choices[name]
    page.usage = " ".join(page.format_usage().split()[1:])
    page.prog = f"iechor-{name}"
    return page


def _subparsers(parser: Parser) -> "argparse._SubParsersAction[Parser]":
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
