"""Debian's packages, installed by a user with one id, leave what they leave for real root.

Type, owner, mode, link target, device, attributes and time of every path are compared, always; content too, except
for FREELY. Of the other package managers Debian has dnf, zypper and pacman (see test_matrix_soak.py); apk is not
in its archive and cannot be had without a base of its own.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person, _person
from tests.provision import PLAIN_USER
from tests.registry_server import Registry
from tests.same import Layer, differing, layers

pytestmark = pytest.mark.timeout(1200)
FILE = Path(__file__).with_name("matrix") / "packages.iEchorfile"
STEPS = re.findall(r"^## (.+)", FILE.read_text(), re.MULTILINE)

# Paths whose content two builds of real root would not have alike either, and why.
FREELY = {
    "var/lib/apt/lists/*": "the archive may have moved on between the two builds",
    "var/cache/apt/*.bin": "offsets and times of those lists",
    "var/log/apt/*.log": "the time of day",
    "var/log/dpkg.log": "the time of day",
    "var/log/alternatives.log": "the time of day",
    "var/cache/ldconfig/aux-cache": "inode numbers and times of libraries",
    "var/cache/man/index.db": "the times of pages",
    "etc/ssh/ssh_host_*_key*": "a new key",
    "root/.ssh/id*": "a new key",
    "root/.ssh/known_hosts": "the new host's key, its name hashed with a salt",
    "home/guest/.ssh/authorized_keys": "the new key",
    "run/sudo/ts/guest": "when sudo was used, and by which process",
    "etc/machine-id": "random",
    "var/lib/dbus/machine-id": "random",
    "etc/ssl/certs/ssl-cert-snakeoil.pem": "a new certificate",
    "etc/ssl/private/ssl-cert-snakeoil.key": "its key",
    "var/lib/postgresql/*/main/global/pg_control": "an id of the cluster, times, a random nonce",
    "var/lib/postgresql/*/main/pg_wal/*": "the same id, times",
    "var/lib/postgresql/*/main/pg_stat/*": "times",
    "var/lib/postgresql/*/main/*/pg_internal.init": "a cache: holds addresses of its process",
}


def built(person: Person, registry: Registry) -> dict[str, Layer]:
    person.mirror(registry)
    file = person.write("c/iEchorfile", FILE.read_text())
    done = person.iechor("build", "--progress=plain", "-t", "x", "--source-date-epoch=1000000000", file.parent,
                         timeout=900)
    return dict(zip(("base", *changing(done.stderr)), layers(person, "x"), strict=True))


def changing(shown: str) -> list[str]:
    """The steps that made a layer."""
    silent = re.findall(r"^#(\d+) DONE \S+ nothing changed", shown, re.MULTILINE)
    return [name for number, name in enumerate(STEPS, 2) if str(number) not in silent]


@pytest.fixture(scope="module")
def ours(registry: Registry, ubuntu: str) -> Iterator[dict[str, Layer]]:
    for person in _person(PLAIN_USER, "fakeroot"):
        yield built(person, registry)


@pytest.fixture(scope="module")
def theirs(registry: Registry, ubuntu: str) -> Iterator[dict[str, Layer]]:
    for person in _person("root", "host"):
        yield built(person, registry)


@pytest.mark.parametrize("name", STEPS)
def test_what_packages_leave(theirs: dict[str, Layer], ours: dict[str, Layer], name: str) -> None:
    assert (name in ours) == (name in theirs)
    found = differing(ours[name], theirs[name], FREELY) if name in ours else []
    assert not found, "\n".join(found)


def test_the_steps_did_what_they_say(ours: dict[str, Layer]) -> None:
    """A few facts, so that two equal mistakes prove nothing."""
    agent = ours["openssh"].members()["usr/bin/ssh-agent"]
    assert agent.owner != (0, 0) and agent.mode == "0o2755"
    assert "uid=1000(guest)" in ours["sshd, which drops privileges for good"].members()["seen/sshd"].content
    sudo = ours["more of sudo"].members()
    assert sudo["root/made"].owner == (42, 43) and sudo["root/null"].device == (1, 3)
    assert "uid=0(root)" in sudo["seen/sudo"].content and "guest may not" in sudo["seen/sudo"].content
    database = ours["postgresql, installed and run by the same step, with peer authentication"].members()
    assert database["var/lib/postgresql"].owner != (0, 0)
    seen = database["seen/postgresql"].content
    assert seen.splitlines()[:2] == ["postgres|42", "app"]
    assert "root/true cap_chown,cap_net_raw=ep" in ours["getcap in a later step"].members()["seen/later"].content
