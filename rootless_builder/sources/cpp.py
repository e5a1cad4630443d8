"""The C preprocessor for build files whose name ends in .in, called as buildah calls it.

    cpp -E -iquote FOLDER -traditional -undef - FLAGS… ──▶ text, and the list of the files it read
                                                           each of them has to lie in the context, in a folder that
                                                           the flags name, or among the host's own headers

A build file may come from anybody: `#include "/home/me/.ssh/id"` would hand a file of this machine to its RUNs.
"""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import SourceError
from ..values import dataclass

SYSTEM = "/usr/include"  # of the host: what cpp reads unasked lies there
_FOLDERS = ("-iquote", "-isystem", "-idirafter", "-include", "-imacros", "-I")
_ODD = "invalid preprocessing directive"  # what a comment is to cpp
_START = b'# 1 "<stdin>"\n'


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """comments: how many lines were left out because they begin with "#" and are no directive."""

    text: bytes
    comments: int


def preprocess(text: bytes, name: str, *, folder: Path | None, flags: Sequence[str], environ: Mapping[str, str],
               tmp: Path) -> Preprocessed:
    """folder: of the context, from which #include "…" reads; None for one that is no folder. environ: the user's.

    Errors: SourceError.
    """
    import subprocess  # late, as other imports of what only some builds need

    quoted = ["-iquote", str(folder.absolute())] if folder else []
    env = {key: value for key, value in environ.items() if not key.endswith(("DEPENDENCIES_OUTPUT", "_DEPENDENCIES"))}
    with tempfile.NamedTemporaryFile(prefix="iechor-cpp-", dir=tmp) as read:
        try:
            done = subprocess.run(["cpp", "-E", *quoted, "-traditional", "-undef", "-", *flags, "-MD", "-MT", "x",
                                   "-MF", read.name], input=text, capture_output=True, check=False,
                                  cwd=folder or tmp, env=env | {"LC_ALL": "C"})
        except FileNotFoundError:
            raise SourceError(f"cannot read {name}: its name ends in .in, and cpp is not installed",
                              hint="install cpp (the C preprocessor, of gcc), or name the file without .in") from None
        said = done.stderr.decode("utf-8", "replace").splitlines()
        wrong = [line for line in said if "error: " in line and _ODD not in line]
        comments = sum(_ODD in line for line in said)
        if wrong or (done.returncode and not comments):
            raise SourceError(f"cannot preprocess {name}: {(wrong or said or ['cpp failed'])[0]}",
                              notes=tuple(f"cpp: {line}" for line in said[1:10]))
        _refuse_strangers(_dependencies(read.read()), name, folder or tmp, [*quoted, *flags])
    return Preprocessed(done.stdout.partition(_START)[2] or done.stdout, comments)


def _dependencies(rule: bytes) -> list[str]:
    """The files of a make rule "x: FILE FILE \\\\ …", its escapes undone."""
    words = re.findall(r"(?:\\.|[^\s\\])+", os.fsdecode(rule).replace("\\\n", " "))
    return [re.sub(r"\\(.)", r"\1", word).replace("$$", "$") for word in words if word not in ("x:", "-")]


def _refuse_strangers(files: Sequence[str], name: str, folder: Path, flags: Sequence[str]) -> None:
    """Errors: SourceError for a file of this machine that nobody gave to the build."""
    given = [os.path.realpath(folder / place) for place in (SYSTEM, *_places(flags))]
    for file in files:
        found = os.path.realpath(folder / file)
        if not any(found == place or found.startswith(place.rstrip("/") + "/") for place in given):
            raise SourceError(f"cannot preprocess {name}: it includes {file}, which is not in the context",
                              hint="copy that file into the context, or allow its folder with --cpp-flag=-IFOLDER")


def _places(flags: Sequence[str]) -> list[str]:
    """The folders and files that the flags name."""
    found: list[str] = []
    for at, flag in enumerate(flags):
        option = next((one for one in _FOLDERS if flag.startswith(one)), None)
        if option == flag:
            found.extend(flags[at + 1:at + 2])
        elif option is not None:
            found.append(flag.removeprefix(option))
    return found
