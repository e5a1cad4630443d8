"""A folder of the host as a Tree, read in place and only where someone looks.

Nothing is copied. What the ignore file excludes is not in the tree; an excluded folder is not even listed, unless
a "!" rule may bring something below it back. Owners are 0:0, as BuildKit sends a context; sockets are left out.
"""

import contextlib
import functools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from ..errors import SourceError
from ..paths import ROOT, ImagePath, decode, encode, join
from ..tree.node import Device, Directory, File, HostFile, Meta, Node, Symlink
from ..tree.tree import Tree
from .pruned import Ignore
from .selection import on_host, selection_digest, survey_digest, survey_parts
from .survey import Memory, NotWhole, Survey, skipped_below
from .umask import umask_of

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class DirectorySource:
    """The folder `path`. Keep it open (it is a context manager) for as long as nodes of its tree are read."""

    def __init__(self, path: Path, ignore: Ignore | None = None, memory: Memory | None = None) -> None:
        try:
            self._fd = os.open(path, _DIRECTORY)
        except OSError as error:
            raise SourceError(f"cannot read the build context {path}: {error.strerror}",
                              hint="give an existing folder that you may read") from error
        self.path = path
        self._ignore = ignore
        self._memory = memory
        self._surveys: dict[ImagePath, Survey | None] = {}
        self._links: dict[tuple[int, int], File] = {}
        self._tree = Tree(Directory(_meta(os.stat(self._fd)), _Listing(self, ROOT)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for survey in self._surveys.values():
            if survey is not None:
                survey.close()
        os.close(self._fd)

    def tree(self) -> Tree:
        """The same tree at every call: what was listed once is not listed again."""
        return self._tree

    def digest(self, found: Iterable[tuple[ImagePath, ImagePath]], part: Tree | None = None) -> str:
        """Of what `found` names, contents read now: see selection.selection_digest. part: a tree of some of our
        nodes, to be looked at instead of all.
        """
        found = list(found)
        with contextlib.suppress(NotWhole):
            surveys = [self.survey(path) for _, path in found] if part is None else []
            if surveys and None not in surveys:
                return survey_digest([(named, survey) for (named, _), survey in
                                                  zip(found, surveys, strict=True) if survey is not None], self._umask)
        return selection_digest(part or self._tree, on_host(self._fd), found, self._umask)

    def parts(self, found: Iterable[tuple[ImagePath, ImagePath]], most: int) -> list[tuple[ImagePath, str]]:
        """(path as named, digest) of each file that `found` names or leads to; none where they are more than `most`,
        or have to be taken file by file. Errors: SourceError.
        """
        surveys = [(named, survey) for named, path in found if (survey := self.survey(path)) is not None]
        if sum(survey.files for _, survey in surveys) > most:
            return []
        with contextlib.suppress(NotWhole):
            return [(join(named, path) if path else named, digest) for named, survey in surveys
                    for path, digest in survey_parts(survey, self._umask)]
        return []

    @functools.cached_property
    def _umask(self) -> int:
        return umask_of(self._fd)

    def survey(self, path: ImagePath) -> Survey | None:
        """What is at `path`, a file or folder, looked at once; None when it has to be taken file by file."""
        if path not in self._surveys:
            self._surveys[path] = None
            with contextlib.suppress(NotWhole, OSError, SourceError):  # the tree, walked, tells what is wrong
                self._surveys[path] = self._surveyed(path)
        found = self._surveys[path]
        return None if found is None or found.is_odd else found

    def _surveyed(self, path: ImagePath) -> Survey:
        node = self._tree.lookup(path)
        if not isinstance(node, File | Directory) or node.meta.xattrs:
            raise NotWhole
        skipped: Iterable[ImagePath] = ()
        if self._ignore is not None and isinstance(node, Directory) and self._ignore.may_match_below(path):
            skipped = skipped_below(self._fd, path, self._ignore)
        return Survey(self._fd, path, Path(os.path.realpath(self.path)) / path, self._memory, skipped)

    def ignores(self, path: ImagePath) -> bool:
        """Is `path` excluded by the ignore file?"""
        return self._ignore is not None and self._ignore.matches(path)

    def entries(self, folder: ImagePath) -> Iterator[tuple[str, Node]]:
        """What lies in `folder`, in no order. Errors: SourceError where it cannot be read."""
        fd = self._open_folder(folder)
        try:
            with os.scandir(fd) as listing:
                for entry in listing:
                    name = decode(encode(entry.name))
                    node = self._node(join(folder, name), fd, entry)
                    if node is not None:
                        yield name, node
        finally:
            os.close(fd)

    def _open_folder(self, folder: ImagePath) -> int:
        try:
            return os.open(encode(folder) or b".", _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._fd)
        except OSError as error:
            raise SourceError(f"cannot read {self.path / folder}: {error.strerror}",
                              hint="make it readable, or exclude it in .iechorignore") from error

    def _node(self, path: ImagePath, fd: int, entry: "os.DirEntry[str]") -> Node | None:
        excluded = self._ignore is not None and self._ignore.matches(path)
        if excluded and not (entry.is_dir(follow_symlinks=False) and self._keeps_some(path)):
            return None
        info = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
        meta = _meta(info, _xattrs(fd, entry.name))
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFREG:
            return self._file(path, meta, info)
        if kind == stat.S_IFDIR:
            return Directory(meta, _Listing(self, path))
        if kind == stat.S_IFLNK:
            return Symlink(meta, decode(os.fsencode(os.readlink(entry.name, dir_fd=fd))))
        if kind == stat.S_IFSOCK:
            return None
        return Device(meta, kind, os.major(info.st_rdev), os.minor(info.st_rdev))

    def _keeps_some(self, folder: ImagePath) -> bool:
        """An excluded folder is in the context when a "!" rule brings back something below it."""
        assert self._ignore is not None
        return self._ignore.may_reinclude_below(folder) and any(True for _ in self.entries(folder))

    def _file(self, path: ImagePath, meta: Meta, info: os.stat_result) -> File:
        """Two names of one inode are one File, as a hard link in the image."""
        if info.st_nlink == 1:
            return File(meta, HostFile(self._fd, encode(path)), info.st_size)
        found = File(meta, HostFile(self._fd, encode(path)), info.st_size)
        return self._links.setdefault((info.st_dev, info.st_ino), found)


class _Listing(Mapping[str, Node]):
    """A folder's entries, read when first asked for."""

    __slots__ = ("_folder", "_nodes", "_source")

    def __init__(self, source: DirectorySource, folder: ImagePath) -> None:
        self._source = source
        self._folder = folder
        self._nodes: dict[str, Node] | None = None

    def _read(self) -> dict[str, Node]:
        if self._nodes is None:
            self._nodes = dict(self._source.entries(self._folder))
        return self._nodes

    def __getitem__(self, name: str) -> Node:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def _meta(info: os.stat_result, xattrs: tuple[tuple[str, bytes], ...] = ()) -> Meta:
    return Meta(stat.S_IMODE(info.st_mode), 0, 0, info.st_mtime_ns, xattrs)


def _xattrs(fd: int, name: str) -> tuple[tuple[str, bytes], ...]:
    """The user's own attributes; the others (security.*, ACLs) are this host's, not the image's."""
    path = f"/proc/self/fd/{fd}/{name}"
    try:
        names = sorted(key for key in os.listxattr(path, follow_symlinks=False) if key.startswith("user."))
        return tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in names)
    except OSError:  # a file system without them, or a /proc that is masked
        return ()
