"""Tars that lie, escape, or want more than they should. Each is refused with a cause, quickly and in little memory."""

import io
import resource
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless_builder.errors import UnsafeArchive
from rootless_builder.layer.reader import Limits, read_layer
from rootless_builder.tree.changes import Put
from tests.tarbytes import END, base256, file, folder, gnu_long, hard_link, header, padded, pax, raw_pax, symlink

pytestmark = pytest.mark.usefixtures("reading_core")

PAIR = b"%011o\0%011o\0"


def sparse1(table: bytes, stored: int, size: bytes = b"5000") -> bytes:
    return pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", size)) + \
        header(size=stored) + table


ESCAPES = {
    "dots": (file(b"../f"), "leads out"),
    "dots inside": (file(b"a/../f"), "leads out"),
    "dots at the end": (folder(b"a/.."), "leads out"),
    "absolute dots": (file(b"/../f"), "leads out"),
    "dots by pax": (pax((b"path", b"a/../../f")) + file(), "leads out"),
    "dots by gnu": (gnu_long(b"../f") + file(), "leads out"),
    "hard link out": (hard_link(b"l", b"../../etc/shadow"), "leads out"),
    "hard link by pax": (pax((b"linkpath", b"../x")) + hard_link(b"l", b"f"), "leads out"),
    "hard link to the host": (hard_link(b"l", b"/etc/shadow"), "no file of it"),
    "hard link to nothing": (hard_link(b"l", b"f") + file(b"f"), "no file of it"),
    "hard link to a folder": (folder(b"d") + hard_link(b"l", b"d"), "no file of it"),
    "hard link to the root": (folder(b".") + hard_link(b"l", b"/"), "no file of it"),
    "hard link to an implied folder": (file(b"d/f") + hard_link(b"l", b"d"), "no file of it"),
    "below a symlink": (symlink(b"s", b"/etc") + file(b"s/passwd"), "below 's'"),
    "far below a symlink": (symlink(b"s", b"..") + file(b"s/a/b/c"), "below 's'"),
    "below a hard link": (file(b"f") + hard_link(b"l", b"f") + file(b"l/x"), "below 'l'"),
    "below a file": (file(b"f") + file(b"f/x"), "below 'f'"),
    "below a device": (header(b"n", b"3") + file(b"n/x"), "below 'n'"),
    "through a hard link of a symlink": (symlink(b"s", b"/") + hard_link(b"l", b"s") + file(b"l/x"), "below 'l'"),
    "the root as a file": (file(b"."), "root is not a folder"),
    "no name": (file(b""), "root is not a folder"),
    "the root as a symlink": (symlink(b"./", b"/etc"), "root is not a folder"),
    "deletion of nothing": (file(b".wh."), r"would delete ''"),
    "deletion of the folder": (file(b"d/.wh.."), r"would delete '\.'"),
    "deletion of the parent": (file(b"d/.wh..."), r"would delete '\.\.'"),
    "below a deletion": (file(b".wh.d/f"), "below a deletion"),
    "opaque below a deletion": (file(b".wh.d/.wh..wh..opq"), "below a deletion"),
    "aufs link out": (hard_link(b"a", b".wh..wh.plnk/1.2"), "no file of it"),
    "a name too long": (pax((b"path", b"n" * 256)) + file(), "too long"),
    "a path too long": (pax((b"path", b"n/" * 2048 + b"n")) + file(), "too long"),
    "a NUL in a name": (pax((b"path", b"a\0b")) + file(), "NUL"),
    "a NUL in a target": (pax((b"linkpath", b"a\0b")) + symlink(b"s", b"x"), "NUL"),
    "a symlink to nothing": (symlink(b"s", b""), "leads nowhere"),
}

LIES = {
    "attributes without end": (pax(*((b"SCHILY.xattr.user.%d" % number, b"y" * 60000) for number in range(9))) + file(),
                               "than any file"),
    "an attribute with a long name": (pax((b"SCHILY.xattr.user." + b"n" * 251, b"y")) + file(), "no file can have:"),
    "an attribute with a NUL": (pax((b"SCHILY.xattr.user.a\0b", b"y")) + file(), "no file can have:"),
    "an attribute of too much": (pax((b"SCHILY.xattr.user.a", b"y" * 65537)) + file(), "no file can have:"),
    "no checksum": (header(checksum=b"\0" * 8), "no header"),
    "another checksum": (header(checksum=b"000001\0 "), "no header"),
    "text": (b"this is no tar at all".ljust(512), "no header"),
    "cut in a header": (header()[:300], "cut off"),
    "cut in content": (header(size=5000) + b"x" * 1000, "cut off"),
    "size far beyond": (header(size=0o77777777777) + b"x", "cut off"),
    "no entry after records": (pax((b"path", b"x")), "describes nothing"),
    "the end after records": (pax((b"path", b"x")) + END, "describes nothing"),
    "a lone block of zeros": (bytes(512) + file(), "lone block"),
    "a negative size": (header(size=base256(-1, 12)), "size -1"),
    "a negative size by pax": (pax((b"size", b"-1")) + header(), "no number"),
    "a size of words": (header(size=b"many"), "no number"),
    "a size with an underscore": (pax((b"size", b"1_0")) + header(), "no number"),
    "a decimal size": (header(size=b"00000000099\0"), "no number"),
    "a negative owner": (header(uid=base256(-1, 8)), "owner -1:0"),
    "the owner nobody may name": (header(gid=base256(0xFFFFFFFF, 8)), "owner 0:4294967295"),
    "an owner of 80 bits": (pax((b"uid", b"9" * 19)) + header(), "owner 9999"),
    "a huge number": (pax((b"gid", b"1" * 5000)) + header(), "no number"),
    "a time of words": (pax((b"mtime", b"yesterday")) + header(), "no time"),
    "an infinite time": (pax((b"mtime", b"inf")) + header(), "no time"),
    "a negative device": (header(kind=b"3", major=base256(-1, 8)), "device -1:0"),
    "an unknown type": (header(kind=b"Q"), "unknown type"),
    "a record without length": (raw_pax(b"path=x\n"), "pax record"),
    "a record of length 0": (raw_pax(b"0 path=x\n"), "pax record"),
    "a record that is too long": (raw_pax(b"99 path=x\n"), "pax record"),
    "a record that is too short": (raw_pax(b"5 path=x\n"), "pax record"),
    "a record without a key": (raw_pax(b"5 =x\n"), "pax record"),
    "a record with a signed length": (raw_pax(b"+9 path=x\n"), "no number"),
    "a sparse map without end": (sparse1(b"1" * 1024, 1024), "without end|no number"),
    "a sparse map beyond the data": (sparse1(padded(b"9999\n"), 512), "without end"),
    "a sparse map of words": (sparse1(padded(b"1\na\nb\n"), 512), "no number"),
    "a sparse map that overlaps": (sparse1(padded(b"2\n0\n10\n5\n10\n") + padded(b"x" * 20), 532),
                                   "contradicts itself"),
    "a sparse map beyond the file": (sparse1(padded(b"1\n4999\n2\n") + padded(b"xx"), 514), "contradicts itself"),
    "a sparse map of less than is there": (sparse1(padded(b"1\n0\n1\n") + padded(b"xx"), 514), "contradicts its size"),
    "a sparse map of more than is there": (sparse1(padded(b"1\n0\n3\n") + padded(b"xx"), 514), "contradicts its size"),
    "an odd sparse map": (pax((b"GNU.sparse.map", b"0"), (b"GNU.sparse.size", b"5")) + header(),
                          "contradicts its size"),
    "a sparse file without size": (pax((b"GNU.sparse.map", b"0,0")) + header(), "no number"),
    "an old sparse map that overlaps": (
        header(kind=b"S", size=20, raw={386: PAIR % (0, 10) + PAIR % (5, 10), 483: b"%011o\0" % 99}) +
        padded(b"x" * 20),
        "contradicts itself"),
    "an old sparse map of more": (header(kind=b"S", size=9, raw={386: PAIR % (0, 10), 483: b"%011o\0" % 99}) +
                                  padded(b"x" * 9), "contradicts its size"),
    "an old sparse file of negative size": (header(kind=b"S", raw={483: base256(-5, 12)}), "size|contradicts"),
    "a bomb of sparse zeros": (sparse1(padded(b"0\n"), 512, size=b"9" * 18), "larger than"),
    "a header of gigabytes": (header(kind=b"x", size=1 << 32), "header of 4294967296 bytes"),
    "a long name of megabytes": (header(kind=b"L", size=2 << 20) + b"x" * (2 << 20), "header of 2097152 bytes"),
    "a header of negative size": (header(kind=b"L", size=base256(-512, 12)), "header of -512 bytes"),
    "long names without end": (gnu_long(b"n" * 1000) * 2000, "header of 1001 bytes"),
}


@pytest.mark.parametrize(("data", "cause"), [*ESCAPES.values(), *LIES.values()], ids=[*ESCAPES, *LIES])
def test_it_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(UnsafeArchive, match=cause) as caught:
        read_layer(io.BytesIO(data + (END if data in [data for data, _ in ESCAPES.values()] else b"")))
    assert caught.value.message.startswith(("cannot read the archive: ", "cannot read the layer: "))


@pytest.mark.parametrize(("data", "cause"), ESCAPES.values(), ids=ESCAPES)
def test_nor_does_it_pass_where_names_mean_no_deletions(data: bytes, cause: str) -> None:
    if "delet" in cause or b".wh." in data:
        return
    with pytest.raises(UnsafeArchive, match=cause):
        read_layer(io.BytesIO(data + END), whiteouts=False)


def test_deletions_below_a_symlink_delete_nothing() -> None:
    """Not what it leads to, and there is nothing else: the symlink replaced all that was there."""
    data = symlink(b"s", b"/etc") + file(b"s/.wh.passwd") + file(b"s/.wh..wh..opq") + file(b"s/a/.wh.b") + END
    assert [change.path for change in read_layer(io.BytesIO(data))] == ["s"]


def test_too_many_entries() -> None:
    data = b"".join(file(b"f%d" % number) for number in range(20)) + END
    assert len(read_layer(io.BytesIO(data), limits=Limits(entries=20))) == 20
    with pytest.raises(UnsafeArchive, match="too many entries"):
        read_layer(io.BytesIO(data), limits=Limits(entries=19))


def test_implied_folders_count() -> None:
    """Or a short name would make thousands of folders for nothing."""
    with pytest.raises(UnsafeArchive, match="too many entries"):
        read_layer(io.BytesIO(pax((b"path", b"d/" * 2000 + b"f")) + file() + END), limits=Limits(entries=1000))


def test_too_many_bytes() -> None:
    data = file(b"a", b"x" * 5000) + file(b"b", b"y" * 5000) + END
    assert len(read_layer(io.BytesIO(data), limits=Limits(size=len(data)))) == 2
    for limit in (len(data) - 1025, 9999):
        with pytest.raises(UnsafeArchive, match="larger than"):
            read_layer(io.BytesIO(data), limits=Limits(size=limit))
    with pytest.raises(UnsafeArchive, match="larger than"):
        read_layer(io.BytesIO(data + b"x" * 600_000), limits=Limits(size=100_000))


def test_sparse_files_count_in_full() -> None:
    one = sparse1(padded(b"0\n"), 512, size=b"6000")
    with pytest.raises(UnsafeArchive, match="larger than"):
        read_layer(io.BytesIO(one + one + END), limits=Limits(size=10_000))


@pytest.mark.lean
def test_replacing_folders_again_and_again_is_not_quadratic() -> None:
    """Each round puts 20 files, and a file in place of their folder."""
    files = b"".join(file(b"d/f%d" % number) for number in range(20))
    data = (files + symlink(b"d", b"x") + folder(b"d")) * 1000 + END
    began = time.process_time()
    assert len(read_layer(io.BytesIO(data))) == 1
    assert time.process_time() - began < 5


@pytest.mark.lean
def test_deep_paths_cost_what_they_weigh() -> None:
    data = b"".join(pax((b"path", b"%d/" % number + b"d/" * 1000 + b"f")) + file() for number in range(20)) + END
    tracemalloc.start()
    read_layer(io.BytesIO(data))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100 << 20


@pytest.mark.lean
def test_a_flood_of_zeros_needs_no_memory() -> None:
    class Zeros:
        left = 256 << 20

        def read(self, size: int) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not read_layer(Zeros()).changes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_stays_inside(data: st.DataObject) -> None:
    """Flip bytes of a good archive: an UnsafeArchive or clean paths, never another error."""
    good = bytearray(folder(b"d") + pax((b"path", b"d/long"), (b"mtime", b"1.5")) + file(b"x", b"data") +
                     hard_link(b"d/l", b"d/long") + sparse1(padded(b"1\n0\n3\n") + padded(b"abc"), 515) +
                     gnu_long(b"n" * 120) + symlink(b"s", b"t") + file(b"d/.wh.gone") + END)
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    fixed = bytearray(good)
    if data.draw(st.booleans()):  # let the damage through the checksums
        for at in range(0, len(fixed), 512):
            block = fixed[at:at + 512]
            if block[257:262] == b"ustar":
                block[148:156] = b" " * 8
                fixed[at + 148:at + 156] = b"%06o\0 " % sum(block)
    try:
        changes = read_layer(io.BytesIO(bytes(fixed)), limits=Limits(size=1 << 30))
    except UnsafeArchive:
        return
    paths = [change.path for change in changes]
    assert all(".." not in path.split("/") and not path.startswith("/") for path in paths)
    below = {change.path for change in changes if isinstance(change, Put) and type(change.node).__name__ != "Directory"}
    assert not [path for path in paths for leaf in below if path.startswith(leaf + "/")]
