"""What we build, docker, podman and skopeo load; what they save, we load: the same image, its ID unchanged."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.running import until

pytestmark = pytest.mark.interop
TEXT = """\
FROM scratch
COPY --chown=42:43 --chmod=4711 f /d/f
COPY f /removed
FROM scratch
COPY --from=0 / /
ENV A=1
CMD ["/d/f"]
"""


class Engine:
    """docker or podman, as root, with all of its state below one folder."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, *args: str | Path) -> str:
        done = subprocess.run([*self.words, *map(str, args)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="ie-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def docker(folder: Path) -> Iterator[Engine]:
    """Debian's docker daemon, without networks: it loads and saves."""
    host = f"unix://{folder}/sock"
    daemon = subprocess.Popen(
        ["dockerd", "--iptables=false", "--bridge=none", "--storage-driver=vfs", f"--data-root={folder}/data",
         f"--exec-root={folder}/exec", "-H", host, "-p", f"{folder}/pid"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w"))
    engine = Engine("/usr/bin/docker", "-H", host)
    try:
        until(lambda: daemon.poll() is not None or subprocess.run([*engine.words, "version"],
                                                                  capture_output=True).returncode == 0, 60)
        assert daemon.poll() is None, (folder / "log").read_text()
        yield engine
    finally:
        daemon.terminate()
        daemon.wait(30)
        # It mounts its data folder on itself, and does not always take that away.
        subprocess.run(["umount", "-l", folder / "data"], stderr=subprocess.DEVNULL)


@pytest.fixture
def podman(folder: Path) -> Engine:
    return Engine("podman", "--root", f"{folder}/p", "--runroot", f"{folder}/r", "--storage-driver", "vfs")


@pytest.fixture
def saved(plain_user: Person) -> tuple[Person, str, Path]:
    """(who, image ID, archive) of a build with an odd owner, a set-uid bit and two stages."""
    plain_user.write("c/f", "content")
    plain_user.write("c/iEchorfile", TEXT)
    image = plain_user.iechor("build", "-q", "-t", "team/app:1", plain_user.home / "c").stdout.strip()
    plain_user.iechor("save", "-o", plain_user.home / "app.tar", "team/app:1")
    return plain_user, image, plain_user.home / "app.tar"


def loaded(person: Person, archive: Path) -> str:
    """The ID of what is in the archive, into an empty store."""
    archive.chmod(0o644)
    env = {"IECHOR_HOME": str(person.home / f"other-{archive.name}")}
    person.iechor("load", "-i", archive, env=env)
    [image] = json.loads(person.iechor("inspect", "team/app:1", env=env).stdout)
    return str(image["Id"])


def test_docker(docker: Engine, saved: tuple[Person, str, Path], folder: Path) -> None:
    person, image, archive = saved
    assert "team/app:1" in docker("load", "-i", archive)
    assert docker("image", "inspect", "--format", "{{.Id}}", "team/app:1").strip() == image
    docker("save", "-o", folder / "docker.tar", "team/app:1")
    assert loaded(person, folder / "docker.tar") == image


def test_podman(podman: Engine, saved: tuple[Person, str, Path], folder: Path) -> None:
    person, image, archive = saved
    podman("load", "-i", archive)
    assert "sha256:" + podman("image", "inspect", "--format", "{{.Id}}", "docker.io/team/app:1").strip() == image
    place = Path(podman("image", "mount", "docker.io/team/app:1").strip())
    status = os.lstat(place / "d/f")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (42, 43, 0o4711)
    for kind in ("docker-archive", "oci-archive"):
        podman("save", "--format", kind, "-o", folder / f"{kind}.tar", "docker.io/team/app:1")
    assert loaded(person, folder / "docker-archive.tar") == image
    assert loaded(person, folder / "oci-archive.tar") == image


def test_what_build_writes_for_docker_and_podman(docker: Engine, podman: Engine,
                                                 saved: tuple[Person, str, Path]) -> None:
    """Layers compressed, media types docker's: the ID is the store's all the same."""
    person, image, _ = saved
    person.iechor("build", "-o", f"type=docker,dest={person.home}/d.tar,name=team/other:1",
                  "-o", f"type=oci,dest={person.home}/o.tar,compression=zstd,name=team/other:2", person.home / "c")
    assert "team/other:1" in docker("load", "-i", person.home / "d.tar")
    assert docker("image", "inspect", "--format", "{{.Id}}", "team/other:1").strip() == image
    for archive in ("docker-archive:", "oci-archive:"):
        found = podman("pull", "-q", f"{archive}{person.home}/{archive[0]}.tar").strip()
        assert f"sha256:{found}" == image


def test_the_store_itself_is_a_layout(saved: tuple[Person, str, Path]) -> None:
    person, image, _ = saved
    told = subprocess.run(["skopeo", "inspect", "--raw", f"oci:{person.store}:docker.io/team/app:1"],
                          capture_output=True, text=True, check=True).stdout
    assert json.loads(told)["config"]["digest"] == image
