"""The store that every try begins with, made once; and faults.so, compiled for this machine."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import provision
from tests.conftest import TMP, _person
from tests.registry_server import Registry
from tests.reliability.operations import Bench


@pytest.fixture(scope="session")
def library() -> Iterator[Path]:
    """faults.so, where the plain user can read it."""
    with tempfile.TemporaryDirectory(prefix="iechor-faults-", dir=TMP) as folder:
        Path(folder).chmod(0o755)
        made = Path(folder) / "faults.so"
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", made,
                        Path(__file__).parent / "faults.c", "-ldl"], check=True)
        yield made


@pytest.fixture(scope="module")
def bench(registry: Registry, library: Path, shared: Path) -> Iterator[Bench]:
    for person in _person(provision.PLAIN_USER, "fakeroot"):
        with tempfile.TemporaryDirectory(prefix="iechor-template-", dir=TMP) as template:
            found = Bench(person, registry, library, Path(template))
            work = Path(tempfile.mkdtemp(dir=shared))
            work.chmod(0o755)
            found.fill(work)
            yield found
            found.close()
