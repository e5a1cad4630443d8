"""A log gives back the very bytes of each stream, whatever they are."""

import itertools
import os
from pathlib import Path

import pytest

from rootless_builder.containers.folders import Containers
from rootless_builder.containers.logs import STDERR, STDOUT, LogWriter, parse_since, read_log, render
from rootless_builder.containers.names import new_id
from rootless_builder.containers.state import Container, ContainerConfig
from rootless_builder.errors import UsageError

NOISE = [(STDOUT, b"one\ntwo\nthr"), (STDERR, b"\x00\xff\n"), (STDOUT, b"ee\n\n"), (STDOUT, b"a b  c\r\n"),
         (STDERR, b"prompt> ")]


@pytest.fixture
def container(tmp_path: Path) -> Container:
    containers = Containers(tmp_path)
    config = ContainerConfig(id=new_id(), name="web", image="x", image_id="", command=("x",), created=0.0)
    containers.reserve(config.id, config.name)
    return containers.publish(config)


def write(container: Container, *portions: tuple[int, bytes]) -> None:
    ticks = itertools.count(1_700_000_000)
    fd = os.open(container.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream, data in portions:
        LogWriter(fd, lambda: next(ticks) + 0.25).write(stream, data)
    os.close(fd)


def shown(container: Container, *, timestamps: bool = False, tail: int | None = None,
          since: float | None = None) -> dict[int, bytes]:
    found = {STDOUT: b"", STDERR: b""}
    render(read_log(container, tail=tail, since=since),
           lambda stream, data: found.update({stream: found[stream] + data}), timestamps=timestamps)
    return found


def test_each_stream_comes_back_byte_for_byte(container: Container) -> None:
    write(container, *NOISE)
    assert shown(container) == {STDOUT: b"one\ntwo\nthree\n\na b  c\r\n", STDERR: b"\x00\xff\nprompt> "}


def test_the_file_is_what_cri_tools_read(container: Container) -> None:
    write(container, (STDOUT, b"one\ntwo"))
    assert container.log.read_bytes() == (b"2023-11-14T22:13:20.250000000Z stdout F one\n"
                                          b"2023-11-14T22:13:20.250000000Z stdout P two\n")


@pytest.mark.parametrize(("tail", "expected"), [
    (0, b""), (1, b"5"), (2, b"4\n5"), (3, b"three\n4\n5"), (5, b"1\n2\nthree\n4\n5"), (99, b"1\n2\nthree\n4\n5")])
def test_tail_counts_lines_not_writes(container: Container, tail: int, expected: bytes) -> None:
    write(container, (STDOUT, b"1\n2\nth"), (STDOUT, b"r"), (STDOUT, b"ee\n4\n"), (STDOUT, b"5"))
    assert shown(container, tail=tail)[STDOUT] == expected


def test_timestamps_are_put_before_lines_not_before_portions(container: Container) -> None:
    write(container, (STDOUT, b"a"), (STDOUT, b"b\nc\n"))
    assert shown(container, timestamps=True)[STDOUT] == (b"2023-11-14T22:13:20.250000000Z ab\n"
                                                        b"2023-11-14T22:13:21.250000000Z c\n")


def test_since(container: Container) -> None:
    write(container, (STDOUT, b"a\n"), (STDOUT, b"b\n"), (STDOUT, b"c\n"))
    assert shown(container, since=1_700_000_001.0)[STDOUT] == b"b\nc\n"


def test_a_line_that_a_full_disk_cut_short_is_passed_over(container: Container) -> None:
    write(container, (STDOUT, b"a\n"))
    with container.log.open("ab") as stream:
        stream.write(b"2023-11-14T22:\n\nnonsense at the end F\n")
    write(container, (STDOUT, b"b\n"))
    assert shown(container)[STDOUT] == b"a\nb\n"


def test_times_to_begin_from() -> None:
    assert parse_since("10m", 1000.0) == 400.0
    assert parse_since("1h30m", 10_000.0) == 4600.0
    assert parse_since("1700000000", 0.0) == 1_700_000_000.0
    assert parse_since("2023-11-14T22:13:20Z", 0.0) == 1_700_000_000.0
    for text in ("", "soon", "10 minutes"):
        with pytest.raises(UsageError):
            parse_since(text, 0.0)
