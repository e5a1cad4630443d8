"""Content-addressed blobs: blobs/ALGORITHM/HEX, written under a temporary name, verified, renamed into place."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import StoreError
from ..oci.digest import Digest
from . import atomic
from .blobwriter import BlobWriter, claim_partial
from .filesystem import stale_for
from .layout import REMEDY, Layout
from .leases import Leases
from .sharing import Verifier
from .trash import Trash

_PAUSE = 0.5  # seconds
READ_LIMIT = 16 << 20  # bytes: what `read` takes into memory unless told otherwise


class Blobs:
    def __init__(self, layout: Layout, leases: Leases) -> None:
        self._layout = layout
        self._leases = leases
        self._trash = Trash(layout)
        self._patience: float | None = None  # seconds left; None: nothing was missed yet
        self._writers: set[BlobWriter] = set()
        self._promises: dict[Digest, Callable[[], object]] = {}
        self._verifier = Verifier(layout.private / "tmp") if layout.private else None

    def promise(self, digest: Digest, fetch: Callable[[], object]) -> None:
        """From now on whoever opens this blob and does not find it calls `fetch`, which puts it here (threads may
        call it at once). Until then `has` and `size` say truly that it is not here.
        """
        self._leases.protect((digest,))
        self._promises[digest] = fetch

    def promised(self, digest: Digest) -> bool:
        """Whether it is to come, and has not."""
        return digest in self._promises and not self.has(digest)

    def claim(self, digest: Digest) -> None:
        """Brings a promised blob here; any other is left as it is. Errors: those of its `fetch`."""
        fetch = self._promises.get(digest)
        if fetch is not None and not self.has(digest):
            fetch()

    def path(self, digest: Digest) -> Path:
        """Where the blob is or would be."""
        return self._layout.blob(digest)

    def size(self, digest: Digest) -> int | None:
        """Bytes, None when the blob is not here. A blob on its way out is taken back."""
        path, found = self.path(digest), None
        with atomic.explained("read the store", path, remedy=REMEDY):
            for _ in range(2):
                with contextlib.suppress(FileNotFoundError):
                    found = os.stat(path).st_size
                    break
                if not self._trash.take_back(digest):
                    break
        self._layout.seen.blob(path, found)
        return found

    def awaited(self, digest: Digest, size: int) -> bool:
        """`has`, of a blob that has to be here: what another host moved is looked for until its new place shows."""
        while not (found := self.has(digest, size)) and self._wait():
            pass
        return found

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is here, and of this size if one is given."""
        found = self.size(digest)
        return found is not None and size in (None, found)

    def use(self, digest: Digest, size: int | None = None) -> bool:
        """`has`, and from now on the blob stays until the lease of this process ends."""
        self._leases.protect((digest,))
        return self.has(digest, size)

    def open(self, digest: Digest) -> int:
        """A read-only fd that the caller closes. The bytes are not verified here: `read` does, and so does
        whoever streams them; but those of a shared store are. Errors: StoreError when the blob is not here; those of
        `fetch` when it was promised.
        """
        fd = self._open(digest)
        if self._verifier is None:
            return fd
        with atomic.explained("verify a blob", self.path(digest), remedy=REMEDY):
            return self._verifier.verified(fd, digest, self.path(digest))

    def close(self) -> None:
        if self._verifier is not None:
            self._verifier.close()

    def _open(self, digest: Digest) -> int:
        self.claim(digest)
        with atomic.explained("read a blob", self.path(digest), remedy=REMEDY):
            while True:
                with contextlib.suppress(FileNotFoundError):
                    return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                if not self._trash.take_back(digest) and not self._wait():
                    break
        raise StoreError(f"cannot read the blob {digest}: it is not in the store {self._layout.root}",
                         hint="pull or build the image again")

    def _wait(self) -> bool:
        """Whether to look again. On a network file system both the name of a blob and the one that it has in trash/ may
        be hidden for a while; once in the life of a process it is waited out, for afterwards what is missing is lost.
        """
        if self._patience is None:
            self._patience = float(stale_for(self._layout.root))
        if self._patience <= 0:
            return False
        self._patience -= _PAUSE
        time.sleep(_PAUSE)
        return True

    def read(self, digest: Digest, limit: int = READ_LIMIT) -> bytes:
        """All bytes, verified. Errors: StoreError (absent, longer than `limit`, damaged)."""
        with atomic.explained("read a blob", self.path(digest), remedy=REMEDY), \
                open(self._open(digest), "rb") as source:
            data = source.read(limit + 1)
        if len(data) > limit:
            raise StoreError(f"cannot read the blob {digest}: it is longer than {limit} bytes")
        if Digest.of(data, digest.algorithm) != digest:
            raise StoreError(f"cannot read the blob {digest}: its bytes do not have this digest "
                             f"({self.path(digest)})", hint="remove this file, then pull or build the image again")
        self._layout.seen.file(self.path(digest), data)
        return data

    def put(self, data: bytes) -> Digest:
        """Errors: DiskFull, StoreError."""
        digest = Digest.of(data)
        if self.use(digest, len(data)):
            return digest
        with self.writer() as writer:
            writer.write(data)
            return writer.commit(digest)

    def writer(self) -> BlobWriter:
        """For a new blob of unknown digest. Errors: DiskFull, StoreError."""
        self._leases.begin()
        path = atomic.temporary_name(self._layout.tmp, "blob.")
        writer = BlobWriter(self._layout, path, forget=self._writers.discard)
        self._writers.add(writer)
        return writer

    def abort(self) -> None:
        """Ends what other threads are writing: each of them meets a full disk, and cleans up after itself."""
        for writer in tuple(self._writers):
            writer.abort()

    def partial(self, digest: Digest) -> BlobWriter:
        """A writer that goes on where an earlier download of this blob ended, in this process or another.

        Left without `commit`, its bytes are kept for the next one. Errors: DiskFull, StoreError.
        """
        self._leases.begin()
        return claim_partial(self._layout, digest)

    def remove(self, digest: Digest) -> int:
        """The bytes freed. Only gc.py and a caller who knows that nobody uses the blob may call it."""
        with atomic.explained("remove a blob", self.path(digest), remedy=REMEDY), \
                contextlib.suppress(FileNotFoundError):
            freed = os.stat(self.path(digest)).st_blocks * 512
            os.unlink(self.path(digest))
            return freed
        return 0
