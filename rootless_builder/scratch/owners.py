"""Owners that the disk cannot hold, in fakeroot mode: inode → what the image says of it.

Packed as the supervisor has it (sandbox/fakeroot.py). An inode without a record is 0:0 with the mode on disk.
"""

from collections.abc import Iterable, Mapping

from ..sandbox import fakeroot
from ..sandbox.fakeroot import OwnerRecord

__all__ = ["OwnerRecord", "decode", "encode", "joined"]


def encode(records: Iterable[OwnerRecord]) -> bytes:
    return fakeroot.encode(sorted(records, key=lambda record: record.ino))


def decode(data: bytes) -> dict[int, OwnerRecord]:
    """Errors: SandboxError when the table is damaged."""
    return {record.ino: record for record in fakeroot.decode(data)}


def joined(tables: Iterable[Mapping[int, OwnerRecord]]) -> dict[int, OwnerRecord]:
    """Tables of several layers as one: their inodes are distinct, all being on one file system."""
    found: dict[int, OwnerRecord] = {}
    for table in tables:
        found.update(table)
    return found
