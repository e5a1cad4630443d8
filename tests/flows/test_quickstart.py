"""The README's first command where no registry answers: a base from the archive, the example built, run and fetched."""

from pathlib import Path

import pytest

from tests.conftest import ROOT, Person
from tests.flows.test_run_network import free_port


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_from_no_registry_to_a_running_application(plain_user: Person) -> None:
    """As a user without subordinate ids; what apt would install is there already."""
    user = plain_user
    user.write(".config/iechor/config.toml", f'[registries."docker.io"]\nmirrors = ["127.0.0.1:{free_port()}"]\n')
    source = copy_of_the_source(user)
    done = user.run("bash", source / "examples/quickstart.sh",
                    env={"PORT": str(free_port()), "VENV": str(user.home / "venv"), "PYTHONPATH": ""}, timeout=2300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no registry answers: making debian:" in done.stderr
    assert done.stdout.endswith("Hello World!\n")
    assert not user.iechor("ps", "-a", "-q").stdout


def copy_of_the_source(user: Person) -> Path:
    """Theirs: pip builds in it."""
    done = user.run("cp", "-r", *(ROOT / name for name in ("rootless_builder", "native", "examples", "man", "docs")),
                    *sorted(path for path in ROOT.iterdir() if path.is_file()), f"{user.home}/source",
                    cwd=user.write("source/.keep", "").parent)
    assert done.returncode == 0, done.stderr
    return user.home / "source"
