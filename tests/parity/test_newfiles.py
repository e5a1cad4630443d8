"""Small files of a layer, made at once: what lies there then, and what is refused."""

import errno
import os
import stat
import struct
from pathlib import Path
from types import ModuleType

import pytest

ROW, MADE = struct.Struct("<QQqIII"), struct.Struct("<QI")
KEEP = 2**32 - 1
NOON = 1_700_000_000_123_456_789


def row(start: int = 0, size: int = 0, time: int = NOON, mode: int = 0o644, uid: int = KEEP, gid: int = KEEP) -> bytes:
    return ROW.pack(start, size, time, mode, uid, gid)


def test_files_are_what_is_wanted(core: ModuleType, root: int, tmp_path: Path) -> None:
    data = b"onethree" + bytes(1 << 16) + bytes(4095)
    zeros = 1 << 16
    wanted = {b"one": row(0, 3), b"empty": row(len(data), 0, time=-1, mode=0), b"\xff set": row(3, 5, mode=0o6751),
              b"hole": row(8, zeros, time=-(2**62)), b"short": row(8 + zeros, 4095, time=2**62, mode=0o1777)}
    made = core.make_files(root, data, b"".join(wanted.values()), b"".join(name + b"\0" for name in wanted))
    for (name, packed), (ino, mode) in zip(wanted.items(), MADE.iter_unpack(made), strict=True):
        path = os.fsencode(tmp_path / "root") + b"/" + name
        status, (start, size, time, bits, _, _) = os.lstat(path), ROW.unpack(packed)
        assert (ino, mode) == (status.st_ino, status.st_mode) == (ino, stat.S_IFREG | bits)
        assert status.st_mtime_ns == status.st_atime_ns or time != NOON
        with open(path, "rb") as file:
            assert file.read() == data[start:start + size]
    assert [(tmp_path / "root" / name).stat().st_blocks > 0 for name in ("hole", "short", "one")] == [False, True, True]
    assert [(tmp_path / "root" / name).stat().st_mtime_ns for name in ("one", "empty")] == [NOON, -1]


def test_owners(core: ModuleType, root: int, tmp_path: Path) -> None:
    """As root, all but one that no kernel takes."""
    made = core.make_files(root, b"x", row(0, 1, uid=1, gid=2, mode=0o4755) + row(uid=3), b"a\0b\0")
    found = [(tmp_path / "root" / name).stat() for name in "ab"]
    assert [(status.st_uid, status.st_gid) for status in found] == [(1, 2), (3, 0)]
    assert [mode for _, mode in MADE.iter_unpack(made)] == [stat.S_IFREG | 0o4755, stat.S_IFREG | 0o644]


@pytest.mark.parametrize(("number", "wanted", "names", "told"), [
    (errno.EEXIST, row(), b"there\0", b"there"), (errno.EEXIST, row(), b"link\0", b"link"),
    (errno.ENAMETOOLONG, row(), b"n" * 300 + b"\0", b"n" * 300),
    (errno.EINVAL, row(), b"", None), (errno.EINVAL, row(), b"a", None), (errno.EINVAL, row(), b"a\0b\0", None),
    (errno.EINVAL, row() + row(), b"a\0", None), (errno.EINVAL, row()[:-1], b"a\0", None),
    *((errno.EINVAL, row(), name + b"\0", None) for name in (b"", b".", b"..", b"a/b", b"/etc/x", b"../x")),
    (errno.EINVAL, row(4, 1), b"a\0", None), (errno.EINVAL, row(0, 5), b"a\0", None),
    (errno.EINVAL, row(2**64 - 1, 2), b"a\0", None), (errno.EINVAL, row(1, 2**64 - 1), b"a\0", None),
])
def test_refusals(core: ModuleType, root: int, tmp_path: Path, number: int, wanted: bytes, names: bytes,
                  told: bytes | None) -> None:
    (tmp_path / "root" / "there").write_text("mine")
    (tmp_path / "root" / "link").symlink_to("nowhere")
    with pytest.raises(OSError) as caught:
        core.make_files(root, b"1234", wanted, names)
    assert (caught.value.errno, caught.value.filename) == (number, told)
    assert (tmp_path / "root" / "there").read_text() == "mine"
    assert not (tmp_path / "root" / "nowhere").exists()
