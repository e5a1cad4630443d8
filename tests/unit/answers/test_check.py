"""Which files an answer can speak of."""

import os
from pathlib import Path

import pytest

from rootless_builder.answers.check import bytes_of


def test_a_file_is_told_by_its_bytes_and_by_being_absent(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert bytes_of(str(tmp_path / "a"), 100) == b"abc"
    assert bytes_of(str(tmp_path / "a"), 1) == b"ab"  # longer than it was
    assert bytes_of(str(tmp_path / "b"), 100) is None
    assert bytes_of(str(tmp_path / "a/b"), 100) is None


def test_a_pipe_is_left_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    fd = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(fd, b"FROM scratch")
        with pytest.raises(OSError, match="no regular file"):
            bytes_of(str(tmp_path / "pipe"), 100)
        assert os.read(fd, 100) == b"FROM scratch"
    finally:
        os.close(fd)


def test_nor_is_a_folder_told(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        bytes_of(str(tmp_path), 100)
