"""scan and diff, in C and in Python."""

import errno
import os
import random
import threading
from pathlib import Path
from types import ModuleType

import pytest

from rootless_builder import _layercore, _layercore_py

ADDED, CHANGED, REMOVED = 1, 2, 3


def fields(info: os.stat_result) -> tuple[int, ...]:
    return (info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_dev,
            info.st_ino, info.st_nlink, info.st_rdev)


def fill(top: Path, seed: int, steps: int = 150) -> None:
    """A random small tree with names that sort badly."""
    chance = random.Random(seed)
    folders = [top]
    names = [b"a", b"a.b", b"a-b", b"ab", b"B", b"\xff", "é".encode(), b" ", b"\n", b"z" * 200]
    for number in range(steps):
        path = os.fsencode(chance.choice(folders)) + b"/" + chance.choice(names) + b"%d" % chance.randrange(3)
        if os.path.lexists(path):
            continue
        kind = chance.randrange(4)
        if kind == 0:
            os.mkdir(path)
            folders.append(Path(os.fsdecode(path)))
        elif kind == 1:
            os.symlink("..", path)
        elif kind == 2:
            os.mkfifo(path)
        else:
            Path(os.fsdecode(path)).write_bytes(b"%d" % number)


def all_of(core: ModuleType, root: int, tmp_path: Path) -> list[bytes]:
    """Every path of a scan, which `diff` tells in its order."""
    (tmp_path / "nothing").mkdir(exist_ok=True)
    fd = os.open(tmp_path / "nothing", os.O_RDONLY)
    try:
        changes = core.diff(core.scan(fd), core.scan(root))
    finally:
        os.close(fd)
    assert {kind for kind, _ in changes} <= {ADDED}
    return [path for _, path in changes]


@pytest.mark.parametrize("seed", range(5))
def test_every_path_once_in_canonical_order(core: ModuleType, root: int, tmp_path: Path, seed: int) -> None:
    fill(tmp_path / "root", seed)
    wanted = sorted((os.fsencode(os.path.relpath(os.path.join(folder, name), tmp_path / "root"))
                     for folder, folders, files in os.walk(tmp_path / "root") for name in folders + files),
                    key=lambda path: path.split(b"/"))
    assert all_of(core, root, tmp_path) == wanted
    assert len(core.scan(root)) == len(wanted)


def test_get_is_lstat(core: ModuleType, root: int, tmp_path: Path) -> None:
    fill(tmp_path / "root", 7)
    snapshot = core.scan(root)
    for path in all_of(core, root, tmp_path):
        assert snapshot.get(path) == fields(os.lstat(os.fsencode(tmp_path / "root") + b"/" + path))
    for path in (b"", b"none", b"/a", b"a/", b".", b"\xff\xff"):
        assert snapshot.get(path) is None


def test_a_time_that_64_bits_do_not_hold_is_the_last_that_they_do(core: ModuleType, root: int, tmp_path: Path) -> None:
    """In nanoseconds they end in 2262; a file system may hold later ones."""
    path = tmp_path / "root" / "late"
    path.touch()
    os.utime(path, (0, 13_569_465_600))  # 2400
    record = core.scan(root).get(b"late")
    assert record is not None and record[4] == (1 << 63) - 1
    record = core.survey(root).get(b"late")
    assert record is not None and record[4] == (1 << 63) - 1


def test_both_agree(root: int, tmp_path: Path) -> None:
    fill(tmp_path / "root", 11)
    before = _layercore.scan(root), _layercore_py.scan(root)
    fill(tmp_path / "root", 12)
    for number, path in enumerate(sorted((tmp_path / "root").rglob("*"))):
        if number % 3 == 0 and path.is_file():
            path.unlink()
    after = _layercore.scan(root), _layercore_py.scan(root)
    changes = _layercore.diff(before[0], after[0])
    assert changes == _layercore_py.diff(before[1], after[1])
    assert {kind for kind, _ in changes} == {ADDED, CHANGED, REMOVED}


def test_nothing_differs_from_itself(core: ModuleType, root: int, tmp_path: Path) -> None:
    fill(tmp_path / "root", 3)
    snapshot = core.scan(root)
    assert core.diff(snapshot, snapshot) == []
    assert core.diff(snapshot, core.scan(root)) == []


def test_a_change_that_keeps_size_and_time_is_seen(core: ModuleType, root: int, tmp_path: Path) -> None:
    """The change time cannot be set back, so `touch -r` and rsync -t hide nothing."""
    file = tmp_path / "root" / "f"
    file.write_bytes(b"old")
    info = file.stat()
    before = core.scan(root)
    file.write_bytes(b"new")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert core.diff(before, core.scan(root)) == [(CHANGED, b"f")]


def test_what_was_below_a_removed_folder_is_not_told(core: ModuleType, root: int, tmp_path: Path) -> None:
    top = tmp_path / "root"
    for path in ("a/b/c", "a/d", "a.x", "f/g/h", "z"):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(b"")
    before = core.scan(root)
    for path in ("a/b/c", "a/d", "f/g/h"):
        (top / path).unlink()
    for path in ("a/b", "a", "f/g", "f"):
        (top / path).rmdir()
    (top / "f").write_bytes(b"a file where a folder was")
    assert core.diff(before, core.scan(root)) == [(REMOVED, b"a"), (CHANGED, b"f")]
    assert core.diff(core.scan(root), before) == [
        (ADDED, b"a"), (ADDED, b"a/b"), (ADDED, b"a/b/c"), (ADDED, b"a/d"), (CHANGED, b"f"), (ADDED, b"f/g"),
        (ADDED, b"f/g/h")]


def test_depth_costs_no_descriptors(core: ModuleType, root: int, tmp_path: Path) -> None:
    """Deeper than any descriptor limit and than PATH_MAX."""
    here = os.dup(root)
    for _ in range(2500):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    snapshot = core.scan(root)
    assert len(snapshot) == 2500
    assert snapshot.get(b"/".join([b"deep"] * 2500)) is not None


def test_an_absurd_depth_is_an_error(core: ModuleType, root: int) -> None:
    here = os.dup(root)
    for _ in range(330):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(OSError) as caught:
        core.scan(root)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_folder_with_many_entries(core: ModuleType, root: int, tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / "root" / f"a file with a rather long name {number}").touch()
    assert len(core.scan(root)) == 3000


def test_what_cannot_be_scanned(core: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        core.scan(-1)
    assert caught.value.errno == errno.EBADF
    with open(tmp_path / "file", "wb") as file, pytest.raises(NotADirectoryError):
        core.scan(file.fileno())
    with pytest.raises(TypeError):
        core.scan("not a number")


def test_snapshots_come_from_scan_alone(core: ModuleType, root: int) -> None:
    with pytest.raises(TypeError):
        core.Snapshot()
    with pytest.raises((TypeError, AttributeError)):
        core.diff(core.scan(root), None)


def test_threads_share_a_snapshot(core: ModuleType, root: int, tmp_path: Path) -> None:
    fill(tmp_path / "root", 5)
    before = core.scan(root)
    fill(tmp_path / "root", 6)
    after = core.scan(root)
    wanted = core.diff(before, after)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.extend(core.diff(before, after) == wanted for _ in range(20)))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80
