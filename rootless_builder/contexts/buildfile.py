"""The iEchorfile of a build and what its ignore file excludes: where they are looked for.

    -f              the context is a folder             the context is an archive, a repository or a URL
    nothing         iEchorfile, Dockerfile or Containerfile of the context
    PATH            from the current folder, else       inside the context; an absolute path that is not there is
                    from the context                    one of this machine
    -, URL          standard input, or what is fetched

    ignore file     --ignorefile, else FILE.iechorignore or FILE.dockerignore beside the build file, else the one of
                    the folder; as in BuildKit, none that lies in an archive or a repository
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ..errors import IechorError, IechorfileError, SourceError
from ..language.ignore import IgnorePatterns
from ..language.keywords import BUILD_FILES, ignore_files, ignore_files_beside
from ..paths import image_path
from ..tree.node import File
from ..tree.tree import SymlinkLoop, Tree
from ..values import dataclass

NAMES = (*BUILD_FILES, "iechorfile", "dockerfile")  # in lower case too, as docker has it


@dataclass(frozen=True, slots=True)
class BuildFile:
    """The iEchorfile: its text as it is, the name shown in messages, and what its ignore file excludes.

    As a context manager it gives its text to errors that point into it: it cannot always be read again.
    """

    text: bytes
    name: str
    ignore: IgnorePatterns | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, IechorError) and error.span is not None and error.span.file == self.name:
            error.source = self.text.decode("utf-8-sig", "replace")


def local_places(folder: Path, file: str | None) -> Sequence[Path]:
    """Where the build file may be; the first that is there counts."""
    return [folder / name for name in NAMES] if file is None else [Path(file), folder / file]


def local_file(folder: Path, file: str | None) -> Path:
    """Errors: SourceError."""
    for path in local_places(folder, file):
        if os.path.isfile(path):
            return path
    if file is not None:
        raise SourceError(f"cannot read {file}: there is no such file",
                          hint="--file is taken from the current folder, then from the context")
    raise SourceError(f"cannot find an iEchorfile in {folder}",
                      hint=f"write {BUILD_FILES[0]} there, or name the file with --file")


def read_local(path: Path) -> bytes:
    """Errors: SourceError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def in_tree(tree: Tree, file: str | None, what: str) -> tuple[str, bytes] | None:
    """(name, text) of the build file of an archive or a repository; None when it has not the one that `file` names.

    Errors: SourceError where there is none at all.
    """
    for name in NAMES if file is None else (file,):
        try:
            node = tree.lookup(tree.resolve(image_path(name)))
        except SymlinkLoop:
            node = None
        if isinstance(node, File):
            return name, read_file(node)
    if file is not None:
        return None
    raise SourceError(f"cannot find {BUILD_FILES[0]} in the context {what}",
                      hint="name it with --file, as a path inside the context")


def read_file(node: File, limit: int = 16 << 20) -> bytes:
    """The bytes of a small file. Errors: SourceError beyond `limit` bytes, or when it cannot be read."""
    if node.size > limit:
        raise SourceError(f"cannot read a file of {node.size} bytes: more than {limit}")
    try:
        fd, offset = node.content.open()
        with open(fd, "rb") as stream:
            stream.seek(offset)
            return stream.read(node.size)
    except OSError as error:
        raise SourceError(f"cannot read the file: {error.strerror}") from error


def ignore_places(folder: Path | None, file: Path | None, ignorefile: str | None) -> Sequence[Path]:
    """Where the ignore file may be; the first that is there counts. folder: None for a context that is no folder of
    this machine; file: the build file where it is one of this machine."""
    return [Path(ignorefile)] if ignorefile else [] if folder is None else [
        *([file.with_name(name) for name in ignore_files_beside(file.name)] if file is not None else []),
        *(folder / name for name in ignore_files())]


def patterns(folder: Path | None, file: Path | None, ignorefile: str | None) -> IgnorePatterns | None:
    """What is left out of the context, see ignore_places. Errors: SourceError, IechorfileError."""
    for path in ignore_places(folder, file, ignorefile):
        try:
            return IgnorePatterns.read(path.read_text("utf-8", "surrogateescape"))
        except FileNotFoundError:
            if ignorefile:
                raise SourceError(f"cannot read {ignorefile}: there is no such file") from None
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror}") from error
        except IechorfileError as error:
            raise IechorfileError(f"{path}: {error.message}", hint=error.hint) from error
    return None


def unapplied(tree: Tree) -> str | None:
    """The name of an ignore file in `tree` that a user may believe to count."""
    return next((name for name in ignore_files() if tree.lookup(image_path(name)) is not None), None)
