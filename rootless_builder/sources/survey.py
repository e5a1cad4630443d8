"""What a COPY takes from a folder of the host, looked at once and kept packed: no Python object for each file.

    Survey(found) ──recall──▶ digests known from before ──learn──▶ all of them ──▶ digest of the selection
                                        └──────── layer.packed.Packing ─────────▶ all of them, and the layer

Only for what can be taken whole: no hard links, devices, attributes of the user's, names like whiteouts, and an ignore
file whose exceptions do not matter there. For the rest DirectorySource.survey says None, and its tree is walked.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from .. import layercore
from ..errors import SourceError
from ..paths import ImagePath, basename, decode, encode, join, parent
from .pruned import Ignore

LARGE_FILES, LARGE_BYTES = 64, 1 << 20  # from here on it is worth remembering, and worth not reading twice
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
HINT = "make it readable, or exclude it in .iechorignore"


class Memory(Protocol):
    """Digests of earlier surveys, by the place that was looked at (an absolute path)."""

    def recall(self, place: Path) -> tuple[memoryview, memoryview]:
        """(what layercore.recall may believe, what layercore.remember may settle entries by); empty for none."""

    def quiet(self, place: Path) -> int:
        """Nanoseconds since the epoch: what was last changed before then cannot change unnoticed any more."""

    def keep(self, place: Path, memory: bytes) -> None: ...


class NotWhole(Exception):
    """What was looked at has to be taken file by file."""


class Survey:
    """Of `path`, a file or folder below `root_fd`, opened without following a symlink. place: its absolute path.

    contents: the digests, as native/survey.h has them. One lock: stages side by side may ask for the same folder.
    Errors: NotWhole, SourceError.
    """

    def __init__(self, root_fd: int, path: ImagePath, place: Path, memory: Memory | None,
                 skipped: Iterable[ImagePath] = ()) -> None:
        self.path = path
        self.place = place
        self.lock = threading.Lock()
        self._above = parent(path)
        cut = len(encode(self._above)) + 1 if self._above else 0
        left = sorted((encode(one)[cut:] for one in skipped), key=lambda one: one.split(b"/"))
        self.is_odd = False
        with self.explained():
            self.fd = os.open(encode(self._above) or b".", _FOLDER, dir_fd=root_fd)
        try:
            with self.explained():
                self.snapshot = layercore.survey(self.fd, [encode(basename(path))] if path else None, left)
            self.files, self.bytes, odd = self.snapshot.facts()
            if odd:
                raise NotWhole
        except BaseException:
            self.close()
            raise
        self.contents = bytearray(32 * len(self.snapshot))
        self.is_large = self.files >= LARGE_FILES or self.bytes >= LARGE_BYTES
        self._memory = memory if self.is_large else None
        self._before = memoryview(b"")
        self._unknown = 1
        self.is_complete = False
        self.is_cold = self.is_large
        if self._memory is not None:
            known, self._before = self._memory.recall(place)
            self._unknown, unread = layercore.recall(self.snapshot, known, self.contents)
            self.is_cold = 2 * unread > self.bytes

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def learn(self) -> None:
        """Reads what is not known yet. Errors: NotWhole, SourceError."""
        with self.lock:
            if not self.is_complete:
                with self.explained():
                    layercore.learn(self.fd, self.snapshot, self.contents)
                self.complete()

    def complete(self) -> None:
        """All digests are there (the caller holds the lock): they are remembered for the next build."""
        self.is_complete = True
        self.is_cold = False
        if self._memory is not None and self._unknown:
            self._memory.keep(self.place, layercore.remember(self.snapshot, self.contents, self._before,
                                                             self._memory.quiet(self.place)))

    def told(self, modes: bytes) -> tuple[bytes, bytes]:
        """What a selection's digest is made of: paths and kinds, and the digests of contents. modes: 4096 numbers of
        32 bits, what of each mode counts.
        """
        self.learn()
        named = len(encode(basename(self.path))) + 1 if self.path else 0
        return layercore.tell(self.snapshot, self.contents, 0, named, modes)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """OSError inside → NotWhole, from then on; or SourceError that names the file as the context does."""
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                self.is_odd = True
                raise NotWhole from error
            if error.filename is None:
                raise
            name = decode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
            raise SourceError(f"cannot read {join(self._above, name)}: {error.strerror}", hint=HINT) from error


def skipped_below(root_fd: int, folder: ImagePath, ignore: Ignore) -> Iterator[ImagePath]:
    """What of `folder` the ignore file leaves out, the topmost of each alone. Looks only where a pattern may match.

    Errors: NotWhole where an exception may bring something back; OSError.
    """
    pending = [folder]
    while pending:
        here = pending.pop()
        fd = os.open(encode(here) or b".", _FOLDER, dir_fd=root_fd)
        try:
            with os.scandir(fd) as listing:
                for entry in listing:
                    path = join(here, entry.name)
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if ignore.matches(path):
                        if is_folder and ignore.may_reinclude_below(path):
                            raise NotWhole
                        yield path
                    elif is_folder and ignore.may_match_below(path):
                        pending.append(path)
        finally:
            os.close(fd)
