"""The folders of `RUN --mount=type=cache`: what stays from one build to the next, shared with builds going on.

    caches/ID/            ID: digest of the cache's id and of what it begins with
    ├── N/                the folder itself; 0, and more of them where private ones were in use at once
    └── N.lock            flock(2): shared by users of a shared one, exclusive for the others. Where the file system
                          knows no locks, N.users/ holds a file for each user, whose name tells whether it lives

In fakeroot mode all files in it are root's: no owner table is kept from one RUN to the next.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..store import atomic
from ..store.owner import Owner, abandoned
from .places import REMEDY, Places
from .removal import discard
from .walk import disk_usage

_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.5  # seconds between two tries
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Caches:
    places: Places

    @contextlib.contextmanager
    def take(self, name: str, sharing: str, make: Callable[[Path], None],
             waiting: Callable[[], None]) -> Iterator[Path]:
        """The folder, ours until the context ends: alone (sharing "locked": once it is free; "private": one that is
        free) or with others who share it ("shared"). make: fills a new one; waiting: told once, before a wait.

        Errors: DiskFull, StoreError, and what `make` raises.
        """
        home = self.places.caches / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        with contextlib.ExitStack() as stack:
            with atomic.explained("open a cache", home, remedy=REMEDY):
                atomic.make_folder(home)
                number = 0
                if sharing == "private":
                    number = next(at for at in range(_MOST) if _enter(stack, home / str(at), shared=False))
                else:
                    _wait(stack, home / "0", shared=sharing == "shared", waiting=waiting)
                folder = home / str(number)
                if not folder.is_dir():
                    self._make(folder, make)
                os.utime(home)
            yield folder

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

    def _make(self, folder: Path, make: Callable[[Path], None]) -> None:
        """Whole or not at all; others who share it may be doing the same."""
        part = atomic.temporary_name(self.places.tmp)
        try:
            os.mkdir(part, 0o755)
            os.chmod(part, 0o755)
            make(part)
            os.rename(part, folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        finally:
            discard(part, self.places.gone)


def _wait(stack: contextlib.ExitStack, folder: Path, *, shared: bool, waiting: Callable[[], None]) -> None:
    pause = _FIRST_WAIT
    while not _enter(stack, folder, shared=shared):
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
