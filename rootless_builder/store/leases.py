"""Who uses what, told by files alone: right without flock, on NFS, and after any kill.

    leases/TOKEN     one for each process that reads or writes blobs; the name tells whose (owner.py)
        {"host": …, "pid": …}              for people
        blob sha256:…                      appended, a line for each thing in use
        image sha256:…                     (a manifest: with its config and layers)

What a live lease names stays, and so does every blob written or touched since the oldest live lease began: a
process need not announce what it is about to write. A user first protects, then looks whether the blob is
there; the sweeper first moves a blob to trash/, then reads leases and times again, and puts it back if somebody
came in between. A reader that finds nothing looks in trash/ and takes the blob back itself. On a network file system,
where either may see what is no longer so, the sweeper waits in between (decision 0043).
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ..errors import StoreError
from ..oci.digest import Digest, InvalidDigest
from ..threads import start
from ..values import dataclass
from . import atomic
from .filesystem import stale_for
from .layout import REMEDY, Layout
from .owner import Owner, abandoned

RENEW = 3600  # seconds between renewals, on a network file system; owner.GRACE is a day


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """What the live leases keep. since: ns; whatever was written at or after it is in use too; None: no lease."""

    blobs: frozenset[Digest]
    images: frozenset[Digest]
    since: int | None


class Leases:
    """The lease of this process, made when first needed and removed by `close`, and the view of all others'."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._fd = -1
        self._pid = 0
        self._path = layout.leases
        self._named: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._shared = False  # with other hosts

    def begin(self) -> None:
        """What this process writes from now on stays until `close`. Errors: DiskFull, StoreError."""
        self._append(())

    def protect(self, digests: Iterable[Digest], *, kind: str = "blob") -> None:
        """Keeps these blobs (or, kind "image", manifests and all they name) until `close` or the process ends.

        A store that cannot be written cannot be swept from here either: there it does nothing.
        Errors: DiskFull.
        """
        with contextlib.suppress(StoreError):
            self._append(f"{kind} {digest}" for digest in digests)

    def close(self) -> None:
        """Gives all back. A later use begins a new lease."""
        with self._lock:
            if self._fd >= 0 and self._pid == os.getpid():
                os.close(self._fd)
                with contextlib.suppress(OSError):
                    os.unlink(self._path)
            self._fd = -1
            self._named = set()
            self._ended.set()

    def in_use(self) -> InUse:
        """Reads all leases and removes those of processes that are gone. Errors: StoreError."""
        now = self._layout.now()
        lines: set[str] = set()
        since: list[int] = []
        with atomic.explained("read the leases", self._layout.leases, remedy=REMEDY):
            for name in _names(self._layout.leases):
                with contextlib.suppress(FileNotFoundError):
                    lease = self._layout.leases / name
                    if abandoned(name, now - lease.stat().st_mtime_ns):
                        atomic.remove(lease)
                        continue
                    first, *rest = lease.read_text("ascii", "replace").split("\n")
                    lines.update(rest)
                    since.append(_began(first))
        return InUse(blobs=frozenset(_digests(lines, "blob ")), images=frozenset(_digests(lines, "image ")),
                     since=min(since, default=None))

    def _append(self, found: Iterable[str]) -> None:
        lines = list(found)
        with self._lock, atomic.explained("take a lease in the store", self._layout.leases, remedy=REMEDY):
            new = [line for line in lines if line not in self._named]
            if self._fd < 0 or self._pid != os.getpid():
                self._start()
                new = lines
            if new:
                atomic.write_all(self._fd, "".join(f"{line}\n" for line in new).encode())
                if self._shared:
                    os.fdatasync(self._fd)  # until then an NFS client keeps it to itself
                self._named.update(new)
            else:
                os.utime(self._fd)  # each use renews the lease: its age counts where its process cannot be seen

    def _start(self) -> None:
        """A new lease file; one inherited through a fork stays the parent's."""
        began = self._layout.now()
        head = json.dumps({"host": os.uname().nodename, "pid": os.getpid(), "began": began})
        owner = Owner.current().token
        self._path = self._layout.leases / f"{owner}.{os.urandom(4).hex()}"
        self._fd = atomic.create(self._path)
        self._pid = os.getpid()
        self._named = set()
        atomic.write_all(self._fd, f"{head}\n".encode())
        self._shared = stale_for(self._layout.root) > 0
        if self._shared:
            self._ended = threading.Event()
            start(partial(_renew, self._path, self._ended))


def _renew(lease: Path, ended: threading.Event) -> None:
    """A step may take days without a word to the store, and on other hosts only the lease's age tells that we live."""
    while not ended.wait(RENEW):
        with contextlib.suppress(OSError):
            os.utime(lease)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _began(first_line: str) -> int:
    """0 (everything is in use) for a lease that is just being written or was cut off."""
    try:
        return int(json.loads(first_line)["began"])
    except (ValueError, KeyError, TypeError):
        return 0


def _digests(lines: Iterable[str], prefix: str) -> Iterator[Digest]:
    for line in lines:
        if line.startswith(prefix):
            with contextlib.suppress(InvalidDigest):
                yield Digest.parse(line.removeprefix(prefix))
