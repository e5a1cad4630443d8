"""Copying never blocks, never loses a byte, and ends when either side is gone."""

import os
import select
import socket
import threading

import pytest

from rootless_builder.containers import channel
from rootless_builder.containers.pump import Loop, Pump
from rootless_builder.errors import ContainerError


def turn_until(loop: Loop, condition: "object") -> None:
    for _ in range(10_000):
        if condition():  # type: ignore[operator]
            return
        loop.turn(1)
    raise AssertionError("it did not happen")


def test_bytes_arrive_in_order_and_are_shown_on_the_way() -> None:
    data = os.urandom(300_000)
    source, feed = os.pipe()
    drain, sink = os.pipe()
    loop, seen, got = Loop(), [], []
    pump = Pump(loop, source, sink, tee=seen.append, own_sink=True)
    writer = threading.Thread(target=lambda: (os.write(feed, data), os.close(feed)))
    reader = threading.Thread(target=lambda: [got.append(part) for part in iter(lambda: os.read(drain, 65536), b"")])
    writer.start()
    reader.start()
    turn_until(loop, lambda: pump.done)
    writer.join()
    reader.join()
    os.close(drain)
    assert b"".join(seen) == b"".join(got) == data


def test_a_reader_that_does_not_read_holds_nobody_up() -> None:
    source, feed = os.pipe()
    drain, sink = os.pipe()
    os.set_blocking(feed, False)
    loop = Loop()
    pump = Pump(loop, source, sink)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(feed, b"x" * 65536)
            while loop.turn(0):
                pass
    assert not pump.done
    for fd in (feed, drain, sink):
        os.close(fd)
    pump.close()


def test_when_the_reader_is_gone_the_writer_is_told() -> None:
    source, feed = os.pipe()
    drain, sink = os.pipe()
    loop = Loop()
    pump = Pump(loop, source, sink)
    os.close(drain)
    os.write(feed, b"x")
    turn_until(loop, lambda: pump.done)
    with pytest.raises(BrokenPipeError):
        os.write(feed, b"x")
    os.close(feed)
    os.close(sink)


def test_finish_does_not_wait_for_a_writer_that_stays() -> None:
    source, feed = os.pipe()
    loop, seen = Loop(), []
    pump = Pump(loop, source, None, tee=seen.append)
    os.write(feed, b"last words")
    pump.finish()
    assert pump.done and seen == [b"last words"]
    os.close(feed)


def test_a_regular_file_can_be_written(tmp_path: "os.PathLike[str]") -> None:
    source, feed = os.pipe()
    target = os.open(os.path.join(tmp_path, "out"), os.O_RDWR | os.O_CREAT, 0o600)
    os.write(feed, b"x" * 10_000)
    os.close(feed)
    loop = Loop()
    pump = Pump(loop, source, target)
    turn_until(loop, lambda: pump.done)
    assert os.pread(target, 20_000, 0) == b"x" * 10_000
    os.close(target)


def test_messages_and_descriptors_cross_a_socket_with_a_long_path(tmp_path: "os.PathLike[str]") -> None:
    folder = type(tmp_path)(tmp_path) / ("d" * 120)
    folder.mkdir()
    server = channel.listen(folder)
    client = channel.connect(folder)
    accepted, _ = server.accept()
    read, write = os.pipe()
    channel.send(client, {"op": "exec", "argv": ["\udcff"]}, [write])
    received = channel.receive(accepted)
    assert received is not None
    message, (fd,) = received
    assert message == {"op": "exec", "argv": ["\udcff"]}
    os.write(fd, b"through")
    assert os.read(read, 10) == b"through"
    assert not os.get_inheritable(fd)
    with pytest.raises(ContainerError, match="longer than"):
        channel.send(client, {"x": "y" * channel.LIMIT})
    client.close()
    assert channel.receive(accepted) is None
    for end in (accepted, server):
        end.close()
    for number in (fd, read, write):
        os.close(number)
    with pytest.raises(OSError):
        channel.connect(folder)


def test_a_message_of_the_greatest_length_fits_the_socket() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    message = {"x": "y" * (channel.LIMIT - 20)}
    channel.send(left, message)
    assert select.select([right], [], [], 5)[0]
    assert channel.receive(right) == (message, [])
    left.close()
    right.close()


def test_timers_are_called_once_and_in_time() -> None:
    loop, calls = Loop(), []
    loop.after(0.05, lambda: calls.append("late"))
    loop.after(0, lambda: calls.append("soon"))
    assert not loop.turn(0) and calls == ["soon"]
    while len(calls) < 2:
        loop.turn()
    loop.turn(0)
    assert calls == ["soon", "late"]
