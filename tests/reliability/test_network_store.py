"""A store on a network file system: prune lets two minutes pass before it removes what it found, and whoever believes
that it is still there (as NFS makes a host believe for a minute) finds it. docs/decisions/0043 has the reasoning.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_server import Registry
from tests.reliability.network import elsewhere, seen_by_two

SECOND = 10**9
HOUR = 3600 * SECOND
WAIT = 120  # seconds: twice what a host may believe


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    """With busybox and app in the store `network/store`, made an hour ago, and app.tar."""
    plain_user.mirror(registry)
    plain_user.write("c/iEchorfile", "FROM busybox\nCOPY big /\n")
    plain_user.write("c/big", os.urandom(100_000))
    (plain_user.home / "network").mkdir()
    os.chown(plain_user.home / "network", plain_user.uid, plain_user.gid)
    env = {"IECHOR_HOME": str(plain_user.home / "network/store")}
    plain_user.iechor("build", "-t", "app", "c", env=env)
    plain_user.iechor("save", "-o", "app.tar", "--format", "oci-archive", "app", env=env)
    for path in (plain_user.home / "network/store/blobs/sha256").iterdir():
        os.utime(path, ns=(path.stat().st_mtime_ns - HOUR,) * 2)
    return plain_user


@pytest.fixture
def hosts(user: Person) -> Iterator[tuple[Path, Path]]:
    with seen_by_two(user, "network", 60) as points:
        yield points


def at(user: Person, host: Path) -> dict[str, str]:
    return {"IECHOR_HOME": str(host / "store"), "IECHOR_SCRATCH": str(user.home / f"scratch-{host.name}")}


def on_another_host(user: Person, host: Path, *words: str) -> None:
    done = subprocess.run([*elsewhere(user), *user.command(*words)], env=user.environment(at(user, host)),
                          cwd=user.home, text=True, capture_output=True, umask=0o022)
    assert done.returncode == 0, done.stderr


def leaving(user: Person) -> list[Path]:
    """As it is on the server."""
    return list((user.home / "network/store/trash").iterdir())


def later(user: Person) -> None:
    """What is in trash/ was moved two minutes ago."""
    for path in leaving(user):
        since = int(re.search(r"\.at-(\d+)\.", path.name)[1])  # type: ignore[index]
        path.rename(path.with_name(path.name.replace(str(since), str(since - WAIT * SECOND))))


def is_sound(user: Person) -> bool:
    """As the server has it."""
    env = {"IECHOR_HOME": str(user.home / "network/store")}
    return bool(json.loads(user.iechor("check", "--format", "json", env=env).stdout)["Sound"])


def test_what_is_not_used_goes_two_minutes_later(user: Person, hosts: tuple[Path, Path]) -> None:
    one, _ = hosts
    user.iechor("rmi", "app", env=at(user, one))
    said = user.iechor("prune", "--cache", env=at(user, one)).stdout
    assert "0 blobs" in said and re.search(r"more are on a network file system.* 1[0-9]{2} s from now", said), said
    assert len(leaving(user)) == 3  # manifest, config, layer
    assert "0 blobs" in user.iechor("prune", env=at(user, one)).stdout
    assert len(leaving(user)) == 3
    later(user)
    assert "(3 blobs" in user.iechor("prune", env=at(user, one)).stdout
    assert leaving(user) == [] and is_sound(user)


def test_what_was_just_written_is_not_even_moved(user: Person, hosts: tuple[Path, Path]) -> None:
    one, _ = hosts
    user.write("c/big", os.urandom(1000))
    user.iechor("build", "-t", "young", "c", env=at(user, one))
    user.iechor("rmi", "young", env=at(user, one))
    user.iechor("prune", "--cache", env=at(user, one))
    assert leaving(user) == []


def test_who_believes_that_a_blob_is_there_finds_it(user: Person, hosts: tuple[Path, Path]) -> None:
    """The other host has just seen the layer at its place; it takes it up while this one prunes it."""
    one, two = hosts
    on_another_host(user, two, "check")
    user.iechor("rmi", "app", env=at(user, one))
    user.iechor("prune", "--cache", env=at(user, one))
    assert len(leaving(user)) == 3
    on_another_host(user, two, "load", "-i", "app.tar")
    on_another_host(user, two, "run", "--rm", "app", "test", "-s", "/big")
    later(user)
    user.iechor("prune", env=at(user, one))
    assert leaving(user) == [] and is_sound(user)
    env = {"IECHOR_HOME": str(user.home / "network/store")}
    assert user.iechor("run", "--rm", "app", "cat", "/big", env=env).stdout


def test_a_blob_that_a_killed_prune_moved_waits_from_when_it_is_found(user: Person, hosts: tuple[Path, Path]) -> None:
    one, _ = hosts
    user.iechor("rmi", "app", env=at(user, one))
    user.iechor("prune", "--cache", env=at(user, one))
    for path in leaving(user):
        path.rename(path.with_name(re.sub(r"\.at-\d+", ".0123456789ab-1-1", path.name)))
    assert "0 blobs" in user.iechor("prune", env=at(user, one)).stdout
    assert len(leaving(user)) == 3 and all(".at-" in path.name for path in leaving(user))


@pytest.mark.soak
def test_a_blob_that_is_lost_is_told_after_a_minute_at_most(user: Person, hosts: tuple[Path, Path]) -> None:
    one, _ = hosts
    user.iechor("pull", "busybox", env=at(user, one))
    largest = max((user.home / "network/store/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.unlink()
    done = user.iechor("save", "-o", "lost.tar", "busybox", env=at(user, one), code=14)
    assert "is not in the store" in done.stderr
