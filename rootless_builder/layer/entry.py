"""One entry of a tar that may lie: its header's fields, and the extensions that correct them."""

import re
from struct import Struct

from ..errors import UnsafeArchive
from ..values import dataclass
from .content import Extent
from .header import SECOND

REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
OLD_SPARSE = b"S"
WITHOUT_CONTENT = HARD_LINK + SYMLINK + CHARACTER + BLOCK_DEVICE + DIRECTORY + FIFO

_HEADER = Struct("100s8s8s8s12s12s8xc100s6s2x64x8s8s155s12s")
_MAX_ID = 0xFFFFFFFE  # (uid_t)-1 stands for "leave it" in chown(2)
_MAX_DEVICE = 0xFFFFFFFF
_MAX_TIME = (1 << 63) - 1
_TIME = re.compile(rb"(-?)([0-9]{1,18})(?:\.([0-9]*))?")
_XATTR = b"SCHILY.xattr."
_MAX_XATTR_NAME = 255  # bytes: XATTR_NAME_MAX and XATTR_SIZE_MAX of Linux
_MAX_XATTR_VALUE = 65536
_MAX_XATTR_COUNT = 1024
_MAX_XATTRS = 1 << 19  # bytes, of all values: native/ownertable.h has room for them
_SPARSE = b"GNU.sparse."


def refuse(cause: str) -> UnsafeArchive:
    return UnsafeArchive(f"cannot read the archive: {cause}", hint="it is damaged, or meant to do harm: do not use it")


def told(name: bytes) -> str:
    """In quotes, and printable whatever it is."""
    return repr(name)[1:]


@dataclass(slots=True)
class Entry:
    """A header with its extensions applied. mtime: nanoseconds.

    offset, stored: which bytes of the stream are its content. size: of the file it makes. extents: of a sparse one.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: bytes
    major: int = 0
    minor: int = 0
    offset: int = 0
    stored: int = 0
    extents: tuple[Extent, ...] | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


def parse_header(block: bytes, extensions: "Extensions") -> Entry:
    """The entry of a header block (its checksum was found right) and of what stood before it. Errors: UnsafeArchive."""
    (name, mode, uid, gid, size, mtime, kind, target, magic, major, minor, prefix, tail) = _HEADER.unpack(block)
    name = text(name)
    if magic == b"ustar\0":
        prefix = text(prefix[:131] if tail[8:] == b"tar\0" else prefix)  # star keeps two times behind a short one
        name = prefix + b"/" + name if prefix else name
    entry = Entry(name, kind, number(mode) & 0o7777, number(uid), number(gid), number(size), number(mtime) * SECOND,
                  text(target))
    extensions.apply(entry)
    if kind == b"\0":  # V7 knows a folder by its slash
        entry.kind = DIRECTORY if entry.name.endswith(b"/") else REGULAR
    elif kind == b"7":  # "contiguous"
        entry.kind = REGULAR
    if kind in (CHARACTER, BLOCK_DEVICE):
        entry.major, entry.minor = number(major), number(minor)
    if entry.kind in WITHOUT_CONTENT:
        entry.size = 0
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    if entry.kind not in (REGULAR, OLD_SPARSE) and entry.kind not in WITHOUT_CONTENT:
        raise refuse(f"{told(entry.name)} is of the unknown type {told(entry.kind)}")
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise refuse(f"{told(entry.name)} has the owner {entry.uid}:{entry.gid}")
    if not (0 <= entry.major <= _MAX_DEVICE and 0 <= entry.minor <= _MAX_DEVICE):
        raise refuse(f"{told(entry.name)} is the device {entry.major}:{entry.minor}")
    if entry.size < 0:
        raise refuse(f"{told(entry.name)} has the size {entry.size}")
    for name, value in entry.xattrs:
        if not 0 < len(name) <= _MAX_XATTR_NAME or b"\0" in name or len(value) > _MAX_XATTR_VALUE:
            raise refuse(f"{told(entry.name)} has an attribute that no file can have: {told(name)}, {len(value)} bytes")
    if sum(len(value) for _, value in entry.xattrs) > _MAX_XATTRS or len(entry.xattrs) > _MAX_XATTR_COUNT:
        raise refuse(f"{told(entry.name)} has more attributes than any file can have")
    entry.mtime = max(-_MAX_TIME, min(entry.mtime, _MAX_TIME))


# Fields

def text(field: bytes) -> bytes:
    """A field's bytes up to the first NUL."""
    return field.partition(b"\0")[0]


def number(field: bytes) -> int:
    """Octal digits among blanks and NULs, or, where the first bit is set, a two's complement of base 256."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        return value - (0x80 << 8 * (len(field) - 1)) if field[0] & 0x40 else value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise refuse(f"{told(field)} is no number")
    return int(digits, 8)


def decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        raise refuse(f"{told(value[:30])} is no number")
    return int(value)


def time(value: bytes) -> int:
    """Seconds with a fraction, as pax writes them → nanoseconds; finer digits are dropped."""
    found = _TIME.fullmatch(value)
    if not found:
        raise refuse(f"{told(value[:30])} is no time")
    sign, seconds, fraction = found.groups(b"")
    nanoseconds = int(seconds) * SECOND + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if sign else nanoseconds


# Extensions

class Extensions:
    """What stood before a header: GNU's long names, pax records. `size`: bytes of all of it so far."""

    __slots__ = ("_long_name", "_long_target", "_records", "_sparse_values", "size")

    def __init__(self) -> None:
        self.size = 0
        self._long_name = self._long_target = b""
        self._records: dict[bytes, bytes] = {}
        self._sparse_values: list[bytes] = []

    def take(self, kind: bytes, data: bytes) -> None:
        if kind == b"L":
            self._long_name = text(data)
        elif kind == b"K":
            self._long_target = text(data)
        elif kind == b"x":
            self._records, self._sparse_values = {}, []
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            space = data.find(b" ", at, at + 20)
            length = decimal(data[at:space]) if space >= 0 else 0
            record = data[space + 1:at + length]
            key, equals, value = record[:-1].partition(b"=")
            if space < 0 or not equals or not key or record[-1:] != b"\n" or at + length > len(data):
                raise refuse(f"a damaged pax record {told(data[at:at + 30])}")
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                self._sparse_values.append(value)  # format 0.0 repeats these two in turn
            else:
                self._records[key] = value
            at += length

    def apply(self, entry: Entry) -> None:
        records = self._records
        if records:
            self._apply_records(entry, records)
        entry.name = self._long_name or entry.name
        entry.target = self._long_target or entry.target

    def _apply_records(self, entry: Entry, records: dict[bytes, bytes]) -> None:
        """An empty value leaves the header's field as it is, pax(1) "Extended Header"."""
        entry.name = records.get(b"path") or entry.name
        entry.target = records.get(b"linkpath") or entry.target
        if self.sparse_version():
            entry.name = records.get(b"GNU.sparse.name") or entry.name
        if b"\0" in entry.name or b"\0" in entry.target:
            raise refuse(f"the name {told(entry.name)} holds a NUL")
        if value := records.get(b"size"):
            entry.size = decimal(value)
        if value := records.get(b"uid"):
            entry.uid = decimal(value)
        if value := records.get(b"gid"):
            entry.gid = decimal(value)
        if value := records.get(b"mtime"):
            entry.mtime = time(value)
        entry.xattrs = tuple(sorted((key[len(_XATTR):], value) for key, value in records.items()
                                    if key.startswith(_XATTR) and len(key) > len(_XATTR)))

    # Sparse files

    def sparse_version(self) -> int:
        """0 (none or unknown to us, a plain file then), 1 (map in the records: 0.0, 0.1), 2 (map in the data: 1.0)."""
        if not self._records:
            return 0
        version = self._records.get(_SPARSE + b"major", b""), self._records.get(_SPARSE + b"minor", b"")
        if version == (b"1", b"0"):
            return 2
        if version in ((b"0", b"0"), (b"0", b"1")):
            return 1
        return int(version == (b"", b"") and (_SPARSE + b"map" in self._records or bool(self._sparse_values)))

    def sparse_size(self) -> int:
        value = self._records.get(_SPARSE + b"realsize") or self._records.get(_SPARSE + b"size", b"")
        return decimal(value)

    def sparse_map(self) -> list[int]:
        """Offset, length, offset, length … of versions 0.0 and 0.1."""
        mapped = self._records.get(_SPARSE + b"map", b"")
        return [decimal(value) for value in (mapped.split(b",") if mapped else self._sparse_values)]
