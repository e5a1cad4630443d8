"""What a build may read besides its bases: the main context and the named ones (--build-context NAME=SOURCE).

    main   = a folder | a tar archive | "-" (one of those on stdin) | "-" (an iEchorfile on stdin, and no context)
           | a git repository | the URL of a tar archive | the URL of an iEchorfile
    SOURCE = a folder | a tar archive | a git repository | a URL: one file, named "context"
           | oci-layout://PATH[:TAG|@DIGEST] | docker-image://NAME
           | target:STAGE: a stage of the file itself, which plan/stages.py knows

A path that is there is taken before a URL or repository of that spelling. Each is opened when first asked for and
stays open until the build ends.
"""

import errno
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self, TypeVar

from ..errors import DiskFull, IechorfileError, SourceError, UsageError
from ..events import Emit, Notice
from ..language.ignore import IgnorePatterns
from ..layer.compress import is_tar
from ..oci.reference import Reference
from ..paths import ImagePath
from ..plan.remotes import GitSource, HttpSource, git_source, http_source
from ..sources.archive import ArchiveSource
from ..sources.directory import DirectorySource
from ..sources.fetched import NAME, FetchedSource
from ..sources.survey import Memory
from ..store.atomic import write_all
from ..tree.node import File, Meta
from ..tree.tree import Tree
from ..values import dataclass, replace
from . import buildfile
from .buildfile import BuildFile
from .remotes import Remotes, TempFile

T = TypeVar("T")
Source = DirectorySource | ArchiveSource | FetchedSource
STDIN = "-"
HEAD = 1 << 20  # bytes that tell an archive from other files: a bzip2 block is up to 900 kB
IMAGES = ("docker-image", "container-image", "docker")  # docker's word for it, and podman's
RESERVED = ("scratch", "context")  # no context stands in for these


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A named context that is an image. kind: oci-layout or docker-image; place: what follows the "://"."""

    kind: str
    place: str


class Contexts:
    """A context manager; one for each build, for several threads. tmp: a folder for inflated archives.

    memory: of what folders held at earlier builds. keep_git_dir: of the main context; commit_times: files of a
    repository have the time of the commit.
    """

    def __init__(self, main: str, named: Mapping[str, str], *, remotes: Remotes, tmp: Path, default_registry: str,
                 emit: Emit, keep_git_dir: bool = False, commit_times: bool = False,
                 memory: Memory | None = None) -> None:
        self._main = main
        self._remotes = remotes
        self.tmp = tmp
        self._named = {_normal(name, default_registry): (name, source) for name, source in named.items()}
        self._default_registry = default_registry
        self._emit = emit
        self._keep_git_dir = keep_git_dir
        self._commit_times = commit_times
        self._memory = memory
        self._open: dict[str, Source] = {}
        for _, source in self._named.values():  # one that is not there is told before anything is done
            if not _is_image_place(source) and _stage(source) is None:
                place_of(source)
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    # -- the main context ------------------------------------------------------------------------------

    def read_build_file(self, file: str | None, ignorefile: str | None) -> BuildFile:
        """The file to build from; opens the main context, less what the ignore file excludes.

        Errors: SourceError, UsageError, IechorfileError.
        """
        if file == STDIN and self._main == STDIN:
            raise UsageError("cannot read both the context and the iEchorfile from standard input",
                             hint="give one of them a path")
        place = STDIN if self._main == STDIN else place_of(self._main)
        if isinstance(place, Path) and place.is_dir():
            return self._from_folder(place, file, ignorefile)
        ignore = buildfile.patterns(None, None, ignorefile)
        if isinstance(place, GitSource):
            return self._from_git(place, file, ignore)
        if isinstance(place, Path):
            return self._from_archive(_opened(place), file, ignore)
        data = self._fetched(place) if isinstance(place, HttpSource) else self._spooled()
        if is_tar(buildfile.read_file(replace(data, size=min(data.size, HEAD)))):
            return self._from_archive(data.content.open()[0], file, ignore)
        return self._from_text(data, file)

    def main(self) -> Source:
        return self._open[""]

    def _from_folder(self, folder: Path, file: str | None, ignorefile: str | None) -> BuildFile:
        given = self._given(file)
        path = None if given else buildfile.local_file(folder, file)
        name, text = given or ((file if file is not None else path.name) if path else "", b"")
        if path is not None:
            text = buildfile.read_local(path)
        ignore = buildfile.patterns(folder, path, ignorefile)
        self._opens(DirectorySource(folder, ignore, self._memory))
        return BuildFile(text, name, ignore)

    def _from_git(self, place: GitSource, file: str | None, ignore: IgnorePatterns | None) -> BuildFile:
        asked = replace(place, keep_git_dir=bool(place.keep_git_dir) or self._keep_git_dir)
        if self._commit_times:
            asked = replace(asked, mtime="commit")
        whole = self._remotes.folder(asked)
        self._opens(whole)
        if ignore is not None:
            self._opens(self._remotes.folder(asked, ignore))
        return self._inside(whole.tree(), file, ignore)

    def _from_archive(self, fd: int, file: str | None, ignore: IgnorePatterns | None) -> BuildFile:
        what = "the context on standard input" if self._main == STDIN else self._main
        archive = ArchiveSource(fd, what=what, tmp=self.tmp, ignore=ignore)
        self._opens(archive)
        return self._inside(archive.whole, file, ignore)

    def _from_text(self, data: File, file: str | None) -> BuildFile:
        """What was fetched, or comes from standard input, is the iEchorfile."""
        given = self._given(file) if self._main != STDIN else None
        if file is not None and given is None:
            what = "standard input" if self._main == STDIN else self._main
            raise UsageError(f"{what} is an iEchorfile, and --file names another",
                             hint="leave --file out, or give a context that is an archive or a folder")
        self._opens(FetchedSource(None if self._main == STDIN else data))
        name, text = given or (self._main, buildfile.read_file(data))
        return BuildFile(text, name, None)

    def _inside(self, tree: Tree, file: str | None, ignore: IgnorePatterns | None) -> BuildFile:
        """The build file of a context that is no folder of this machine."""
        found = self._given(file) or buildfile.in_tree(tree, file, self._main)
        if found is None:
            assert file is not None
            if not os.path.isabs(file) or not os.path.isfile(file):
                raise SourceError(f"cannot find {file} in the context {self._main}",
                                  hint="--file is a path inside the context, or an absolute one of this machine")
            found = file, buildfile.read_local(Path(file))
        left = buildfile.unapplied(tree) if ignore is None else None
        if left is not None:
            self._emit(Notice(text=f"{left} of the context is not applied: it is for folders of this machine, as "
                                   "docker has it; --ignorefile gives one for any context"))
        return BuildFile(found[1], found[0], ignore)

    def _given(self, file: str | None) -> tuple[str, bytes] | None:
        """(name, text) of a build file from standard input or a URL; None when it is to be looked for."""
        if file == STDIN:
            return STDIN, _stdin()
        source = http_source(file) if file is not None and not os.path.exists(file) else None
        if source is None:
            return None
        assert file is not None
        return file, buildfile.read_file(self._fetched(source))

    # -- the named contexts ----------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Is there a named context that stands in for `name`, a stage or an image?"""
        return name.lower() not in RESERVED and _normal(name, self._default_registry) in self._named

    def named(self, name: str) -> Source | ImageSource | None:
        """The named context that `name` means, in FROM or --from; None when there is none of that name."""
        if not self.has(name):
            return None
        key = _normal(name, self._default_registry)
        source = self._named[key][1]
        kind, mark, place = source.partition("://")
        if mark and kind in IMAGES:
            return ImageSource("docker-image", place)
        if mark and kind == "oci-layout":
            return ImageSource(kind, place)
        with self._lock:
            if key not in self._open:
                self._opens(self._source(source), key)
            return self._open[key]

    def replaced(self, name: str) -> str | None:
        """What stands in for `name`: a stage of the file (in lower case), "" for a context, None for nothing."""
        return (_stage(self.told(name)) or "") if self.has(name) else None

    def told(self, name: str) -> str:
        """What was given for `name`, as the user wrote it."""
        return self._named[_normal(name, self._default_registry)][1]

    def keep(self, opened: AbstractContextManager[T]) -> T:
        """Closed with the contexts: of an archive, nodes are read when the layer is written."""
        return self._stack.enter_context(opened)

    def _source(self, text: str) -> Source:
        place = place_of(text)
        if isinstance(place, GitSource):
            return self._remotes.folder(place)
        if isinstance(place, HttpSource):
            return FetchedSource(self._fetched(place))
        if place.is_dir():
            return DirectorySource(place, buildfile.patterns(place, None, None), self._memory)
        return ArchiveSource(_opened(place), what=text, tmp=self.tmp)

    def _fetched(self, source: HttpSource) -> File:
        tree, path = self._remotes.tree(replace(source, name=NAME))
        node = tree.lookup(path)
        assert isinstance(node, File)
        return node

    def _spooled(self) -> File:
        """Standard input, on the disk: an archive may be larger than memory. Errors: DiskFull."""
        import tempfile

        fd, name = tempfile.mkstemp(prefix="iechor-stdin-", dir=self.tmp)
        self._stack.callback(os.close, fd)
        os.unlink(name)
        size = 0
        try:
            while data := os.read(0, HEAD):
                write_all(fd, data)
                size += len(data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"cannot keep the context on standard input: {error.strerror}",
                               hint="set TMPDIR to a larger disk") from error
            raise SourceError(f"cannot read standard input: {error.strerror}") from error
        return File(Meta(0o600), TempFile(fd), size)

    def _opens(self, source: Source, key: str = "") -> None:
        self._stack.enter_context(source)
        self._open[key] = source


def _is_image_place(source: str) -> bool:
    kind, mark, _ = source.partition("://")
    return bool(mark) and kind in (*IMAGES, "oci-layout")


def _stage(source: str) -> str | None:
    """STAGE of target:STAGE, in lower case; None for another kind of context."""
    kind, mark, name = source.partition(":")
    return name.lower() if mark and kind == "target" and not os.path.exists(source) else None


def place_of(text: str) -> Path | GitSource | HttpSource:
    """Where a context is: something on this disk, or a remote one. Errors: SourceError, UsageError."""
    refused: OSError | None = None
    try:
        os.stat(text)
        return Path(text)
    except (OSError, ValueError) as error:
        refused = error if isinstance(error, OSError) else None
    try:
        repository = git_source(f"https://{text}" if text.startswith("github.com/") else text)
        remote = repository.checked("", None) if repository is not None else http_source(text)
    except IechorfileError as error:
        raise UsageError(f"cannot use the build context {text}: {error.message}", hint=error.hint) from None
    if remote is not None:
        return remote
    cause = refused.strerror if refused is not None else "it has a zero byte"
    hint = "give an existing folder or archive that you may read"
    if "::" in text or "://" in text:
        cause = "there is no such kind of URL"
        hint = ("git://, ssh:// and https://….git are repositories, http:// and https:// archives or files; "
                "what is on this machine is given as its path")
    elif _is_image(text):
        hint += f"; an image is written docker-image://{text}"
    raise SourceError(f"cannot read the build context {text}: {cause}", hint=hint)


def near_names(tree: Tree, path: ImagePath) -> Iterable[str]:
    """Names in the folder of `path` that look like it: for "did you mean"."""
    import difflib

    from ..paths import basename, join, parent
    from ..tree.node import Directory

    holder = tree.lookup(parent(path))
    names = list(holder.entries) if isinstance(holder, Directory) else []
    return [join(parent(path), name) for name in difflib.get_close_matches(basename(path), names, n=1)]


def _is_image(text: str) -> bool:
    try:
        Reference.parse(text)
    except UsageError:
        return False
    return not text.startswith((".", "/"))


def _normal(name: str, default_registry: str) -> str:
    """Two spellings of an image are one name; what is no image name stands for itself, in lower case."""
    try:
        return str(Reference.parse(name.lower(), default_registry=default_registry).with_default_tag())
    except UsageError:
        return name.lower()


def _opened(path: Path) -> int:
    """Errors: SourceError for what is no archive for sure: a device, a socket, a file that cannot be read."""
    try:
        if not (path.is_file() or path.is_fifo()):
            raise SourceError(f"cannot read the build context {path}: it is neither a folder nor a file")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"cannot read the build context {path}: {error.strerror}") from error


def _stdin() -> bytes:
    with open(0, "rb", closefd=False) as stream:
        return stream.read()
