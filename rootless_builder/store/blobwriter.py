"""One blob while it is written: tmp/blob.TOKEN.RANDOM, or tmp/partial.ALGORITHM.HEX.… for one that can be resumed.

A partial download has one owner at a time: its name carries the token of the process that writes it. Whoever
wants to go on takes a partial whose owner is gone (or that was let go: "free") by renaming it to a name of its
own; of two that try, one finds the file gone and starts afresh.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import UnsafeArchive
from ..oci.digest import Digest
from . import atomic
from .layout import PARTIAL, REMEDY, Layout
from .owner import abandoned

_CHUNK = 1 << 20


class BlobWriter:
    """Context manager. Not committed → removed, or kept when it can be resumed.

    Errors: DiskFull (also instead of an OSError that leaves the `with` block), StoreError.
    """

    def __init__(self, layout: Layout, path: Path, *, expected: Digest | None = None,
                 forget: "Callable[[BlobWriter], object]" = bool) -> None:
        self._layout = layout
        self._path = path
        self._expected = expected  # set: resumable
        self._forget = forget  # called once it is closed
        self._hash = expected.hasher() if expected else hashlib.sha256()
        self._hashed = 0
        self._raw = False
        self._done = False
        with self._explained():
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC) if path.exists() else atomic.create(path)
            while chunk := os.read(self._fd, _CHUNK):
                self._hash.update(chunk)
                self._hashed += len(chunk)

    @property
    def fd(self) -> int:
        """To be written by someone who hashes in the same pass: `commit` then believes the digest it is given."""
        self._raw = True
        return self._fd

    @property
    def size(self) -> int:
        """Bytes written so far, those of an earlier download included."""
        return os.fstat(self._fd).st_size

    def write(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._hashed += len(data)
        with self._explained():
            atomic.write_all(self._fd, data)

    def abort(self) -> None:
        """From another thread: whoever is writing meets a full disk at the next byte, and cleans up after itself."""
        full = os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC)
        try:
            if self._fd >= 0:
                os.dup2(full, self._fd, inheritable=False)
        finally:
            os.close(full)

    def restart(self) -> None:
        """Drops what is there: the server does not send ranges."""
        with self._explained():
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.new(self._hash.name)
        self._hashed = 0

    def commit(self, digest: Digest | None = None, size: int | None = None) -> Digest:
        """The blob is whole: on disk, then under its name. Returns its digest.

        Errors: UnsafeArchive when the bytes have another digest or size; they are removed then.
        """
        wanted = digest or self._expected
        actual = self.size
        found = wanted if self._raw and wanted else self._digest()
        if wanted not in (None, found) or size not in (None, actual):
            self._discard()
            raise UnsafeArchive(f"cannot store the blob {wanted or found}: "
                                + (f"its bytes have the digest {found}" if found != wanted and wanted
                                   else f"it is {actual} bytes long instead of {size}"))
        with self._explained():
            os.fdatasync(self._fd)
            atomic.move(self._path, self._layout.blob(found))
        self._done = True
        return found

    def close(self) -> None:
        """Ends it. Uncommitted bytes of a resumable blob are let go for whoever wants them next."""
        if self._fd < 0:
            return
        self._forget(self)
        if not self._done:
            if self._expected is not None and self._path.exists() and self.size:
                with contextlib.suppress(OSError):
                    os.rename(self._path, _free_name(self._layout, self._expected))
            else:
                atomic.remove(self._path)
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if atomic.is_full(error):
            self._discard()  # also what could be resumed: the space is needed
        self.close()
        if isinstance(error, OSError) and atomic.is_full(error):  # from someone who wrote to `fd`
            raise atomic.disk_error(error, "write a blob", self._path, remedy=REMEDY) from error

    def _digest(self) -> Digest:
        """Of what is on disk; read back when not all of it passed through `write`."""
        if self._raw or self._hashed != self.size:
            hasher = hashlib.new(self._hash.name)
            offset = 0
            with self._explained():
                while chunk := os.pread(self._fd, _CHUNK, offset):
                    hasher.update(chunk)
                    offset += len(chunk)
            self._hash, self._hashed = hasher, offset
        return Digest(self._hash.name, self._hash.hexdigest())

    def _discard(self) -> None:
        self._done = True
        atomic.remove(self._path)

    def _explained(self) -> contextlib.AbstractContextManager[None]:
        return atomic.explained("write a blob", self._path, remedy=REMEDY)


def claim_partial(layout: Layout, digest: Digest) -> BlobWriter:
    """See Blobs.partial. The longest abandoned partial is taken; smaller ones are left to the sweeper."""
    prefix = _prefix(digest)
    own = atomic.temporary_name(layout.tmp, prefix)
    with atomic.explained("write a blob", own, remedy=REMEDY):
        for name in _free_partials(layout, prefix):
            with contextlib.suppress(FileNotFoundError):
                if os.stat(layout.tmp / name).st_uid != os.geteuid():
                    continue  # of a shared store: who owns it may write to it while we do
                os.rename(layout.tmp / name, own)
                break
    return BlobWriter(layout, own, expected=digest)


def _free_partials(layout: Layout, prefix: str) -> list[str]:
    found = []
    names = [name for name in os.listdir(layout.tmp) if name.startswith(prefix)] if layout.tmp.is_dir() else []
    now = atomic.now(layout.tmp) if names else 0
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(layout.tmp / name)
            if name.startswith(prefix + "free.") or abandoned(name, now - status.st_mtime_ns):
                found.append((status.st_size, name))
    return [name for _, name in sorted(found, reverse=True)]


def _free_name(layout: Layout, digest: Digest) -> Path:
    return layout.tmp / f"{_prefix(digest)}free.{os.urandom(6).hex()}"


def _prefix(digest: Digest) -> str:
    return f"{PARTIAL}{digest.algorithm}.{digest.hex}."
