"""Owners that the disk cannot hold, in fakeroot mode: inode → what the image says of it.

Packed as the supervisor has it (sandbox/fakeroot.py). An inode without a record is 0:0 with the mode on disk. A base
may have a hundred thousand records, of which a RUN asks for a few: tables stay packed until many are asked for.
"""

from collections.abc import Iterable, Iterator, Mapping

from ..sandbox import fakeroot
from ..sandbox.fakeroot import HEADER_SIZE, RECORD_SIZE, OwnerRecord

__all__ = ["OwnerRecord", "OwnerTable", "decode", "encode", "joined"]

_FEW = 64  # look-ups, each of which may read a whole table; after them it is unpacked


class OwnerTable(Mapping[int, OwnerRecord]):
    """Packed tables seen as one; where two speak of an inode, the later one counts. Single-owner.

    Errors, of whatever looks into it: SandboxError when a table is damaged.
    """

    __slots__ = ("_asked", "_own", "_packed", "_records")

    def __init__(self, packed: Iterable[bytes] = ()) -> None:
        self._packed = tuple(data for data in packed if data)
        self._own: dict[int, OwnerRecord] = {}
        self._records: dict[int, OwnerRecord] | None = None
        self._asked = 0

    def put(self, record: OwnerRecord) -> None:
        self._own[record.ino] = record

    def packed(self) -> bytes:
        """All of it as one table."""
        if not self._own and len(self._packed) == 1:
            return self._packed[0]
        if any(self._found(ino) is not None for ino in self._own):
            return encode(self.values())
        return fakeroot.joined((*self._packed, encode(self._own.values())))

    def __getitem__(self, ino: int) -> OwnerRecord:
        record = self._own.get(ino) or self._found(ino)
        if record is None:
            raise KeyError(ino)
        return record

    def __iter__(self) -> Iterator[int]:
        return iter(self._all() | self._own)

    def __len__(self) -> int:
        return len(self._all() | self._own)

    def _found(self, ino: int) -> OwnerRecord | None:
        self._asked += 1
        if self._records is None and self._asked <= _FEW and all(map(_is_even, self._packed)):
            return next((record for data in reversed(self._packed) if (record := _search(data, ino))), None)
        return self._all().get(ino)

    def _all(self) -> dict[int, OwnerRecord]:
        if self._records is None:
            self._records = {record.ino: record for data in self._packed for record in fakeroot.decode(data)}
        return self._records


def encode(records: Iterable[OwnerRecord]) -> bytes:
    return fakeroot.encode(sorted(records, key=lambda record: record.ino))


def decode(data: bytes) -> OwnerTable:
    return OwnerTable((data,))


def joined(tables: Iterable[OwnerTable]) -> OwnerTable:
    """Tables of several layers as one: their inodes are distinct, all being on one file system."""
    return OwnerTable(table.packed() for table in tables)


def _is_even(data: bytes) -> bool:
    """Whether every record is of one size: none has attributes. Damaged tables are left to `decode`."""
    return len(data) == HEADER_SIZE + fakeroot.count_of(data) * RECORD_SIZE


def _search(data: bytes, ino: int) -> OwnerRecord | None:
    wanted = ino.to_bytes(8, "little")
    at = data.find(wanted, HEADER_SIZE)
    while at >= 0:
        if (at - HEADER_SIZE) % RECORD_SIZE == 0:
            return next(fakeroot.decode(fakeroot.table_of(data[at:at + RECORD_SIZE])))
        at = data.find(wanted, at + 1)
    return None
