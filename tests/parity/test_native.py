"""The C code by itself: its own tests under the sanitizers, and no warning from a strict compiler."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[2] / "native"
STRICT = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]


def test_the_kernels_pass_under_the_sanitizers(tmp_path: Path) -> None:
    done = subprocess.run(["make", "-s", "-C", NATIVE, "check", f"OUT={tmp_path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not ok" not in done.stdout


@pytest.mark.parametrize("source", (NATIVE / "layercore.sources").read_text().split())
def test_it_compiles_without_a_warning(source: str, tmp_path: Path) -> None:
    done = subprocess.run(["cc", *STRICT, "-I", sysconfig.get_paths()["include"], "-c", NATIVE / source,
                           "-o", tmp_path / "out.o"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_the_bindings_know_python() -> None:
    for source in [*NATIVE.glob("*.c"), *NATIVE.glob("*.h")]:
        if source.name != "module.c" and not source.name.startswith("py_"):
            assert "Python.h" not in source.read_text(), source.name
