"""What the core takes of a tar, and that nobody can tell: with it and without, the same index or the same refusal."""

import io
import struct
import tarfile
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless_builder import _layercore
from rootless_builder.errors import UnsafeArchive
from rootless_builder.layer import index
from rootless_builder.layer.reader import Limits, read_index, read_layer
from tests.cores import CORES, reading_with
from tests.tarbytes import END, base256, file, folder, gnu_long, hard_link, header, padded, pax, symlink

LIMIT = 1 << 40
LONG = b"n" * 120


def outcome(core: ModuleType, data: bytes, limits: Limits) -> tuple[bytes, str]:
    with reading_with(core):
        try:
            return read_index(io.BytesIO(data), limits=limits), ""
        except UnsafeArchive as error:
            return b"", error.message


def same(data: bytes, limits: Limits = Limits()) -> bytes:  # noqa: B008 a value
    told = [outcome(core, data, limits) for core in CORES.values()]
    assert told[0] == told[1]
    return told[0][0]


def taken(*parts: bytes) -> list[tuple[bytes, int, int, int]]:
    """(path, kind, size, where the content begins) of each row the C core makes; END is not read."""
    data = b"".join(parts)
    records, paths, _, _, _, _ = _layercore.read_headers(data + END, 0, 0, LIMIT, 0)
    rows = list(index.RECORD.iter_unpack(records))
    return [(path, row[0] >> 16, row[4], row[5]) for path, row in zip(paths.split(b"\0"), rows, strict=False)]


ORDINARY = {
    "a file": file(b"a", b"123"),
    "of old": header(b"a", b"\0", magic=b""),
    "a folder of old": header(b"a/", b"\0", magic=b""),
    "a folder": folder(b"a/"),
    "a folder with a size": folder(b"a", size=4096),
    "a symlink": symlink(b"a", b"t"),
    "a hard link": hard_link(b"a", b"./b"),
    "a prefix": file(b"a", prefix=b"b"),
    "a long name of gnu": gnu_long(LONG) + file(magic=b"ustar  \0"),
    "a long target of gnu": gnu_long(LONG, b"K") + symlink(b"s", b"x"),
    "records": pax((b"path", LONG), (b"mtime", b"1.5"), (b"uid", b"70000"), (b"gid", b"4294967294"), (b"ctime", b"1"),
                   (b"comment", b""), (b"size", b"3")) + header() + padded(b"abc"),
    "a large owner": file(uid=base256(4294967294, 8)),
    "a large time": file(mtime=base256(9_000_000_000, 12)),
    "odd but right": file(b"/./a//b/./", mode=b"100644 \0", uid=b"   765 \0", gid=b"\0" * 8),
}
LEFT = {
    "the root": folder(b"./"),
    "out of the root": file(b"a/../b"),
    "a deletion": file(b".wh.a"),
    "below a deletion": file(b".wh.a/b"),
    "an extended attribute": pax((b"SCHILY.xattr.user.a", b"b")) + file(),
    "a sparse file": pax((b"GNU.sparse.map", b"0,0"), (b"GNU.sparse.size", b"0")) + file(),
    "a device": header(b"a", b"3"),
    "a damaged record": header(b"x", b"x", size=9) + padded(b"9 path=x\n"[:8]) + file(),
    "a NUL": pax((b"path", b"a\0b")) + file(),
    "a number of words": header(size=b"many"),
    "a negative number": header(uid=base256(-1, 8)),
    "a time of 20 digits": pax((b"mtime", b"1" * 20)) + file(),
    "another checksum": header(checksum=b"000001\0 "),
    "zeros": END,
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_it_takes_what_is_ordinary(data: bytes) -> None:
    """Else all would be read by Python, rightly and slowly."""
    assert len(taken(data)) == 1
    assert len(taken(file(b"first", b"1"), data, file(b"last"))) == 3


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT)
def test_it_leaves_what_is_not(data: bytes) -> None:
    assert taken(data) == []
    assert taken(file(b"first", b"1"), data, file(b"last")) == [(b"first", index.FILE, 1, 512)]


@pytest.mark.parametrize("data", [*ORDINARY.values(), *LEFT.values()], ids=[*ORDINARY, *LEFT])
def test_both_say_the_same(data: bytes) -> None:
    for before in (b"", folder(b"a") + file(b"b", b"1"), symlink(b"a", b"t")):
        same(before + data + file(b"z") + END)
        same(before + data + END, Limits(entries=2, size=700))
        for cut in range(0, len(data), 97):
            same(before + data[:cut])


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_tarfile(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for number in range(300):
            info = tarfile.TarInfo(f"{'deep/' * (number % 30)}file-{number * 7919 % 300}")
            info.mtime, info.uid = 1_700_000_000 + number, number * (997 if form == tarfile.USTAR_FORMAT else 9973)
            info.type = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE)[number % 3]
            info.size, info.linkname = (number * 37, "") if number % 3 == 0 else (0, "t" * (number % 99 + 1))
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    assert len(index.load(same(out.getvalue()), lambda: 0)) == 300


def test_pieces_of_any_size() -> None:
    data = b"".join(file(b"f%d" % number, b"x" * (number * 53 % 3000)) for number in range(200)) + END

    class Trickle:
        def __init__(self, most: int) -> None:
            self._stream, self._most = io.BytesIO(data), most

        def read(self, size: int) -> bytes:
            return self._stream.read(min(size, self._most))

    whole = same(data)
    for most in (1, 511, 513, 5000, 70_000):
        assert read_index(Trickle(most)) == whole


NAMES = st.sampled_from([b"a", b"b", b"a/b", b"a/c", b"b/a", b"a.b", b"a/b/c", b"c", b"a/.wh.b", b".wh.a",
                         b"b/.wh..wh..opq", b"./", b".wh..wh.plnk/1"])
ENTRIES = st.one_of(
    st.builds(file, NAMES, st.sampled_from([b"", b"1", b"x" * 600])), st.builds(folder, NAMES),
    st.builds(symlink, NAMES, NAMES), st.builds(hard_link, NAMES, NAMES), st.builds(hard_link, NAMES, NAMES),
    st.builds(lambda name, value: pax((b"SCHILY.xattr.a", value)) + file(name), NAMES, st.sampled_from([b"1", b"2"])),
    st.builds(lambda name: header(name, b"3", major=1), NAMES))


@settings(max_examples=1500, deadline=None)
@given(st.lists(ENTRIES, max_size=7))
def test_any_entries_in_any_order(entries: list[bytes]) -> None:
    packed = same(b"".join(entries) + END)
    if packed:
        assert packed == index.dump(read_layer(io.BytesIO(b"".join(entries) + END)))


def test_rows_that_do_not_fit_are_an_error() -> None:
    record = struct.pack("<IIIqQQI", 6 << 16, 0, 0, 0, 0, 0, 0)
    for rows in ((record, b"a\0", b""), (record, b"", b"t\0"), (record[1:], b"a\0", b"t\0"),
                 (record, b"a\0b\0", b"t\0")):
        with pytest.raises(OSError, match="record"):
            _layercore.arrange(*rows, 0, 100)
