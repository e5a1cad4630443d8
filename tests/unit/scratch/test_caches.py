"""Cache mounts: who may use a folder at once, and what a killed or lock-less user leaves."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from rootless_builder.sandbox.idmap import IdMode
from rootless_builder.scratch.caches import Caches, enter_by_name
from rootless_builder.scratch.places import make_places


class Waited(Exception):
    pass


def wait():
    raise Waited


@pytest.fixture
def caches(tmp_path):
    return Caches(make_places(tmp_path / "scratch", IdMode.FAKEROOT))


def fill(folder: Path):
    (folder / "seed").write_text("1")


def test_it_is_filled_once_and_stays(caches):
    with caches.take("id", "shared", fill, wait) as folder:
        (folder / "seed").write_text("2")
    with caches.take("id", "locked", fill, wait) as again:
        assert again == folder and (again / "seed").read_text() == "2"
    with caches.take("other", "shared", fill, wait) as other:
        assert other != folder


@pytest.mark.parametrize(("first", "second", "outcome"), [
    ("shared", "shared", "same"), ("private", "private", "another"), ("shared", "private", "another"),
    ("locked", "locked", "waits"), ("shared", "locked", "waits"), ("locked", "shared", "waits"),
])
def test_two_at_once(caches, first, second, outcome):
    with caches.take("id", first, fill, wait) as one:
        try:
            with caches.take("id", second, fill, wait) as other:
                found = "same" if one == other else "another"
        except Waited:
            found = "waits"
    assert found == outcome


def test_pruning_leaves_those_in_use(caches):
    with caches.take("used", "shared", fill, wait) as used, caches.take("free", "shared", fill, wait) as free:
        pass
    with caches.take("used", "shared", fill, wait):
        assert caches.prune() > 0
        assert used.is_dir() and not free.exists()
    with caches.take("free", "shared", fill, wait) as again:
        assert (again / "seed").exists()


def test_where_the_file_system_knows_no_locks(tmp_path):
    users = tmp_path / "0.users"
    with ExitStack() as one, ExitStack() as other:
        assert enter_by_name(one, users, shared=True) and enter_by_name(other, users, shared=True)
        assert not enter_by_name(other, users, shared=False)
    with ExitStack() as alone:
        assert enter_by_name(alone, users, shared=False)
        assert not enter_by_name(alone, users, shared=True)
    left = users / "alone.000000000000-1-1"
    left.write_text("")
    os.utime(left, (0, 0))
    with ExitStack() as after:
        assert enter_by_name(after, users, shared=False)


def test_a_folder_that_could_not_be_filled_is_not_there(caches):
    def fail(folder: Path):
        (folder / "half").write_text("")
        raise ValueError

    with pytest.raises(ValueError), caches.take("id", "shared", fail, wait):
        pass
    with caches.take("id", "shared", fill, wait) as folder:
        assert not (folder / "half").exists()
