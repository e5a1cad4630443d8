"""What every command's parser is made of: our own ArgumentParser, options known and refused, options many share."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import UnsupportedError, UsageError

Commands = argparse._SubParsersAction  # argparse has no public name for what add_subparsers() returns


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: an UsageError with a hint, instead of text and exit."""

    man_short_description: str  # argparse-manpage puts it into the NAME section

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)  # a prefix that works today may be ambiguous tomorrow
        super().__init__(*args, **kwargs)

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Asked for by each add_argument, to look at one metavar: the terminal is measured for help alone."""
        return argparse.HelpFormatter(self.prog, width=78)

    def format_help(self) -> str:
        with_terminal = argparse.HelpFormatter(self.prog)
        self._get_formatter = lambda: with_terminal  # type: ignore[method-assign]
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f'see "{self.prog} --help"')

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        import difflib

        near = difflib.get_close_matches(str(value), [str(choice) for choice in action.choices], 1)
        what = "command" if isinstance(action, argparse._SubParsersAction) else f"value of {_name(action)}"
        allowed = "" if what == "command" else f" (one of {', '.join(map(str, action.choices))})"
        raise UsageError(f'unknown {what} "{value}"{allowed}',
                         hint=f'did you mean "{near[0]}"?' if near else f'see "{self.prog} --help"')

    def parse_args(self, args: Sequence[str] | None = None,  # type: ignore[override]
                   namespace: argparse.Namespace | None = None) -> argparse.Namespace:
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            chosen: Parser = getattr(found, "parser", self)
            raise UsageError(_unknown(rest[0]), hint=_near_option(chosen, rest[0]))
        return found


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)


def _unknown(word: str) -> str:
    return f'unknown option "{word.partition("=")[0]}"' if word.startswith("-") else f'unexpected argument "{word}"'


def _near_option(parser: argparse.ArgumentParser, word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word.partition("=")[0], parser._option_string_actions, 1)
    return f'did you mean "{near[0]}"?' if near and word.startswith("-") else f'see "{parser.prog} --help"'


class Later(argparse.Action):
    """An option of docker or podman that we know and do not carry out: an error that says so, never silence.

    harmless: values that ask for what happens anyway (--provenance=false); those are accepted.
    """

    def __init__(self, *args: Any, harmless: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs["default"] = argparse.SUPPRESS
        super().__init__(*args, **kwargs)
        self.harmless = harmless

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        if self.nargs != 0 and values in self.harmless:
            return
        raise UnsupportedError(f"cannot carry out {option_string}: this release does not do it yet",
                               hint=f"leave {option_string} out")


def add_later(parser: argparse.ArgumentParser, options: Mapping[str, str]) -> None:
    """Options known and not carried out: "--name" or "-x/--name" → metavar ("" for one without a value), and after
    each "|" a value that asks for what happens anyway. Help and man page name them in one line."""
    for names, described in options.items():
        metavar, *harmless = described.split("|")
        takes: dict[str, Any] = {"metavar": metavar, "harmless": harmless} if metavar else {"nargs": 0}
        parser.add_argument(*names.split("/"), action=Later, help=argparse.SUPPRESS, **takes)
    known = ", ".join(names.rpartition("/")[2] for names in options)
    parser.epilog = f"Known from docker and podman, and refused with exit code 4 by this release: {known}."


def command(commands: "Commands[Parser]", name: str, summary: str, handler: str, *, takes: str = "",
            description: str = "", aliases: Sequence[str] = ()) -> Parser:
    """A subcommand: `summary` for lists, `description` for its own help and man page, `handler` "module:function",
    `takes` its arguments as the usage line shows them."""
    parser = commands.add_parser(name, help=summary, description=description or summary[0].upper() + summary[1:] + ".",
                                 aliases=list(aliases), usage=f"%(prog)s [OPTIONS] {takes}".rstrip())
    parser.set_defaults(handler=handler, parser=parser, command=name)
    parser.man_short_description = summary
    # The global switches are understood after the command too, as docker's -D is.
    parser.add_argument("-D", "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def add_userns(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument("--userns", choices=("fakeroot", "subuid", "host"), default=None,
                        help="who keeps the owners of files: the fakeroot supervisor, the kernel with a subordinate "
                             "id range, or the kernel as real root (default: from the configuration)")


def add_platform(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument("--platform", metavar="OS/ARCH[/VARIANT]", default=None,
                        help="which entry of a multi-platform image is meant (default: this machine's)")
