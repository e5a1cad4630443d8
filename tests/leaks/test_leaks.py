"""No function of the C modules leaks: each has a script of its own here, and this fails if one has none.

Each runs twice: with the Python that runs the tests, and with a debug build of it, which counts every reference.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rootless_builder import _fakeroot, _layercore

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = sorted(path.stem.removeprefix("leak_") for path in HERE.glob("leak_*.py"))
DEBUG_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}-dbg"  # as Debian's package of that name has it


def functions() -> set[str]:
    """scan, diff, …, TarSink, TarSink_add, …; a Snapshot's methods are in its own script."""
    found = set()
    for name, value in [*vars(_layercore).items(), *vars(_fakeroot).items()]:
        if callable(value) and not name.startswith("_"):
            found.add(name)
            if name == "TarSink":
                found |= {f"TarSink_{method}" for method in vars(value) if not method.startswith("_")}
    return found


def test_every_function_has_its_script() -> None:
    assert functions() == set(SCRIPTS)


def run(python: str | Path, name: str, package: Path, tmp: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{package}:{ROOT}:{HERE}", "LEAKS_TMP": str(tmp)}
    environment.pop("IECHOR_NO_NATIVE", None)
    done = subprocess.run([python, HERE / f"leak_{name}.py"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.lean
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    run(sys.executable, name, ROOT, tmp_path)


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package whose C was built for the debug Python."""
    copy = tmp_path_factory.mktemp("counted")
    for name in ("rootless_builder", "native"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", "build"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    packages = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))  # setuptools is among them
    built = subprocess.run([DEBUG_PYTHON, "setup.py", "-q", "build_ext", "--inplace"], cwd=copy, capture_output=True,
                           text=True, env={**os.environ, "IECHOR_REQUIRE_NATIVE": "1", "PYTHONPATH": packages})
    assert built.returncode == 0, built.stderr
    return copy


@pytest.mark.lean
@pytest.mark.parametrize("name", SCRIPTS)
def test_nor_a_reference(name: str, counted: Path, tmp_path: Path) -> None:
    run(DEBUG_PYTHON, name, counted, tmp_path)
