"""The slow part of the matrix, for `make soak`: a hundred thousand files, and package managers other than apt.

rpm, dnf, zypper and pacman come from Debian's archive and install packages built on the spot; pacman is younger than
the release the base is made of, and gets one of its own. apk is in no release of Debian's, and a base of Alpine's
cannot be had from its archive.
"""

import re
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_server import Registry
from tests.same import differing, layers

MATRIX = Path(__file__).with_name("matrix")

MANY = """\
FROM busybox
RUN mkdir /many && cd /many && for i in $(seq 100); do mkdir $i; (cd $i; seq 1000 | xargs touch); done
RUN chown -R app:video /many
RUN for i in $(seq 100); do chown -R $i:4204350 /many/$i; done; rm -r /many/7; find /many -user 8 | wc -l > /count
"""

FREELY = {
    "var/lib/apt/lists/*": "the archive may have moved on between the two builds",
    "var/cache/apt/*.bin": "offsets and times of those lists",
    "var/log/*": "the time of day",
    "var/cache/ldconfig/aux-cache": "inode numbers and times of libraries",
    "var/lib/rpm/*": "a database with the time of each installation",
    "var/lib/dnf/*": "the same",
    "root/.rpmdb/*": "Berkeley DB: each file has an id made of its inode, the time and the process",
    "var/lib/zypp/AnonymousUniqueId": "random",
    "var/cache/*": "what was looked at, and when",
    "p/tiny.rpm": "a random id",
    "var/lib/pacman/local/*/desc": "the time of the installation",
    "*.pyc": "sets among the constants are in the order of that Python's hash seed",
}


def both(ours: Person, theirs: Person, registry: Registry, text: str) -> list[str]:
    """The paths that differ, step by step."""
    for person in (theirs, ours):
        person.mirror(registry)
        file = person.write("c/iEchorfile", text)
        person.iechor("build", "--progress=plain", "-t", "x", "--source-date-epoch=1000000000", file.parent,
                      timeout=1500)
    pairs = zip(layers(ours, "x"), layers(theirs, "x"), strict=True)
    return [line for mine, yours in pairs for line in differing(mine, yours, FREELY)]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_files(plain_user: Person, root_user: Person, registry: Registry, busybox: str) -> None:
    assert both(plain_user, root_user, registry, MANY) == []
    assert [layer.digest for layer in layers(plain_user, "x")] == [layer.digest for layer in layers(root_user, "x")]
    last = layers(plain_user, "x")[-1].members()
    assert last["count"].content == "1001\n"
    assert len(re.findall(r"^many/8/", "\n".join(last), re.MULTILINE)) == 1000


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_other_package_managers(plain_user: Person, root_user: Person, registry: Registry, ubuntu: str) -> None:
    found = both(plain_user, root_user, registry, (MATRIX / "managers.iEchorfile").read_text())
    assert not found, "\n".join(found)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_pacman(plain_user: Person, root_user: Person, registry: Registry, shared: Path) -> None:
    base = plain_user.home / "bookworm.tar"
    plain_user.iechor("bootstrap", "debian:bookworm", timeout=900)
    plain_user.iechor("save", "-o", base, "debian:bookworm")
    root_user.iechor("load", "-i", base)
    found = both(plain_user, root_user, registry, (MATRIX / "pacman.iEchorfile").read_text())
    assert not found, "\n".join(found)
    seen = layers(plain_user, "x")[-2].members()["seen/pacman"].content
    assert "/opt/tiny/b cap_net_raw=ep" in seen and "/opt/tiny/dir drwxrwsr-x 445605:4204350" in seen
