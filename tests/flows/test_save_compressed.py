"""`iechor save --compression`: the same layers as a push has, for skopeo and for us."""

import json
from pathlib import Path

import pytest

from tests.flows.running import Person
from tests.registry_server import skopeo

OCI = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def user(plain_user: Person) -> Person:
    folder = plain_user.home / "context"
    folder.mkdir()
    (folder / "iEchorfile").write_text("FROM scratch\nCOPY a /a\n")
    (folder / "a").write_text("many words " * 10_000)
    plain_user.iechor("build", "-t", "app:1", folder)
    return plain_user


def layers(user: Person, place: str) -> list[tuple[str, str]]:
    found = json.loads(skopeo("inspect", "--raw", place.format(user.home)))["layers"]
    skopeo("copy", "-q", place.format(user.home), f"dir:{user.home}/copied")  # every blob has its digest
    return [(layer["mediaType"], layer["digest"]) for layer in found]


@pytest.mark.parametrize("words,media_type", [
    ([], OCI), (["--compression", "uncompressed"], OCI), (["--compression", "gzip"], f"{OCI}+gzip"),
    (["--compression-format", "zstd", "--compression-level", "9"], f"{OCI}+zstd")])
def test_an_archive(user: Person, words: list[str], media_type: str) -> None:
    user.iechor("save", "--format", "oci-archive", "-o", "x.tar", *words, "app:1")
    [(found, digest)] = layers(user, "oci-archive:{}/x.tar")
    assert found == media_type
    user.iechor("save", "--format", "oci-dir", "-o", "folder", *words, "app:1")
    assert layers(user, "oci:{}/folder") == [(media_type, digest)]
    before = user.iechor("images", "-q", "--no-trunc", "app").stdout
    user.iechor("rmi", "app:1")
    user.iechor("load", "-i", "x.tar")
    assert user.iechor("images", "-q", "--no-trunc", "app").stdout == before


def test_what_cannot_be(user: Person) -> None:
    done = user.iechor("save", "-o", "x.tar", "--compression", "gzip", "--compression-level", "12", "app:1", code=2)
    assert "level 12" in done.stderr and "gzip has levels 0 to 9" in done.stderr
    assert not Path(user.home, "x.tar").exists()
