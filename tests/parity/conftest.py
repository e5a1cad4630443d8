"""Every test here runs twice: with the layer core in C, and with its twin in Python."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rootless_builder import _layercore, _layercore_py


@pytest.fixture(params=[_layercore, _layercore_py], ids=["c", "python"])
def core(request: pytest.FixtureRequest) -> ModuleType:
    module = request.param
    assert isinstance(module, ModuleType)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A descriptor of tmp_path/root, an empty folder."""
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    subprocess.run(["rm", "-rf", tmp_path / "root"], check=True)  # some are too deep for pytest to remove
