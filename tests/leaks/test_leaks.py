"""No function of the C layer core leaks: each has a script of its own here, and this fails if one has none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rootless_builder import _layercore

HERE = Path(__file__).resolve().parent
SCRIPTS = sorted(path.stem.removeprefix("leak_") for path in HERE.glob("leak_*.py"))


def functions() -> set[str]:
    """scan, diff, …, TarSink, TarSink_add, …; a Snapshot's methods are in its own script."""
    found = set()
    for name, value in vars(_layercore).items():
        if callable(value) and not name.startswith("_"):
            found.add(name)
            if name == "TarSink":
                found |= {f"TarSink_{method}" for method in vars(value) if not method.startswith("_")}
    return found


def test_every_function_has_its_script() -> None:
    assert functions() <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}", "LEAKS_TMP": str(tmp_path)}
    environment.pop("IECHOR_NO_NATIVE", None)
    done = subprocess.run([sys.executable, HERE / f"leak_{name}.py"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
