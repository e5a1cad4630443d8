"""The layer core in Python: same surface, same bytes, same errors as the C module `_layercore`.

Surface: scan, diff, hash_files, TarSink, KERNEL… (layercore.py says what each is for). What each does is
written down here in the plainest way; the C code is the fast way, and the parity tests hold the two together.
"""

import errno
import fcntl
import hashlib
import os
import stat
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import final

from . import _survey_py
from ._newfiles_py import make_files
from ._opening_py import FOLDER, open_beneath
from ._survey_py import learn, recall, remember, tell

__all__ = ["ADDED", "CHANGED", "KERNEL", "REMOVED", "Snapshot", "TarSink", "arrange", "diff", "hash_files", "learn",
           "make_files", "read_headers", "recall", "remember", "scan", "sha256", "survey", "tell"]

KERNEL = "hashlib"
ADDED, CHANGED, REMOVED = 1, 2, 3

_BLOCK = 512
_CHUNK = 1 << 18
_MAX_PATH = 1 << 16

Record = tuple[int, int, int, int, int, int, int, int, int, int]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _order(path: bytes) -> bytes:
    """Canonical order is by path component; no name holds a NUL, so "/" may stand as one."""
    return path.replace(b"/", b"\0")


@final
class Snapshot:
    """What `scan` saw. Immutable: threads may share it."""

    __slots__ = ("_keys", "_odd", "_records", "_targets")
    _keys: list[bytes]
    _records: list[tuple[bytes, Record]]
    _targets: dict[bytes, bytes]
    _odd: int

    def __init__(self) -> None:
        raise TypeError("cannot create 'Snapshot' instances")

    @classmethod
    def _of(cls, found: list[tuple[bytes, Record]], targets: dict[bytes, bytes] | None = None,
            odd: int = 0) -> "Snapshot":
        self = cls.__new__(cls)
        self._targets, self._odd = targets or {}, odd
        self._keys = [_order(path) for path, _ in found]
        self._records = found
        return self

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, path: bytes, /) -> Record | None:
        """(mode, uid, gid, size, mtime_ns, ctime_ns, dev, ino, nlink, rdev) as lstat gives them."""
        at = bisect_left(self._keys, _order(path))
        return self._records[at][1] if at < len(self._keys) and self._records[at][0] == path else None

    def facts(self) -> tuple[int, int, int]:
        """(regular files, the bytes they hold, odd: whether a survey met what add_survey cannot take)."""
        sizes = [record[3] for _, record in self._records if stat.S_ISREG(record[0])]
        return len(sizes), sum(sizes), self._odd


def scan(root_fd: int, /) -> Snapshot:
    """Every path below the folder `root_fd` (itself left out), no symlink followed. Errors: OSError."""
    return Snapshot._of(list(_walk(root_fd, None, frozenset(), {})))


def survey(root_fd: int, names: Sequence[bytes] | None = None, skipped: Sequence[bytes] = (), /) -> Snapshot:
    """A scan for COPY: of `names` (sorted) of the folder alone, without the paths `skipped` (in canonical order) and
    without sockets, and with the targets of symlinks. Errors: OSError.
    """
    targets: dict[bytes, bytes] = {}
    found = [(path, record) for path, record in _walk(root_fd, names, frozenset(skipped), targets)
             if not stat.S_ISSOCK(record[0])]
    return Snapshot._of(found, targets, int(any(_is_odd(path, record) for path, record in found)))


def _is_odd(path: bytes, record: Record) -> bool:
    mode, links = record[0], record[8]
    if path.rpartition(b"/")[2].startswith(b".wh."):
        return True
    return links > 1 if stat.S_ISREG(mode) else not stat.S_ISDIR(mode) and not stat.S_ISLNK(mode)


def _walk(root_fd: int, only: Sequence[bytes] | None, skipped: frozenset[bytes],
          targets: dict[bytes, bytes]) -> Iterator[tuple[bytes, Record]]:
    folder = os.open(".", FOLDER, dir_fd=root_fd)
    try:
        names = _names(folder) if only is None else list(only)[::-1]
        pending = [(b"", _identity(folder), names)]
        while pending:
            prefix, _, names = pending[-1]
            if not names:
                pending.pop()
                if pending:
                    folder = _back(folder, pending[-1][1], pending[-1][0])
                continue
            name = names.pop()
            path = prefix + name
            if path in skipped:
                continue
            if len(path) >= _MAX_PATH:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path[:255])
            info = _at(path, os.lstat, name, dir_fd=folder)
            if stat.S_ISLNK(info.st_mode):
                targets[path] = os.readlink(name, dir_fd=folder)
            yield path, _record(info)
            if stat.S_ISDIR(info.st_mode):
                below = _at(path, os.open, name, FOLDER, dir_fd=folder)
                os.close(folder)
                folder = below
                pending.append((path + b"/", _identity(folder), _names(folder)))
    finally:
        os.close(folder)


def _at(path: bytes, call, name: bytes, *args, **where):  # type: ignore[no-untyped-def]
    """`call` on one component, its error naming the whole path."""
    try:
        return call(name, *args, **where)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _back(folder: int, identity: tuple[int, int], prefix: bytes) -> int:
    """Up one folder, so that depth costs no descriptors; it must be the folder we came from."""
    above = os.open("..", FOLDER, dir_fd=folder)
    if _identity(above) != identity:
        os.close(above)
        raise OSError(errno.ESTALE, "folder moved while it was read", prefix)
    os.close(folder)
    return above


def _identity(folder: int) -> tuple[int, int]:
    info = os.fstat(folder)
    return info.st_dev, info.st_ino


def _names(folder: int) -> list[bytes]:
    return sorted(map(os.fsencode, os.listdir(folder)), reverse=True)


def _moment(nanoseconds: int) -> int:
    """As 64 bits hold it, which end in the year 2262."""
    return max(-1 << 63, min(nanoseconds, (1 << 63) - 1))


def _record(info: os.stat_result) -> Record:
    return (info.st_mode, info.st_uid, info.st_gid, info.st_size, _moment(info.st_mtime_ns), _moment(info.st_ctime_ns),
            info.st_dev, info.st_ino, info.st_nlink, info.st_rdev)


def diff(before: Snapshot, after: Snapshot, /) -> list[tuple[int, bytes]]:
    """What differs, in canonical order. What was below a removed or replaced folder is not told again."""
    changes: list[tuple[int, bytes]] = []
    old, new = before._records, after._records
    old_keys, new_keys = before._keys, after._keys
    i = j = 0
    gone = None  # below this prefix, the old paths are gone with their folder
    while i < len(old) or j < len(new):
        if i < len(old) and gone is not None and old[i][0].startswith(gone):
            i += 1
        elif j == len(new) or (i < len(old) and old_keys[i] < new_keys[j]):
            changes.append((REMOVED, old[i][0]))
            gone = old[i][0] + b"/"
            i += 1
        elif i == len(old) or new_keys[j] < old_keys[i]:
            changes.append((ADDED, new[j][0]))
            j += 1
        else:
            if old[i][1] != new[j][1]:
                changes.append((CHANGED, new[j][0]))
                if stat.S_ISDIR(old[i][1][0]) and not stat.S_ISDIR(new[j][1][0]):
                    gone = old[i][0] + b"/"
            i, j = i + 1, j + 1
    return changes


def hash_files(root_fd: int, paths: Sequence[bytes], /) -> list[bytes]:
    """SHA-256 of the content of each regular file below the folder `root_fd`. Errors: OSError."""
    digests = []
    for path in paths:
        fd = open_beneath(root_fd, path)
        try:
            digest = hashlib.sha256()
            while data := os.read(fd, _CHUNK):
                digest.update(data)
            digests.append(digest.digest())
        finally:
            os.close(fd)
    return digests


def read_headers(data: bytes, at: int, position: int, limit: int, files: int,
                 /) -> tuple[bytes, bytes, bytes, int, int, int]:
    """Takes nothing: Python reads a tar entry by entry (layer/archive.py), and need not do so here as well."""
    return b"", b"", b"", files, at, 0


def arrange(records: bytes, paths: bytes, targets: bytes, attributes: int, most: int, /) -> None:
    """Leaves it: what nobody took in rows, layer/reader.py puts in order."""
    return


@final
class TarSink:
    """Writes and hashes a tar in one pass. Headers are the caller's; content is padded to whole blocks here.

    out_fd: where the bytes go, -1 for nowhere (the digest alone is wanted); it stays the caller's to close. In a new
    regular file, long runs of zeros become holes.
    One owner at a time: a call while another runs is a RuntimeError, as is any call after `finish` or after
    an error, because what was written by then is no archive.
    """

    __slots__ = ("_busy", "_dead", "_digest", "_leaves_holes", "_length", "_out_fd", "_waiting", "_waiting_size")

    def __init__(self, out_fd: int, /) -> None:
        self._out_fd = out_fd
        self._digest = hashlib.sha256()
        self._length = 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._busy = self._dead = False
        self._leaves_holes = out_fd >= 0 and _is_at_end_of_file(out_fd)

    def add(self, header: bytes, dir_fd: int, path: bytes, size: int, /) -> None:
        """`header`, then the `size` bytes that the file `path` below `dir_fd` holds.

        Errors: OSError; ESTALE when the file is not `size` bytes long (any more).
        """
        with _Turn(self):
            self._add(header, dir_fd, path, size)

    def add_many(self, dir_fd: int, entries: Sequence[tuple[bytes, bytes | None, int]], /) -> None:
        """`add` for each (header, path, size); a header without content has None for a path."""
        with _Turn(self):
            for header, path, size in entries:
                if path is None:
                    self._put(header)
                else:
                    self._add(header, dir_fd, path, size)

    def add_range(self, header: bytes, fd: int, offset: int, size: int, /) -> None:
        """`header`, then `size` bytes of `fd` from `offset`; its position does not move, it is not closed.

        Errors: OSError; ESTALE when the descriptor ends earlier.
        """
        if size < 0 or offset < 0:
            raise ValueError("offset and size must not be negative")
        with _Turn(self):
            self._put(header)
            self._copy(fd, offset, size, None)

    def add_bytes(self, header: bytes, data: bytes = b"", /) -> None:
        """`header`, then `data`."""
        with _Turn(self):
            self._put(header)
            self._put(bytes(data))
            self._put(bytes(-len(data) % _BLOCK))

    def add_survey(self, root_fd: int, survey: Snapshot, contents: bytearray, first: int, strip: int, prefix: bytes,
                   uid: int, gid: int, latest: int, modes: bytes | None, hints: Sequence[bytes], largest: int,
                   /) -> tuple[bytes, bytes, bytes, bytes]:
        """The records of `survey` from `first` on, read below `root_fd`, at `prefix` instead of the first `strip` bytes
        of their paths; a mtime after `latest` becomes that one. modes: None, or 2 × 4096 numbers of 16 bits: what each
        mode of a file, and of a folder, becomes. contents gets all digests; → (records, paths, targets) for the
        index, and numbers (u32) of records whose file, a text of less than `largest` bytes, holds one of `hints`.

        Errors: OSError; ENOTSUP for what cannot be packed whole.
        """
        _survey_py.check(survey, contents)
        if first < 0 or strip < 0:
            raise ValueError("first and strip must not be negative")
        if any(len(hint) < 2 for hint in hints):
            raise ValueError("a hint must have two bytes at least")
        if modes is not None and len(modes) != 2 * 4096 * 2:
            raise ValueError("modes must hold 2 × 4096 numbers of 16 bits")
        with _Turn(self):
            return _survey_py.pack(self, root_fd, survey, contents, first, strip, prefix, uid, gid, latest, modes,
                                   hints, largest)

    def finish(self) -> tuple[bytes, int]:
        """Write the two blocks that end an archive; (SHA-256 of all bytes, their number)."""
        with _Turn(self):
            self._put(bytes(2 * _BLOCK))
            self._flush()
            if self._leaves_holes:  # it may end in one
                os.ftruncate(self._out_fd, os.lseek(self._out_fd, 0, os.SEEK_CUR))
            self._dead = True
        return self._digest.digest(), self._length

    def _add(self, header: bytes, dir_fd: int, path: bytes, size: int) -> None:
        if size < 0:
            raise ValueError("offset and size must not be negative")
        fd = open_beneath(dir_fd, path)
        try:
            if os.fstat(fd).st_size != size:
                raise _changed(path)
            self._put(header)
            self._copy(fd, 0, size, path)
            if os.pread(fd, 1, size):
                raise _changed(path)
        finally:
            os.close(fd)

    def _copy(self, fd: int, offset: int, size: int, path: bytes | None) -> None:
        left = size
        while left:
            data = os.pread(fd, min(left, _CHUNK), offset)
            if not data:
                raise _changed(path)
            self._put(data)
            offset, left = offset + len(data), left - len(data)
        self._put(bytes(-size % _BLOCK))

    def _put(self, data: bytes) -> None:
        self._waiting.append(bytes(data))
        self._waiting_size += len(data)
        if self._waiting_size >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        """To the digest and the file; of a long run of zeros the file gets a hole."""
        data = memoryview(b"".join(self._waiting))
        self._waiting, self._waiting_size = [], 0
        self._digest.update(data)
        self._length += len(data)
        if self._leaves_holes and len(data) >= _CHUNK and data == bytes(len(data)):
            os.lseek(self._out_fd, len(data), os.SEEK_CUR)
            return
        while self._out_fd >= 0 and len(data):
            data = data[os.write(self._out_fd, data):]


class _Turn:
    """One call into a sink: marks it busy, and dead if the call fails."""

    __slots__ = ("_sink",)

    def __init__(self, sink: TarSink) -> None:
        self._sink = sink

    def __enter__(self) -> None:
        if self._sink._busy or self._sink._dead:
            raise RuntimeError("TarSink is in use" if self._sink._busy else "TarSink is finished or has failed")
        self._sink._busy = True

    def __exit__(self, kind: object, *_: object) -> None:
        self._sink._busy = False
        if kind is not None:
            self._sink._dead = True


def _is_at_end_of_file(fd: int) -> bool:
    """A regular file that can be made longer by leaving a hole: no content is at or after its position."""
    try:
        info = os.fstat(fd)
        return (stat.S_ISREG(info.st_mode) and os.lseek(fd, 0, os.SEEK_CUR) >= info.st_size
                and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
    except OSError:
        return False


def _changed(path: bytes | None) -> OSError:
    return OSError(errno.ESTALE, "file changed while it was read", path)
