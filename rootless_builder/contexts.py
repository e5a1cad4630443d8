"""What a build may read besides its bases: the main context and the named ones (--build-context NAME=SOURCE).

    SOURCE = a folder | a tar archive | oci-layout://PATH[:TAG] | docker-image://NAME
    main   = a folder | a tar archive | "-" (one of those on stdin) | "-" (an iEchorfile on stdin, and no context)

Each is opened when first asked for and stays open until the build ends.
"""

import io
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .errors import IechorError, IechorfileError, SourceError, UnsupportedError, UsageError
from .language.ignore import IgnorePatterns
from .language.keywords import BUILD_FILES, ignore_files, ignore_files_beside
from .layer.compress import is_tar
from .oci.reference import Reference
from .paths import ImagePath, image_path
from .sources.archive import ArchiveSource
from .sources.directory import DirectorySource
from .tree.node import File
from .tree.tree import Tree

Source = DirectorySource | ArchiveSource
STDIN = "-"
REMOTE = ("http://", "https://", "git@", "git://", "ssh://", "git+")


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A named context that is an image. kind: oci-layout or docker-image; place: what follows the "://"."""

    kind: str
    place: str


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


class Contexts:
    """A context manager; one for each build. tmp: a folder for inflated archives."""

    def __init__(self, main: str, named: Mapping[str, str], *, tmp: Path, default_registry: str) -> None:
        self._main = main
        self._tmp = tmp
        self._named = {_normal(name, default_registry): (name, source) for name, source in named.items()}
        self._default_registry = default_registry
        self._open: dict[str, Source] = {}
        self._stack = ExitStack()
        self._ignore: IgnorePatterns | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def read_build_file(self, file: str | None, ignorefile: str | None) -> BuildFile:
        """The file to build from; what its ignore file says holds for the main context from now on.

        Errors: SourceError, UsageError.
        """
        if file == STDIN and self._main == STDIN:
            raise UsageError("cannot read both the context and the iEchorfile from standard input",
                             hint="give one of them a path")
        if self._main == STDIN or (not self._main.startswith(REMOTE) and not is_folder(self._main)):
            found = self._from_archive(file)
        else:
            found = self._from_folder(file, ignorefile)
        self._ignore = found.ignore
        return found

    def main(self) -> Source:
        if "" not in self._open:
            self._open[""] = self._entered(self._folder_or_archive(self._main, self._ignore))
        return self._open[""]

    def named(self, name: str) -> Source | ImageSource | None:
        """The named context that `name` means, in FROM or --from; None when there is none of that name."""
        key = _normal(name, self._default_registry)
        if key not in self._named:
            return None
        source = self._named[key][1]
        kind, mark, place = source.partition("://")
        if mark and kind in ("oci-layout", "docker-image"):
            return ImageSource(kind, place)
        if source.startswith(REMOTE) or kind == "target":
            raise UnsupportedError(f"cannot use {source} as a build context: not carried out by this release",
                                   hint="give a folder, a tar archive, oci-layout://PATH or docker-image://NAME")
        if key not in self._open:
            self._open[key] = self._entered(self._folder_or_archive(source, None))
        return self._open[key]

    def told(self, name: str) -> str:
        """What was given for `name`, as the user wrote it."""
        return self._named[_normal(name, self._default_registry)][1]

    def keep(self, archive: ArchiveSource) -> ArchiveSource:
        """Closed with the contexts: nodes of its tree are read when the layer is written."""
        return self._stack.enter_context(archive)

    def _entered(self, source: Source) -> Source:
        self._stack.enter_context(source)
        return source

    def _folder_or_archive(self, place: str, ignore: IgnorePatterns | None) -> Source:
        if is_folder(place):
            return DirectorySource(Path(place), ignore)
        try:
            fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(f"cannot read the build context {place}: {error.strerror}") from error
        return ArchiveSource(fd, what=place, tmp=self._tmp)

    def _from_folder(self, file: str | None, ignorefile: str | None) -> BuildFile:
        folder = Path(self._main)
        if self._main.startswith(REMOTE):
            raise UnsupportedError(f"cannot build {self._main}: remote contexts are not carried out by this release",
                                   hint="fetch it, and give the folder")
        if file == STDIN:
            return BuildFile(_stdin(), "-", self._patterns(folder, None, ignorefile))
        path = _find(folder, file)
        try:
            text = path.read_bytes()
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror}") from error
        shown = file if file is not None else path.name
        return BuildFile(text, shown, self._patterns(folder, path, ignorefile))

    def _patterns(self, folder: Path, file: Path | None, ignorefile: str | None) -> IgnorePatterns | None:
        wanted = [Path(ignorefile)] if ignorefile else [
            *([file.with_name(name) for name in ignore_files_beside(file.name)] if file is not None else []),
            *(folder / name for name in ignore_files())]
        for path in wanted:
            try:
                return IgnorePatterns.read(path.read_text("utf-8", "surrogateescape"))
            except FileNotFoundError:
                if ignorefile:
                    raise SourceError(f"cannot read {ignorefile}: there is no such file") from None
            except OSError as error:
                raise SourceError(f"cannot read {path}: {error.strerror}") from error
            except ValueError as error:
                raise IechorfileError(f"{path}: {error}") from error
        return None

    def _from_archive(self, file: str | None) -> BuildFile:
        if self._main == STDIN:
            head = _stdin()
            if not is_tar(head):
                if file is not None:
                    raise UsageError("standard input is an iEchorfile, and --file names another")
                self._open[""] = self._stack.enter_context(_empty(self._tmp))
                return BuildFile(head, "-", None)
            self._open[""] = self._stack.enter_context(_in_memory(head, self._tmp))
        tree = self.main().tree()
        name = file or next((name for name in BUILD_FILES if tree.lookup(image_path(name))), BUILD_FILES[0])
        node = tree.lookup(image_path(name))
        if not isinstance(node, File):
            raise SourceError(f"cannot find {name} in the context {self._main}",
                              hint="name it with --file, as a path inside the archive")
        return BuildFile(read_file(node), name, None)


def is_folder(place: str) -> bool:
    """A build context: folder or else an archive. Errors: SourceError where it cannot be looked at."""
    try:
        return stat.S_ISDIR(os.stat(place).st_mode)
    except OSError as error:
        raise SourceError(f"cannot read the build context {place}: {error.strerror}",
                          hint="give an existing folder or archive that you may read") from error


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


def near_names(tree: Tree, path: ImagePath) -> Iterable[str]:
    """Names in the folder of `path` that look like it: for "did you mean"."""
    import difflib

    from .paths import basename, join, parent
    from .tree.node import Directory

    holder = tree.lookup(parent(path))
    names = list(holder.entries) if isinstance(holder, Directory) else []
    return [join(parent(path), name) for name in difflib.get_close_matches(basename(path), names, n=1)]


def _find(folder: Path, file: str | None) -> Path:
    if file is not None:
        for path in (Path(file), folder / file):
            if os.path.isfile(path):
                return path
        raise SourceError(f"cannot read {file}: there is no such file",
                          hint="--file is taken from the current folder, then from the context")
    for name in BUILD_FILES:
        if os.path.isfile(folder / name):
            return folder / name
    raise SourceError(f"cannot find an iEchorfile in {folder}",
                      hint=f"write {BUILD_FILES[0]} there, or name the file with --file")


def _normal(name: str, default_registry: str) -> str:
    """Two spellings of an image are one name; what is no image name stands for itself, in lower case."""
    try:
        return str(Reference.parse(name, default_registry=default_registry).with_default_tag())
    except UsageError:
        return name.lower()


def _stdin() -> bytes:
    with open(0, "rb", closefd=False) as stream:
        return stream.read()


def _in_memory(data: bytes, tmp: Path) -> ArchiveSource:
    fd = os.memfd_create("context", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as sink:
        sink.write(data)
    os.lseek(fd, 0, io.SEEK_SET)
    return ArchiveSource(fd, what="the context on standard input", tmp=tmp)


def _empty(tmp: Path) -> ArchiveSource:
    return _in_memory(bytes(1024), tmp)
