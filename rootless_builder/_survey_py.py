"""The survey half of the layer core in Python: survey, recall, learn, tell, remember, and TarSink.add_survey.

The same surface, bytes and errors as native/survey.c and native/pack.c, in the plainest way.
"""

import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

from ._opening_py import FOLDER, open_beneath

DIGEST = 32
UNKNOWN = bytes(DIGEST)
SEEN = b"\1" + bytes(DIGEST - 1)
_ENTRY = struct.Struct("=QQqqqIIII32s")  # native/survey.c, struct remembered; the path follows
_INDEX = struct.Struct("<IIIqQQI")  # layer/index.py, _RECORD
_FILE, _DIRECTORY, _SYMLINK = 2, 5, 6


class Snapshot(Protocol):
    """_layercore_py.Snapshot, of a survey."""

    _records: list[tuple[bytes, tuple[int, int, int, int, int, int, int, int, int, int]]]
    _targets: dict[bytes, bytes]

    def __len__(self) -> int: ...


class TarSink(Protocol):
    """_layercore_py.TarSink."""

    _length: int
    _waiting_size: int

    def _put(self, data: bytes) -> None: ...

    def _add(self, header: bytes, dir_fd: int, path: bytes, size: int) -> None: ...


def check(survey: Snapshot, contents: bytes | bytearray) -> None:
    if len(contents) != DIGEST * len(survey):
        raise ValueError("contents must hold 32 bytes for each path of the survey")


def digest_of(contents: bytes | bytearray, at: int) -> bytes:
    return bytes(contents[DIGEST * at:DIGEST * (at + 1)])


def recall(survey: Snapshot, memory: bytes | memoryview, contents: bytearray, /) -> tuple[int, int]:
    """Fills in the digests of what is as `memory` knew it; → (records, bytes of files) that stay unknown."""
    check(survey, contents)
    known = {path: (identity, settled, digest) for path, identity, settled, digest in _entries(memory)}
    records = size = 0
    for at, (path, record) in enumerate(survey._records):
        here = slice(DIGEST * at, DIGEST * (at + 1))
        identity, settled, digest = known.get(path, (None, 0, b""))
        if stat.S_ISLNK(record[0]):
            contents[here] = SEEN
        elif settled and identity == _identity(record) and digest != UNKNOWN:
            contents[here] = digest
        elif contents[here] == UNKNOWN:
            records += 1
            size += record[3] if stat.S_ISREG(record[0]) else 0
    return records, size


def learn(root_fd: int, survey: Snapshot, contents: bytearray, /) -> None:
    """Looks at what is not known yet. Errors: OSError; ENOTSUP for extended attributes of the user's."""
    check(survey, contents)
    for at, (path, record) in enumerate(survey._records):
        if digest_of(contents, at) == UNKNOWN:
            contents[DIGEST * at:DIGEST * (at + 1)] = _looked_at(root_fd, path, record[0])


def tell(survey: Snapshot, contents: bytes | bytearray, first: int, strip: int, modes: bytes,
         /) -> tuple[bytes, bytes]:
    """(text, digests of the files) that sources/selection.py hashes, of the records from `first` on.

    modes: 4096 numbers of 32 bits, what of each mode is told.
    """
    check(survey, contents)
    if len(modes) != 4 * 4096:
        raise ValueError("modes must hold 4096 numbers of 32 bits")
    table = struct.unpack("=4096I", modes)
    if first < 0 or strip < 0:
        raise ValueError("first and strip must not be negative")
    text, digests = [], []
    for at in range(first, len(survey)):
        path, record = survey._records[at]
        mode, size = record[0], record[3]
        if stat.S_ISLNK(mode):
            told = b"l" + survey._targets[path] + b"\0"
        elif stat.S_ISDIR(mode):
            told = b"d%o:" % table[mode & 0o7777] if path[strip:] else b"d"
        else:
            told = b"f%o:%d:" % (table[mode & 0o7777], size)
        text.append(path[strip:] + b"\0" + told + b"\0")
        if stat.S_ISREG(mode):
            digests.append(digest_of(contents, at))
    return b"".join(text), b"".join(digests)


def remember(survey: Snapshot, contents: bytes | bytearray, before: bytes | memoryview, quiet: int, /) -> bytes:
    """A memory for recall. An entry is settled when its last change was before `quiet`, or `before` knows it so."""
    check(survey, contents)
    known = {path: identity for path, identity, _, _ in _entries(before)}
    found = []
    for at, (path, record) in enumerate(survey._records):
        digest = digest_of(contents, at)
        if stat.S_ISLNK(record[0]) or digest == UNKNOWN:
            continue
        identity = _identity(record)
        settled = max(record[4], record[5]) < quiet or known.get(path) == identity
        dev, ino, size, mtime, ctime, mode = identity
        found.append(_ENTRY.pack(dev, ino, size, mtime, ctime, mode, len(path), settled, 0, digest) + path)
    return b"".join(found)


def pack(sink: TarSink, root_fd: int, survey: Snapshot, contents: bytearray, first: int, strip: int, prefix: bytes,
         uid: int, gid: int, latest: int, modes: bytes | None, hints: Sequence[bytes],
         largest: int) -> tuple[bytes, bytes, bytes, bytes]:
    """TarSink.add_survey, its turn taken."""
    from .layer.header import node_header
    from .paths import ImagePath, decode
    from .tree.node import Directory, File, Inline, Meta, Node, Symlink

    table = struct.unpack(f"={2 * 4096}H", modes) if modes is not None else None
    records: list[bytes] = []
    paths, targets, hinted = [], [], []
    for at in range(first, len(survey)):
        path, record = survey._records[at]
        if len(path) < strip:
            raise OSError(errno.EINVAL, "a path is shorter than what is taken off it")
        mode, size = record[0], record[3]
        rest = path[strip:]
        name = prefix + (rest[1:] if not prefix and rest.startswith(b"/") else rest)
        folder = stat.S_ISDIR(mode)
        bits = mode & 0o7777
        if table is not None and not stat.S_ISLNK(mode):
            bits = table[4096 * folder + bits]
        meta = Meta(bits, uid, gid, min(record[4], latest))
        node: Node
        digest = _looked_at(root_fd, path, mode)
        if stat.S_ISREG(mode) and 0 < size < largest and _holds(root_fd, path, hints):
            hinted.append(struct.pack("<I", len(records)))
        kind, stored, offset = _DIRECTORY, 0, 0
        if stat.S_ISLNK(mode):
            node, kind = Symlink(meta, decode(survey._targets[path])), _SYMLINK
            targets.append(survey._targets[path] + b"\0")
        elif folder:
            node = Directory(meta)
        else:
            node, kind = File(meta, Inline(b""), size), _FILE
        header = node_header(ImagePath(decode(name)), node)
        if kind == _FILE:
            sink._add(header, root_fd, path, size)
            stored, offset = size, sink._length + sink._waiting_size - size - -size % 512
        else:
            sink._put(header)
        contents[DIGEST * at:DIGEST * (at + 1)] = digest
        records.append(_INDEX.pack(kind << 16 | bits, uid, gid, meta.mtime, stored, offset, 0))
        paths.append(name + b"\0")
    return b"".join(records), b"".join(paths), b"".join(targets), b"".join(hinted)


def _identity(record: tuple[int, ...]) -> tuple[int, int, int, int, int, int]:
    mode, _, _, size, mtime, ctime, dev, ino, _, _ = record
    return dev, ino, size, mtime, ctime, mode


def _entries(memory: bytes | memoryview) -> Iterator[tuple[bytes, tuple[int, ...], int, bytes]]:
    at = 0
    while len(memory) - at >= _ENTRY.size:
        dev, ino, size, mtime, ctime, mode, length, settled, _, digest = _ENTRY.unpack_from(memory, at)
        at += _ENTRY.size
        if length > len(memory) - at:
            return
        yield bytes(memory[at:at + length]), (dev, ino, size, mtime, ctime, mode), settled, digest
        at += length


def _looked_at(root_fd: int, path: bytes, mode: int) -> bytes:
    if stat.S_ISLNK(mode):
        return SEEN
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise OSError(errno.ENOTSUP, "file changed while it was read", path)
    try:
        fd = os.open(path, FOLDER, dir_fd=root_fd) if stat.S_ISDIR(mode) else open_beneath(root_fd, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    try:
        if any(name.startswith("user.") for name in _attributes(fd)):
            raise OSError(errno.ENOTSUP, "extended attributes", path)
        if stat.S_ISDIR(mode):
            return SEEN
        digest = hashlib.sha256()
        while data := os.read(fd, 1 << 18):
            digest.update(data)
        return digest.digest()
    finally:
        os.close(fd)


def _holds(root_fd: int, path: bytes, hints: Sequence[bytes]) -> bool:
    with open(open_beneath(root_fd, path), "rb") as stream:
        data = stream.read()
    return b"\0" not in data[:1024] and any(hint in data for hint in hints)


def _attributes(fd: int) -> Sequence[str]:
    try:
        return os.listxattr(fd)
    except OSError:  # a file system without them
        return ()
