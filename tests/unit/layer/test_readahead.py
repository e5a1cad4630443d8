import threading

import pytest

from rootless_builder.errors import UnsafeArchive
from rootless_builder.layer.readahead import ReadAhead


class Numbers:
    """`count` pieces of the size asked for, each of one letter; then the end, or `trouble`."""

    def __init__(self, count: int, trouble: Exception | None = None) -> None:
        self.read_pieces = 0
        self._count = count
        self._trouble = trouble

    def read(self, size: int, /) -> bytes:
        if self.read_pieces == self._count:
            if self._trouble is not None:
                raise self._trouble
            return b""
        self.read_pieces += 1
        return bytes([64 + self.read_pieces % 26]) * size


def everything(stream: ReadAhead, size: int) -> bytes:
    out = b""
    while data := stream.read(size):
        assert len(data) <= size
        out += data
    return out


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_the_bytes_are_those_of_the_source(size: int) -> None:
    expected = b"".join(bytes([65 + number]) * 1000 for number in range(20))
    with ReadAhead(Numbers(20), piece=1000) as stream:
        assert everything(stream, size) == expected
        assert stream.read(10) == b""


def test_trouble_comes_after_the_bytes_before_it_and_stays() -> None:
    with ReadAhead(Numbers(2, UnsafeArchive("damaged")), piece=10) as stream:
        assert stream.read(100) == b"A" * 10
        assert stream.read(100) == b"B" * 10
        for _ in range(2):
            with pytest.raises(UnsafeArchive, match="damaged"):
                stream.read(100)


def test_it_is_never_more_than_a_few_pieces_ahead() -> None:
    source = Numbers(10_000)
    with ReadAhead(source, piece=10, depth=3) as stream:
        assert stream.read(10) == b"A" * 10
    assert source.read_pieces <= 1 + 3 + 2


def test_who_leaves_early_wakes_a_source_that_waits() -> None:
    woken = threading.Event()

    class Waiting:
        def read(self, size: int, /) -> bytes:
            assert woken.wait(60)
            raise OSError("the connection was shut down")

    before = threading.active_count()
    with pytest.raises(UnsafeArchive), ReadAhead(Waiting(), stop=woken.set):
        raise UnsafeArchive("what came so far is enough to refuse it")
    assert threading.active_count() == before


def test_a_source_read_to_its_end_is_not_stopped() -> None:
    stopped: list[bool] = []
    with ReadAhead(Numbers(3), piece=5, stop=lambda: stopped.append(True)) as stream:
        everything(stream, 100)
    assert stopped == []
