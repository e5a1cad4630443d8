"""Cache mounts: who may use a folder at once, and what a killed or lock-less user leaves."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from rootless_builder.sandbox.idmap import IdMode
from rootless_builder.scratch.caches import Caches, Told, enter_by_name
from rootless_builder.scratch.owners import OwnerRecord, decode, encode
from rootless_builder.scratch.places import make_places


class Waited(Exception):
    pass


def raise_waited():
    raise Waited


def ignore():
    """Nothing to tell."""


TOLD = Told(waiting=raise_waited, emptied=ignore)


@pytest.fixture
def caches(tmp_path):
    return Caches(make_places(tmp_path / "scratch", IdMode.FAKEROOT))


def fill(folder: Path):
    (folder / "seed").write_text("1")
    return ()


def test_it_is_filled_once_and_stays(caches):
    with caches.take("id", "shared", fill, TOLD) as one:
        (one.files / "seed").write_text("2")
    with caches.take("id", "locked", fill, TOLD) as again:
        assert again.files == one.files and (again.files / "seed").read_text() == "2"
    with caches.take("other", "shared", fill, TOLD) as other:
        assert other.files != one.files


@pytest.mark.parametrize(("first", "second", "outcome"), [
    ("shared", "shared", "same"), ("private", "private", "another"), ("shared", "private", "another"),
    ("locked", "locked", "waits"), ("shared", "locked", "waits"), ("locked", "shared", "waits"),
])
def test_two_at_once(caches, first, second, outcome):
    with caches.take("id", first, fill, TOLD) as one:
        try:
            with caches.take("id", second, fill, TOLD) as other:
                found = "same" if one.files == other.files else "another"
        except Waited:
            found = "waits"
    assert found == outcome


def test_pruning_leaves_those_in_use(caches):
    with caches.take("used", "shared", fill, TOLD) as used, caches.take("free", "shared", fill, TOLD) as free:
        pass
    with caches.take("used", "shared", fill, TOLD):
        assert caches.prune() > 0
        assert used.files.is_dir() and not free.files.exists()
    with caches.take("free", "shared", fill, TOLD) as again:
        assert (again.files / "seed").exists()


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

    with pytest.raises(ValueError), caches.take("id", "shared", fail, TOLD):
        pass
    with caches.take("id", "shared", fill, TOLD) as made:
        assert not (made.files / "half").exists()


def record(path: Path, uid: int) -> OwnerRecord:
    status = path.stat()
    return OwnerRecord(ino=status.st_ino, mode=status.st_mode, uid=uid, gid=uid)


def owners(taken) -> dict[int, int]:
    return {ino: found.uid for ino, found in decode(taken.owners.table.read_bytes()).items()}


def test_owners_stay_with_the_files(caches):
    def seed(folder: Path):
        fill(folder)
        return [record(folder / "seed", 5)]

    with caches.take("id", "locked", seed, TOLD) as first:
        one = record(first.files / "seed", 5)
        assert owners(first) == {one.ino: 5}
        first.owners.run()
        (first.files / "d").mkdir()
        (first.files / "d/f").write_text("")
        more = record(first.files / "d/f", 7)
        gone = OwnerRecord(ino=1 << 40, mode=0o100644, uid=9, gid=9)  # somewhere else on the same file system
        first.owners.keep(encode([one._replace(uid=6), more, gone]))
    with caches.take("id", "shared", seed, TOLD) as second:
        assert owners(second) == {one.ino: 6, more.ino: 7}
        second.owners.run()
        (second.files / "seed").unlink()
        second.owners.keep(encode([one._replace(uid=6), more]))
    with caches.take("id", "private", seed, TOLD) as third:
        assert owners(third) == {more.ino: 7}  # what is no longer there has no owner: its number may be another's soon


def test_two_who_share_tell_each_what_they_changed(caches):
    with caches.take("id", "shared", fill, TOLD) as one, caches.take("id", "shared", fill, TOLD) as other:
        seed = record(one.files / "seed", 5)
        for user, name, uid in ((one, "a", 1), (other, "b", 2)):
            user.owners.run()
            (user.files / name).write_text("")
        a, b = record(one.files / "a", 1), record(one.files / "b", 2)
        one.owners.keep(encode([a, seed]))
        other.owners.keep(encode([b]))
    with caches.take("id", "shared", fill, TOLD) as after:
        assert owners(after) == {a.ino: 1, b.ino: 2, seed.ino: 5}


@pytest.mark.parametrize("sharing", ["shared", "locked", "private"])
def test_a_killed_user_leaves_owners_that_nobody_knows(caches, sharing):
    emptied = []
    told = Told(waiting=raise_waited, emptied=lambda: emptied.append(1))
    with caches.take("id", sharing, fill, told) as taken:
        (taken.files / "stays").write_text("")
    with caches.take("id", sharing, fill, told) as taken:
        assert (taken.files / "stays").exists()
        taken.owners.run()  # and no `keep`
        if sharing == "shared":
            with caches.take("id", sharing, fill, told) as other:  # it may well still be alive
                assert other.files == taken.files and (other.files / "stays").exists()
    assert not emptied
    with caches.take("id", sharing, fill, told) as taken:
        assert emptied and not (taken.files / "stays").exists()
