"""The folders of `RUN --mount=type=cache`: what stays from one build to the next, shared with builds going on.

    caches/ID/            ID: digest of the cache's id and of what it begins with
    ├── N/files/          the folder itself; 0, and more of them where private ones were in use at once
    │   owners, using/    who owns its files, in fakeroot mode (cacheowners.py)
    └── N.lock            flock(2): shared by users of a shared one, exclusive for the others. Where the file system
                          knows no locks, N.users/ holds a file for each user, whose name tells whether it lives
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..sandbox.idmap import IdMode
from ..store import atomic
from ..store.owner import Owner, abandoned
from ..values import dataclass
from .cacheowners import CacheOwners
from .owners import OwnerRecord, encode
from .places import REMEDY, Places
from .removal import discard
from .walk import disk_usage

_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.5  # seconds between two tries
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_MOST = 1000


Make = Callable[[Path], Iterable[OwnerRecord]]


@dataclass(frozen=True, slots=True)
class Taken:
    """files: the folder. owners: who owns what in it, where the disk cannot tell (fakeroot mode)."""

    files: Path
    owners: CacheOwners | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the user may want to know. waiting: once, before a wait for another build. emptied: the cache begins anew,
    since a build that was killed left files in it whose owners nobody knows."""

    waiting: Callable[[], None]
    emptied: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Caches:
    places: Places

    @contextlib.contextmanager
    def take(self, name: str, sharing: str, make: Make, told: Told) -> Iterator[Taken]:
        """The folder, ours until the context ends: alone (sharing "locked": once it is free; "private": one that is
        free) or with others who share it ("shared"). make: fills a new one, and says who owns what it put there.

        Errors: DiskFull, StoreError, and what `make` raises.
        """
        home = self.places.caches / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        with contextlib.ExitStack() as stack:
            with atomic.explained("open a cache", home, remedy=REMEDY):
                atomic.make_folder(home)
                number = 0
                if sharing == "private":
                    number = next(at for at in range(_MOST) if _enter(stack, home / str(at), shared=False))
                elif sharing == "shared":
                    _wait(lambda: self._enter_with_others(stack, home / "0", told), told.waiting)
                else:
                    _wait(lambda: _enter(stack, home / "0", shared=False), told.waiting)
                folder = home / str(number)
                if sharing != "shared":
                    self._drop_if_unknown(folder, told)
                if not (folder / "files").is_dir():
                    self._make(folder, make)
                os.utime(home)
                owners = CacheOwners.begin(folder) if self.places.mode is IdMode.FAKEROOT else None
            try:
                yield Taken(folder / "files", owners)
            finally:
                if owners is not None:
                    owners.finish()

    def _enter_with_others(self, stack: contextlib.ExitStack, folder: Path, told: Told) -> bool:
        """A folder that a killed build left is looked at by one who has it alone."""
        if CacheOwners.are_used(folder):
            with contextlib.ExitStack() as alone:
                if _enter(alone, folder, shared=False):
                    self._drop_if_unknown(folder, told)
        return _enter(stack, folder, shared=True)

    def _drop_if_unknown(self, folder: Path, told: Told) -> None:
        """The folder is ours alone."""
        if CacheOwners.are_used(folder):
            discard(folder, self.places.gone)
            told.emptied()

    def prune(self) -> int:
        """Removes those that nobody uses. Bytes freed. Errors: StoreError."""
        freed = 0
        with atomic.explained("prune the caches", self.places.caches, remedy=REMEDY):
            for home in list(self.places.caches.iterdir()):
                for folder in [path for path in home.iterdir() if path.name.isdigit()]:
                    with contextlib.ExitStack() as stack:
                        if _enter(stack, folder, shared=False):
                            freed += disk_usage(folder)
                            discard(folder, self.places.gone)
        return freed

    def _make(self, folder: Path, make: Make) -> None:
        """Whole or not at all; others who share it may be doing the same."""
        part = atomic.temporary_name(self.places.tmp)
        try:
            os.mkdir(part, 0o700)
            os.mkdir(part / "files", 0o755)
            os.chmod(part / "files", 0o755)
            records = list(make(part / "files"))
            if records:
                (part / "owners").write_bytes(encode(records))
            os.rename(part, folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        finally:
            discard(part, self.places.gone)


def _wait(enter: Callable[[], bool], waiting: Callable[[], None]) -> None:
    pause = _FIRST_WAIT
    while not enter():
        if pause == _FIRST_WAIT:
            waiting()
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(pause * 2, _LONGEST_WAIT)


def _enter(stack: contextlib.ExitStack, folder: Path, *, shared: bool) -> bool:
    """Take the lock if it is free now; given back with the stack."""
    fd = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in _NO_LOCKS:
            raise
        return enter_by_name(stack, Path(f"{folder}.users"), shared=shared)
    stack.callback(os.close, fd)
    return True


def enter_by_name(stack: contextlib.ExitStack, users: Path, *, shared: bool) -> bool:
    """The same by files alone: first say that we are there, then look who else is."""
    users.mkdir(mode=0o700, exist_ok=True)
    mine = users / f"{'shared' if shared else 'alone'}.{Owner.current().token}.{os.urandom(4).hex()}"
    os.close(atomic.create(mine))
    now = mine.stat().st_mtime_ns
    for other in users.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if other == mine:
                continue
            if abandoned(other.name, now - other.stat().st_mtime_ns):
                other.unlink()
            elif not (shared and other.name.startswith("shared.")):
                mine.unlink()
                return False
    stack.callback(mine.unlink, missing_ok=True)
    return True
