"""Which layer core is used. In processes of their own, since the choice is made at import."""

import os
import subprocess
import sys
from pathlib import Path

from rootless_builder import layercore

ASK = "from rootless_builder import layercore as core; print(core.NATIVE, core.KERNEL, core.TarSink.__module__, " \
      "core.hash_files.__module__, core.scan.__module__)"


def ask(before: str = "", **environment: str) -> list[str]:
    clean = {key: value for key, value in os.environ.items() if key != "IECHOR_NO_NATIVE"}
    done = subprocess.run([sys.executable, "-c", f"{before}\n{ASK}"], capture_output=True, text=True,
                          env={**clean, "PYTHONPATH": str(Path(layercore.__file__).parents[1]), **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("rootless_builder._layercore", "").split()


def test_c_where_it_was_built() -> None:
    native, kernel, *_ = ask()
    assert native == "True"
    assert kernel in ("sha-ni", "armv8", "hashlib")


def test_python_if_asked_for() -> None:
    assert ask(IECHOR_NO_NATIVE="1") == ["False", "hashlib", "_py", "_py", "_py"]
    assert ask(IECHOR_NO_NATIVE="0") == ask(IECHOR_NO_NATIVE="") == ask()


def test_python_where_there_was_no_compiler() -> None:
    assert ask("import sys; sys.modules['rootless_builder._layercore'] = None")[:2] == ["False", "hashlib"]


def test_hashing_is_left_to_openssl_where_the_cpu_does_not_help() -> None:
    slow = "from rootless_builder import _layercore; _layercore.KERNEL = 'scalar'"
    native, kernel, sink, hasher, *scan = ask(slow)
    assert (native, kernel, sink, hasher) == ("True", "hashlib", "_py", "_py")
    assert "_py" not in scan
