import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder on a disk with owners, devices and extended attributes; /tmp may be a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="interop-") as name:
        yield Path(name)


@pytest.fixture
def root(place: Path) -> Iterator[int]:
    """A descriptor of place/source, an empty folder."""
    (place / "source").mkdir()
    fd = os.open(place / "source", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
