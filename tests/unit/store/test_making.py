import os
import threading

import pytest

from rootless_builder.oci.descriptor import MEDIA_TYPE_LAYER, Descriptor
from rootless_builder.oci.digest import Digest
from rootless_builder.store.making import Making, NotMade

WHOLE = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=Digest.of(b"one two"), size=7)


@pytest.fixture
def fd():  # type: ignore[no-untyped-def]
    made = os.memfd_create("blob")
    yield made
    os.close(made)


def test_it_is_read_as_far_as_it_is_there_and_waited_for_beyond(fd: int) -> None:
    go = threading.Event()

    def work(sink):  # type: ignore[no-untyped-def]
        sink(b"one ")
        assert go.wait(20)
        sink(bytearray(b"two"))
        return WHOLE

    with Making(fd, work) as making:
        assert making.pread(100, 0) == b"one "
        assert making.made is None
        go.set()
        assert making.pread(2, 4) in (b"t", b"tw")
        assert making.wait() == WHOLE == making.made
        assert (making.pread(100, 0), making.pread(100, 7)) == (b"one two", b"")


def test_its_trouble_is_whose_who_waits(fd: int) -> None:
    def work(sink):  # type: ignore[no-untyped-def]
        sink(b"one ")
        raise OSError("a disk fails")

    with Making(fd, work) as making:
        with pytest.raises(NotMade):
            making.pread(1, 4)
        for _ in range(2):
            with pytest.raises(OSError, match="a disk fails"):
                making.wait()


def test_who_leaves_ends_it(fd: int) -> None:
    pieces = []

    def work(sink):  # type: ignore[no-untyped-def]
        while True:
            sink(b"more")
            pieces.append(1)

    with pytest.raises(KeyError), Making(fd, work) as making:
        making.pread(1, 400)
        raise KeyError
    count = len(pieces)
    assert count >= 99 and len(pieces) == count


def test_without_a_thread_it_is_done_at_once(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("rootless_builder.threads.start_new_thread", refuse)
    with Making(fd, lambda sink: (sink(b"one two"), WHOLE)[1]) as making:
        assert (making.made, making.pread(3, 4)) == (WHOLE, b"two")


def test_one_that_is_finished(fd: int) -> None:
    os.write(fd, b"one two")
    with Making.finished(fd, WHOLE) as making:
        assert (making.wait(), making.pread(100, 4), making.pread(1, 7)) == (WHOLE, b"two", b"")
