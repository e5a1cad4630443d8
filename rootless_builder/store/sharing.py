"""A store that is shared with a group: what is in it may have been put there by any member, so it is verified.

    shared, 02770              blobs (verified before use), names and images (whose digests are compared with what they
                               lead to), index.json, leases, tmp, trash
    of each user's own, 0700   cache, trees, compressed, claims: of these nothing says whether they are true

A member can delete, and can give a name to another image, as in a registry. It cannot make another member use bytes
that do not have the digest asked for.
"""

import contextlib
import hashlib
import os
import stat
import threading
from pathlib import Path

from ..errors import StoreError
from ..oci.digest import Digest
from . import atomic

_CHUNK = 1 << 20


def private_folder(root: Path, own_store: Path) -> Path:
    """Where a user keeps their own part of the shared store `root`: beside their own store."""
    return own_store.parent / f"{own_store.name}.shared-{hashlib.sha256(os.fsencode(root)).hexdigest()[:12]}"


def open_to_group(root: Path) -> None:
    """The folder of a new store, unless somebody has prepared it. Errors: OSError."""
    if not atomic.is_shared(root):
        os.chmod(root, atomic.SHARED_FOLDER)


def check(root: Path, *, shared: bool) -> None:
    """A store that is not shared on purpose is closed to others if it is ours, and refused if it is not.

    Errors: StoreError.
    """
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(root)
        if shared and not atomic.is_shared(root):
            raise StoreError(f"cannot share the store {root}: it was made for one user",
                             hint="take another folder, or chmod -R g+rwX,o= and chmod g+s every folder of it first")
        if shared or not status.st_mode & 0o022:
            return
        if atomic.is_shared(root) or status.st_uid != os.geteuid():
            raise StoreError(f"cannot open the store {root}: others may write to it",
                             hint="if it is shared on purpose, name it with --shared-store")
        with contextlib.suppress(OSError):
            os.chmod(root, atomic.FOLDER_MODE)


class Verifier:
    """Verified fds of blobs that others may have written. Threads may share it."""

    def __init__(self, tmp: Path) -> None:
        self._tmp = tmp
        self._lock = threading.Lock()
        self._known: dict[Digest, int] = {}

    def verified(self, fd: int, digest: Digest, path: Path) -> int:
        """An fd of these bytes that nobody else can change: `fd` itself for a file of ours, else of a copy that is gone
        with this process. Takes `fd` over. Errors: StoreError, OSError.
        """
        with self._lock:
            kept = self._known.get(digest)
            if kept is None:
                kept = self._known[digest] = self._check(fd, digest, path)
            else:
                os.close(fd)
            return os.open(f"/proc/self/fd/{kept}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        with self._lock:
            for fd in self._known.values():
                os.close(fd)
            self._known.clear()

    def _check(self, fd: int, digest: Digest, path: Path) -> int:
        status = os.fstat(fd)
        mine = status.st_uid == os.geteuid() and not status.st_mode & 0o022
        copy = -1 if mine else _unnamed(self._tmp)
        try:
            hasher, at = digest.hasher(), 0
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(f"cannot read the blob {digest}: it is no file ({path})")
            while chunk := os.pread(fd, _CHUNK, at):
                hasher.update(chunk)
                at += len(chunk)
                if copy >= 0:
                    atomic.write_all(copy, chunk)
            if hasher.hexdigest() != digest.hex:
                raise StoreError(f"cannot use the blob {digest}: its bytes do not have this digest ({path}, written by "
                                 f"uid {status.st_uid})", hint="remove this file, then pull or build the image again")
        except BaseException:
            os.close(fd)
            if copy >= 0:
                os.close(copy)
            raise
        if copy < 0:
            return fd
        os.close(fd)
        return copy


def _unnamed(folder: Path) -> int:
    path = atomic.temporary_name(folder, "verified.")
    fd = atomic.create(path)
    os.unlink(path)
    return fd
