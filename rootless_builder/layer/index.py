"""A layer's changes, packed: read back in a fraction of a second, however large the tar is.

    magic 8 │ counts 5×u64 │ zlib of:  records │ paths │ targets │ xattrs │ extents

One fixed record for each change, in canonical order; texts are joined by NUL, since no path holds one. The
format has a version in its magic and is private to this store: an unknown one is "no index", and is made anew.
"""

import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

from .. import layercore
from ..errors import StoreError
from ..paths import ImagePath, decode, encode
from ..tree.changes import Change, ChangeSet, Opaque, Put, Remove
from ..tree.node import Content, Device, Directory, File, Meta, Node, Symlink
from ..values import dataclass
from .content import Extent, LayerEntry, LayerExtents, Opener, TarExtents, TarRange

_MAGIC = b"ieindex1"
_HEAD = struct.Struct("<8s5Q")
# kind and mode, uid, gid, mtime, then by kind: file size and offset (or index of its extents); a hard link's
# first record; a device's numbers. Last: index of the extended attributes, 0 for none.
RECORD = struct.Struct("<IIIqQQI")
RECORD_SIZE = RECORD.size
_EXTENT = struct.Struct("<QQQ")
_LENGTHS = struct.Struct("<II")
_NUMBER = struct.Struct("<I")

_REMOVE, _OPAQUE, FILE, _SPARSE, _LINK, DIRECTORY, _SYMLINK, _DEVICE = range(8)


@dataclass(frozen=True, slots=True)
class HardLink:
    """An entry that only names an earlier one of its tar."""

    path: ImagePath
    target: ImagePath


@dataclass(frozen=True, slots=True)
class Rows:
    """What layercore.read_headers took of a tar, in the tar's order: files, folders, symlinks and hard links."""

    records: bytes
    paths: bytes
    targets: bytes

    def __len__(self) -> int:
        return len(self.records) // RECORD_SIZE

    def __iter__(self) -> Iterator[Put | HardLink]:
        targets = iter(decode(self.targets).split("\0"))
        for name, row in zip(decode(self.paths).split("\0"), RECORD.iter_unpack(self.records), strict=False):
            kind_mode, uid, gid, mtime, size, offset, _ = row
            path, kind, meta = ImagePath(name), kind_mode >> 16, Meta(kind_mode & 0xFFFF, uid, gid, mtime)
            if kind == _LINK:
                yield HardLink(path, ImagePath(next(targets)))
            elif kind == FILE:
                yield Put(path, File(meta, TarRange(offset, size), size))
            else:
                yield Put(path, Directory(meta) if kind == DIRECTORY else Symlink(meta, next(targets)))


def dump(changes: Iterable[Change]) -> bytes:
    """Pack `changes`, in canonical order, as `write_layer` and `read_layer` give them."""
    packer = Packer()
    for number, change in enumerate(changes):
        packer.add(number, change)
    return packer.dump()


def load(data: bytes, opener: Opener) -> ChangeSet:
    """The changes that `dump` packed, each file readable through `opener`. Errors: StoreError."""
    try:
        return _unpack(_parts(data), lambda offset, size: LayerEntry(opener, offset, size),
                       lambda extents, size: LayerExtents(opener, extents, size))
    except (ValueError, struct.error, zlib.error, IndexError, StopIteration) as error:
        raise StoreError(f"cannot read the index of a layer: {error}") from error


def same(one: bytes, other: bytes) -> bool:
    """Whether two indexes say the same; compressed they may differ, as zlib's versions do. Damaged ones are not."""
    try:
        return _parts(one) == _parts(other)
    except (ValueError, struct.error, zlib.error):
        return False


def _parts(data: bytes) -> list[bytes]:
    """Errors: ValueError, struct.error, zlib.error."""
    magic, *lengths = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("unknown format")
    body = zlib.decompress(memoryview(data)[_HEAD.size:])
    if len(body) != sum(lengths):
        raise ValueError("wrong length")
    parts, start = [], 0
    for length in lengths:
        parts.append(body[start:start + length])
        start += length
    return parts


class Packer:
    """An index while it is put together. Hard links need each change's number, its place in the order."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.paths: list[bytes] = []
        self.targets: list[bytes] = []
        self.xattrs: list[bytes] = []
        self.extents: list[bytes] = []
        self._first: dict[File, int] = {}
        self._xattr_numbers: dict[tuple[tuple[str, bytes], ...], int] = {(): 0}

    def add_packed(self, records: bytes, paths: bytes, targets: bytes) -> None:
        """As TarSink.add_survey returns them: each text ends with NUL."""
        self.records.append(records)
        for texts, held in ((paths, self.paths), (targets, self.targets)):
            if texts:
                held.append(texts[:-1])

    def add_link(self, path: ImagePath, target: ImagePath) -> None:
        """A hard link, of which `arrange` finds out what it leads to."""
        self.records.append(RECORD.pack(_LINK << 16, 0, 0, 0, 0, 0, 0))
        self.paths.append(encode(path))
        self.targets.append(encode(target))

    def arrange(self, most: int) -> bool:
        """Brings what was added in any order into canonical order. False, with nothing done, where that takes more
        than sorting: see native/arrange.h. most: entries, implied folders too."""
        records = b"".join(self.records)
        paths, targets = (b"\0".join([*texts, b""]) for texts in (self.paths, self.targets))
        found = layercore.arrange(records, paths, targets, len(self.xattrs), most)
        if found is None:
            return False
        records, paths, targets, order = found
        self.records, self.paths, self.targets = [records], [paths[:-1]], [targets[:-1]]
        self.xattrs = [self.xattrs[number - 1] for (number,) in _NUMBER.iter_unpack(order)]
        return True

    def changes(self) -> ChangeSet:
        """What was added, each File's content a place in its tar."""
        return _unpack(self._parts(), TarRange, TarExtents)

    def dump(self) -> bytes:
        parts = self._parts()
        head = _HEAD.pack(_MAGIC, *(len(part) for part in parts))
        return head + zlib.compress(b"".join(parts), 1)

    def _parts(self) -> list[bytes]:
        return [b"".join(self.records), b"\0".join(self.paths), b"\0".join(self.targets), b"".join(self.xattrs),
                b"".join(self.extents)]

    def add(self, number: int, change: Change) -> None:
        self.paths.append(encode(change.path))
        if not isinstance(change, Put):
            kind = _REMOVE if isinstance(change, Remove) else _OPAQUE
            self.records.append(RECORD.pack(kind << 16, 0, 0, 0, 0, 0, 0))
            return
        kind, first, second = self._node(number, change.node)
        meta = change.node.meta
        self.records.append(RECORD.pack(kind << 16 | meta.mode, meta.uid, meta.gid, meta.mtime, first, second,
                                         self._xattrs(meta)))

    def _node(self, number: int, node: Node) -> tuple[int, int, int]:
        if isinstance(node, File):
            if node in self._first:
                return _LINK, self._first[node], 0
            self._first[node] = number
            if isinstance(node.content, TarRange | LayerEntry):
                return FILE, node.size, node.content.offset
            return _SPARSE, node.size, self._extents(node.content)
        if isinstance(node, Directory):
            return DIRECTORY, 0, 0
        if isinstance(node, Symlink):
            self.targets.append(encode(node.target))
            return _SYMLINK, 0, 0
        return _DEVICE, node.kind, node.major << 32 | node.minor

    def _extents(self, content: Content) -> int:
        """Number of this file's extents; each list begins with its own length."""
        if not isinstance(content, TarExtents | LayerExtents):
            raise TypeError(f"{content!r} is not in a layer")
        number = len(self.extents)
        self.extents.append(_EXTENT.pack(len(content.extents), 0, 0))
        self.extents.extend(_EXTENT.pack(*extent) for extent in content.extents)
        return number

    def _xattrs(self, meta: Meta) -> int:
        number = self._xattr_numbers.setdefault(meta.xattrs, len(self._xattr_numbers))
        if number == len(self.xattrs) + 1:
            packed = b"".join(_LENGTHS.pack(len(encode(name)), len(value)) + encode(name) + value
                              for name, value in meta.xattrs)
            self.xattrs.append(_LENGTHS.pack(len(meta.xattrs), 0) + packed)
        return number


def _unpack(parts: list[bytes], place: Callable[[int, int], Content],
            places: Callable[[tuple[Extent, ...], int], Content]) -> ChangeSet:
    """place: the content of (offset, size) in the tar. places: that of (extents, size)."""
    records, paths, targets, xattrs, extents = parts
    attributes = _unpack_xattrs(xattrs)
    names = iter(decode(paths).split("\0")) if records else iter(())
    links = iter(decode(targets).split("\0"))
    spans = list(_EXTENT.iter_unpack(extents))
    done: list[Change] = []
    for kind_mode, uid, gid, mtime, first, second, attrs in RECORD.iter_unpack(records):
        path, kind = ImagePath(next(names)), kind_mode >> 16
        if kind == _LINK:
            target = done[first]
            if not isinstance(target, Put):
                raise ValueError("a hard link to no file")
            done.append(Put(path, target.node))
        elif kind in (_REMOVE, _OPAQUE):
            done.append(Remove(path) if kind == _REMOVE else Opaque(path))
        else:
            meta = Meta(kind_mode & 0xFFFF, uid, gid, mtime, attributes[attrs])
            if kind == FILE:
                node: Node = File(meta, place(second, first), first)
            elif kind == DIRECTORY:
                node = Directory(meta)
            elif kind == _SYMLINK:
                node = Symlink(meta, next(links))
            elif kind == _SPARSE:
                node = File(meta, places(_file_extents(spans, second), first), first)
            else:
                node = Device(meta, stat.S_IFMT(first), second >> 32, second & 0xFFFFFFFF)
            done.append(Put(path, node))
    return ChangeSet(tuple(done))


def _file_extents(spans: list[Extent], number: int) -> tuple[Extent, ...]:
    return tuple(spans[number + 1:number + 1 + spans[number][0]])


def _unpack_xattrs(packed: bytes) -> list[tuple[tuple[str, bytes], ...]]:
    sets: list[tuple[tuple[str, bytes], ...]] = [()]
    at = 0
    while at < len(packed):
        count, _ = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        pairs = []
        for _ in range(count):
            name_length, value_length = _LENGTHS.unpack_from(packed, at)
            at += _LENGTHS.size
            name = decode(packed[at:at + name_length])
            pairs.append((name, packed[at + name_length:at + name_length + value_length]))
            at += name_length + value_length
        sets.append(tuple(pairs))
    return sets
