import os

import pytest

from rootless_builder.layer.sparse import MIN_SIZE, UNIT, extents


def of(data: bytes, offset: int = 0) -> list[tuple[int, int]] | None:
    fd = os.memfd_create("sparse")
    try:
        os.pwrite(fd, b"\xff" * offset + data, 0)
        return extents(fd, offset, len(data))
    finally:
        os.close(fd)


def test_small_files_are_stored_whole() -> None:
    assert of(bytes(MIN_SIZE - 1)) is None


def test_nothing_but_zeros() -> None:
    assert of(bytes(MIN_SIZE)) == []


def test_dense_files_are_stored_whole() -> None:
    assert of(b"\1" * (2 * MIN_SIZE)) is None


def test_exactly_half() -> None:
    assert of(b"\1" * MIN_SIZE + bytes(MIN_SIZE)) == [(0, MIN_SIZE)]
    assert of(b"\1" * MIN_SIZE + b"\1" + bytes(MIN_SIZE - 1)) is None


def test_parts_are_whole_units_and_the_last_may_be_short() -> None:
    data = bytearray(3 * MIN_SIZE + 100)
    data[UNIT + 5] = data[2 * UNIT] = data[10 * UNIT - 1] = data[-1] = 1
    assert of(bytes(data)) == [(UNIT, 2 * UNIT), (9 * UNIT, UNIT), (3 * MIN_SIZE, 100)]


@pytest.mark.parametrize("offset", [0, 1, 512, 7 * 512])
def test_the_place_in_a_larger_file_does_not_matter(offset: int) -> None:
    data = bytearray(2 * MIN_SIZE)
    data[MIN_SIZE:MIN_SIZE + 10] = b"0123456789"
    assert of(bytes(data), offset) == [(MIN_SIZE, UNIT)]


def test_real_holes_are_passed_over_quickly() -> None:
    fd = os.memfd_create("sparse")
    size = 1 << 40
    os.ftruncate(fd, size)
    os.pwrite(fd, b"x", size - 1)
    assert extents(fd, 0, size) == [(size - UNIT, UNIT)]
    os.close(fd)
