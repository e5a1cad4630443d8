"""Owner tables that stay packed: what is looked up, put, counted and joined is as in a dict of the same records."""

import random

import pytest

from rootless_builder.errors import SandboxError
from rootless_builder.scratch.owners import OwnerRecord, OwnerTable, decode, encode, joined


def record(ino: int, uid: int = 7, **more: object) -> OwnerRecord:
    return OwnerRecord(ino=ino, mode=0o100644, uid=uid, gid=8, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("xattrs", [(), ((b"user.a", b"value"),)])
@pytest.mark.parametrize("asked", [1, 200])
def test_a_table_is_like_a_dict(xattrs: tuple[tuple[bytes, bytes], ...], asked: int) -> None:
    chance = random.Random(1)
    numbers = chance.sample(range(1, 1 << 40), 500)
    # Numbers whose bytes stand in other places of a record too.
    numbers += [7, 8, 7 << 8, 0o100644, 1 << 32 | 7]
    half = len(numbers) // 2
    one = [record(ino, uid=number, xattrs=xattrs) for number, ino in enumerate(numbers[:half])]
    two = [record(ino, uid=number) for number, ino in enumerate(numbers[half:])]
    plain = {item.ino: item for item in one + two}
    table = joined([decode(encode(one)), decode(encode(two)), OwnerTable()])
    table.put(record(99, uid=1))
    plain[99] = record(99, uid=1)
    for ino in chance.choices([*numbers, 99, 1 << 41, 2], k=asked):
        assert table.get(ino) == plain.get(ino) and (ino in table) == (ino in plain)
    assert decode(table.packed()) == plain and dict(table) == plain and len(table) == len(plain)


def test_what_is_put_counts() -> None:
    table = decode(encode([record(1), record(2)]))
    table.put(record(2, uid=55))
    assert table[2].uid == 55 and decode(table.packed())[2].uid == 55 and len(decode(table.packed())) == 2
    assert OwnerTable().packed() == encode([]) and not OwnerTable()


@pytest.mark.parametrize("data", [b"x", b"IOT1" + bytes(100), encode([record(1)])[:-1]])
def test_a_damaged_table_is_an_error(data: bytes) -> None:
    with pytest.raises(SandboxError):
        len(decode(data))
    with pytest.raises(SandboxError):
        decode(data).get(5)
