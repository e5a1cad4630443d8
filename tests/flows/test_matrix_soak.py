"""The slow part of the matrix, for `make soak`: a hundred thousand files, and package managers other than apt.

rpm, dnf and zypper come from Debian's archive and install packages built on the spot. pacman is not in the release the
base is made of, apk in none: they would need a base of their own.
"""

import re
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_server import Registry
from tests.same import differing, layers

MANAGERS = Path(__file__).with_name("matrix") / "managers.iEchorfile"

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
    "root/.rpmdb/__db.*": "shared memory of its database, with the processes that mapped it",
    "var/cache/*": "what was looked at, and when",
    "p/tiny.rpm": "a random id",
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
    found = both(plain_user, root_user, registry, MANAGERS.read_text())
    assert not found, "\n".join(found)
