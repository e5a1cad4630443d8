"""The only table of iEchor spellings: instructions, their flags, file names, versions of the language.

Everything else in the package uses the names of Dockerfile instructions ("kinds"); where iEchor ever spells one
differently, it is said here and nowhere else.
"""

import re
from enum import Enum

# spelling in the file (any case) → kind
INSTRUCTIONS = {
    "add": "add", "arg": "arg", "cmd": "cmd", "copy": "copy", "entrypoint": "entrypoint", "env": "env",
    "expose": "expose", "from": "from", "healthcheck": "healthcheck", "label": "label", "maintainer": "maintainer",
    "onbuild": "onbuild", "run": "run", "shell": "shell", "stopsignal": "stopsignal", "user": "user",
    "volume": "volume", "workdir": "workdir",
}


class FlagType(Enum):
    """BOOL: `--x`, `--x=true`, `--x=false`. TEXT: `--x=value`, once. LIST: `--x=value`, as often as one likes."""

    BOOL = "bool"
    TEXT = "text"
    LIST = "list"


# kind → its flags; a kind that is not here has none
FLAGS = {
    "add": {"chown": FlagType.TEXT, "chmod": FlagType.TEXT, "link": FlagType.BOOL, "keep-git-dir": FlagType.BOOL,
            "checksum": FlagType.TEXT, "unpack": FlagType.BOOL, "exclude": FlagType.LIST},
    "copy": {"chown": FlagType.TEXT, "from": FlagType.TEXT, "chmod": FlagType.TEXT, "link": FlagType.BOOL,
             "exclude": FlagType.LIST, "parents": FlagType.BOOL},
    "from": {"platform": FlagType.TEXT, "after": FlagType.TEXT},
    "healthcheck": {"interval": FlagType.TEXT, "timeout": FlagType.TEXT, "start-period": FlagType.TEXT,
                    "start-interval": FlagType.TEXT, "retries": FlagType.TEXT},
    "run": {"mount": FlagType.LIST, "device": FlagType.LIST, "network": FlagType.TEXT, "security": FlagType.TEXT},
}

# Build files looked for in the context, first wins.
BUILD_FILES = ("iEchorfile", "Dockerfile", "Containerfile")

_IGNORE_SUFFIXES = (".iechorignore", ".dockerignore")
_IGNORE_FILES = (".iechorignore", ".dockerignore")

# `# syntax=` names of the language that is built in: version 1 and its minor ones, stable or labs.
_BUILTIN_SYNTAX = re.compile(
    r"(?:(?:index\.)?docker\.io/)?(?:iechor/iechorfile|docker/dockerfile)(?:-upstream)?"
    r"(?::(?:1(?:\.[0-9]+){0,2}(?:-labs)?|latest|labs|master(?:-labs)?))?(?:@sha256:[0-9a-f]{64})?"
)


def kind_of(spelling: str) -> str | None:
    """The kind of the instruction `spelling` (lower case), None for an unknown one."""
    return INSTRUCTIONS.get(spelling)


def ignore_files_beside(build_file: str) -> tuple[str, ...]:
    """Names of the ignore file that belongs to one build file, best first; it wins over those of the context."""
    return tuple(build_file + suffix for suffix in _IGNORE_SUFFIXES)


def ignore_files() -> tuple[str, ...]:
    """Names of the ignore file of a context, best first."""
    return _IGNORE_FILES


def is_builtin_syntax(name: str) -> bool:
    """Whether `# syntax=name` asks for the language built in here; `name` is an image reference."""
    return _BUILTIN_SYNTAX.fullmatch(name) is not None
