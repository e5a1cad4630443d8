"""The command line: argparse and nothing else. argparse-manpage reads it too, through cli/manpages.py.

    iechor [global options] COMMAND [options] …
        parse_build.py    build
        parse_run.py      run exec ps logs stop kill wait rm
        parse_images.py   images pull push login logout tag rmi inspect history save load prune
        parse_host.py     unshare bootstrap doctor
        parse_store.py    check
        here              info version, and the groups `image`, `container`, `system` of docker and podman

Each command's parser names its handler as "module:function" below rootless_builder.cli; main.py imports it when
that command was chosen, and only then, since start-up time is paid by every call.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from .options import Commands, Parser, command

DESCRIPTION = (
    "Builds OCI images from an iEchorfile and runs them, as a plain user: no daemon, no root, no setuid helper. "
    "Each instruction of the file becomes a layer, kept in a store below the user's home."
)


def _add_globals(parser: Parser) -> None:
    parser.add_argument("--debug", "-D", action="store_true", help="show the traceback of an error that is a bug")
    parser.add_argument("--store", metavar="DIR", help="the image store (default: $IECHOR_HOME, the configuration, "
                                                       "or ~/.local/share/iechor/store)")
    parser.add_argument("--shared-store", metavar="DIR", help="an image store shared with a group, instead of --store: "
                                                              "what others put there is verified before it is used "
                                                              "(docs/security.md)")
    parser.add_argument("--scratch", metavar="DIR", help="node-local working space (default: $IECHOR_SCRATCH, the "
                                                         "configuration, or /var/tmp/iechor-UID)")
    parser.add_argument("--config", metavar="FILE", help="read this configuration file instead of "
                                                         "~/.config/iechor/config.toml")
    parser.add_argument("--version", action="store_const", const="do_info:version", dest="handler",
                        help="print the version and the native parts in use")


def _add_here(commands: "Commands[Parser]") -> None:
    info = command(commands, "info", "report on this host and which parts are in use", "do_info:info",
                   description="Tells which parts of iechor are in use, where it keeps things, and what this host "
                               "allows; every no comes with the command that changes it.")
    info.add_argument("--format", "-f", metavar="FORMAT", default="", help='"json", or a template such as "{{.Store}}"')
    version = command(commands, "version", "print the version and the native parts in use", "do_info:version")
    version.add_argument("--format", "-f", metavar="FORMAT", default="", help='"json", or a template')


def _image_group(image: "Commands[Parser]") -> None:
    from . import parse_build, parse_images

    parse_build.add_build(image)
    parse_images.add_image_group(image)


def _container_group(container: "Commands[Parser]") -> None:
    from . import parse_run

    parse_run.add_container_group(container)


def _system_group(system: "Commands[Parser]") -> None:
    from . import parse_images, parse_store

    parse_images.add_prune(system)
    parse_store.add_check(system)
    _add_here(system)


GROUPS: Mapping[str, tuple[str, Callable[["Commands[Parser]"], None]]] = {
    "image": ("the commands on images, as docker and podman group them", _image_group),
    "container": ("the commands on containers, as docker and podman group them", _container_group),
    "system": ("the commands on the host and the store, as docker and podman group them", _system_group),
}


# Those that are called again and again: nothing of the others is made for them.
ALONE: Mapping[str, str] = {"build": "parse_build:add_build", "run": "parse_run:add_run", "exec": "parse_run:add_exec"}
VALUED = ("--store", "--scratch", "--config")


def get_parser(words: Sequence[str] | None = None) -> Parser:
    """words: the command line, when it is known: what it cannot mean is left out, since every call pays for it."""
    parser = Parser(prog="iechor", usage="%(prog)s [OPTIONS] COMMAND ...", description=DESCRIPTION,
                    epilog='"iechor COMMAND --help" and the page iechor-COMMAND(1) describe a command.')
    _add_globals(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="iechor", parser_class=Parser)
    alone = ALONE.get(_command(words or ()))
    if alone is not None:
        module, _, function = alone.partition(":")
        getattr(import_module(f"{__package__}.{module}"), function)(commands)
    else:
        _add_all(commands, words)
    return parser


def _command(words: Sequence[str]) -> str:
    """The first word that is no global option; "" where the overview is asked for."""
    left = iter(words)
    for word in left:
        if word in ("-h", "--help"):
            break
        if word in VALUED:
            next(left, None)
        elif not word.startswith("-"):
            return word
    return ""


def _add_all(commands: "Commands[Parser]", words: Sequence[str] | None) -> None:
    from . import parse_build, parse_host, parse_images, parse_run, parse_store

    parse_build.add_build(commands)
    parse_run.add_all(commands)
    parse_images.add_all(commands)
    parse_host.add_all(commands)
    parse_store.add_check(commands)
    _add_here(commands)
    for name, (summary, fill) in GROUPS.items():
        group = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        below = group.add_subparsers(title="commands", metavar="COMMAND", prog=group.prog, required=True,
                                     parser_class=Parser)
        if words is None or name in words:
            fill(below)
