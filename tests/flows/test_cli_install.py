"""`pip install`: with a compiler all that is in C, without one iechor all the same, unless it is required."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def install(folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Into folder/installed, from a copy: setuptools builds where the source is."""
    copy = folder / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(
        ".git", "build", "*.egg-info", "__pycache__", "*.so", "tests", ".*_cache", ".hypothesis", ".tox", ".venv"))
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation")
    return subprocess.run([*pip, "--target", folder / "installed", copy], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": "", "IECHOR_REQUIRE_NATIVE": "0", **environ})


def version(folder: Path) -> str:
    """Of what was installed there, and not of the source tree."""
    done = subprocess.run([sys.executable, "-m", "rootless_builder", "version"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(folder / "installed")}, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_with_a_compiler_both_extensions_are_there(tmp_path: Path) -> None:
    done = install(tmp_path, IECHOR_REQUIRE_NATIVE="1")
    assert done.returncode == 0, done.stderr
    package = tmp_path / "installed" / "rootless_builder"
    assert sorted(path.name.split(".")[0] for path in package.glob("*.so")) == [
        "_fakeroot", "_layercore", "_view"]
    assert all(".abi3." in path.name for path in package.glob("*.so"))
    assert "native" in version(tmp_path)
    assert "built in" in version(tmp_path)
    pages = tmp_path / "installed" / "share" / "man"
    assert (pages / "man1" / "iechor-build.1").exists()
    assert (pages / "man5" / "iEchorfile.5").exists()


def test_without_a_compiler_it_installs_and_says_what_is_missing(tmp_path: Path) -> None:
    done = install(tmp_path, CC="/bin/false")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "installed" / "rootless_builder").glob("*.so"))
    assert "pure Python" in version(tmp_path)
    assert "not built" in version(tmp_path)


@pytest.mark.parametrize("compiler", ["/bin/false", "/nonexistent/cc"])
def test_where_the_extensions_are_required_the_install_fails(tmp_path: Path, compiler: str) -> None:
    done = install(tmp_path, CC=compiler, IECHOR_REQUIRE_NATIVE="1")
    assert done.returncode != 0
    assert not (tmp_path / "installed" / "rootless_builder").exists()
