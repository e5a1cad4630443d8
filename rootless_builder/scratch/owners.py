"""Owners that the disk cannot hold, in fakeroot mode: inode → what the image says of it.

The packed form is the supervisor's (native/ownertable.h): what it starts from and what it hands back.

    "FRT1", u32 0, u64 count, then records sorted by inode:
    u64 ino, u32 st_mode, u32 uid, u32 gid, u32 major, u32 minor, u32 links, u32 bytes of xattrs, xattrs
    xattr: u16 length of name, u32 length of value, name, value

An inode without a record is 0:0 with the mode on disk.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import StoreError

_HEAD = struct.Struct("<4sIQ")
_RECORD = struct.Struct("<Q7I")
_XATTR = struct.Struct("<HI")
_MAGIC = b"FRT1"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerRecord:
    """mode: all of st_mode, type included, as the image sees it. links: names the inode has in its layer."""

    ino: int
    mode: int
    uid: int
    gid: int
    rdev_major: int = 0
    rdev_minor: int = 0
    links: int = 1
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


def encode(records: Iterable[OwnerRecord]) -> bytes:
    ordered = sorted(records, key=lambda record: record.ino)
    parts = [_HEAD.pack(_MAGIC, 0, len(ordered))]
    for record in ordered:
        xattrs = b"".join(_XATTR.pack(len(name), len(value)) + name + value for name, value in record.xattrs)
        parts += [_RECORD.pack(record.ino, record.mode, record.uid, record.gid, record.rdev_major, record.rdev_minor,
                               record.links, len(xattrs)), xattrs]
    return b"".join(parts)


def decode(data: bytes) -> dict[int, OwnerRecord]:
    """Errors: StoreError."""
    try:
        magic, _, count = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError("unknown format")
        found, at = {}, _HEAD.size
        for _ in range(count):
            ino, mode, uid, gid, major, minor, links, length = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            found[ino] = OwnerRecord(ino=ino, mode=mode, uid=uid, gid=gid, rdev_major=major, rdev_minor=minor,
                                     links=links, xattrs=_xattrs(data, at, at + length))
            at += length
        return found
    except (struct.error, ValueError) as error:
        raise StoreError(f"cannot read an owner table: {error}") from error


def joined(tables: Iterable[Mapping[int, OwnerRecord]]) -> dict[int, OwnerRecord]:
    """Tables of several layers as one: their inodes are distinct, all being on one file system."""
    found: dict[int, OwnerRecord] = {}
    for table in tables:
        found.update(table)
    return found


def _xattrs(data: bytes, at: int, end: int) -> tuple[tuple[bytes, bytes], ...]:
    if end > len(data):
        raise ValueError("cut off")
    found = []
    while at < end:
        name_length, value_length = _XATTR.unpack_from(data, at)
        at += _XATTR.size
        found.append((data[at:at + name_length], data[at + name_length:at + name_length + value_length]))
        at += name_length + value_length
    return tuple(found)
