"""What argparse-manpage asks for: one parser for each page of man/.

    manpages.iechor        the overview: global options and a list of the commands
    manpages.build, …      the parser of `iechor build`, as a page of its own, called iechor-build
"""

import argparse

from .parser import Parser, get_parser


def __getattr__(name: str) -> argparse.ArgumentParser:
    """`iechor` or the name of a command. argparse-manpage reads attributes, so that is what we offer."""
    whole = get_parser()
    choices = next(action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    if name == "iechor":
        return _overview(whole, choices)
    if name.startswith("_") or name not in choices.choices:
        raise AttributeError(name)
    page: argparse.ArgumentParser = choices.choices[name]
    page.usage = " ".join(page.format_usage().split()[1:])
    page.prog = f"iechor-{name}"
    return page


def _overview(whole: Parser, choices: "argparse._SubParsersAction[Parser]") -> Parser:
    """The whole parser without what stands on the commands' own pages."""
    choices.choices.clear()
    whole.man_short_description = "build and run OCI images without root"
    return whole
