"""Who owns the files of a cache mount, from one RUN to the next, where the disk cannot tell: in fakeroot mode.

    N/owners          owner table of N/files, by inode; not there: all is root's
    N/using/TOKEN     for each step that uses the cache: the table as it found it. It goes once the step's changes are
                      in `owners`. One of nobody means a supervisor that was killed: its owners are not known any more

Steps that share a cache at once each tell what they changed themselves; of two changes of one file the later stands.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..store import atomic
from ..values import dataclass
from .owners import OwnerRecord, decode, encode
from .places import REMEDY


@dataclass(slots=True)
class CacheOwners:
    """folder: N. table: what the supervisor starts from. Single-owner; from `begin` to `finish`."""

    folder: Path
    table: Path
    _running: bool = False

    @classmethod
    def begin(cls, folder: Path) -> "CacheOwners":
        """Errors: OSError."""
        using = folder / "using"
        atomic.make_folder(using)
        token = using / os.urandom(8).hex()
        token.write_bytes(_read(folder))
        return cls(folder, token)

    @staticmethod
    def are_used(folder: Path) -> bool:
        """By a step that runs, or by one that was killed: whoever has the folder alone knows which."""
        try:
            return bool(os.listdir(folder / "using"))
        except FileNotFoundError:
            return folder.is_dir() and not (folder / "files").is_dir()  # as an earlier version left it

    def run(self) -> None:
        """The command is about to start: from now on only `keep` tells what has become of the owners."""
        self._running = True

    def keep(self, final: bytes | None) -> None:
        """final: the supervisor's last table, of inodes elsewhere too; None: no command was started after all.

        Errors: DiskFull, StoreError.
        """
        if final is not None:
            with atomic.explained("keep the owners of a cache", self.folder, remedy=REMEDY):
                self._merge(dict(decode(final)))
        self._running = False

    def finish(self) -> None:
        if not self._running:
            self.table.unlink(missing_ok=True)

    def _merge(self, final: dict[int, OwnerRecord]) -> None:
        found = dict(decode(self.table.read_bytes()))
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(lock)
            now = dict(decode(_read(self.folder)))
            if not (final or found or now):
                return
            there = frozenset(_inodes(self.folder / "files"))
            for ino in (found.keys() | final.keys()):
                if final.get(ino) == found.get(ino):
                    continue
                if ino in final and ino in there:
                    now[ino] = final[ino]
                else:
                    now.pop(ino, None)
            kept = [record for record in now.values() if record.ino in there]
            atomic.write_file(self.folder / "owners", encode(kept), tmp=self.folder)
        finally:
            os.close(lock)


def _read(folder: Path) -> bytes:
    try:
        return (folder / "owners").read_bytes()
    except FileNotFoundError:
        return encode(())


def _lock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:  # a file system without locks: two steps that end at one moment are taken in their order
        pass


def _inodes(folder: Path) -> Iterator[int]:
    """Of the folder and all in it, as far as it can be read: another step may be removing things."""
    yield os.lstat(folder).st_ino
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield entry.inode()
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue
