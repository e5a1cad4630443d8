"""The two layer cores, for tests of what is built upon them."""

import contextlib
from collections.abc import Iterator
from types import ModuleType

import pytest

from rootless_builder import _layercore, _layercore_py, layercore

CORES = {"c": _layercore, "python": _layercore_py}


@contextlib.contextmanager
def reading_with(core: ModuleType) -> Iterator[None]:
    """Tars are read by this core."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("read_headers", "arrange"):
            patch.setattr(layercore, name, getattr(core, name))
        yield
