"""What real registries and archives hold is read as containerd reads it."""

import io
import os
import stat
import tarfile

import pytest

from rootless_builder.errors import UnsafeArchive
from rootless_builder.layer.content import TarExtents, TarRange, bind
from rootless_builder.layer.reader import read_layer
from rootless_builder.paths import ImagePath
from rootless_builder.tree.changes import ChangeSet, Opaque, Put, Remove
from rootless_builder.tree.node import Device, Directory, File, Node, Symlink
from tests.layersample import read_back
from tests.tarbytes import END, base256, file, folder, gnu_long, hard_link, header, padded, pax, symlink

pytestmark = pytest.mark.usefixtures("reading_core")


class Trickle:
    """A stream that gives less than it is asked for, as sockets and decompressors do."""

    def __init__(self, data: bytes, most: int = 1000) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int) -> bytes:
        return self._stream.read(min(size, self._most))


def read(*parts: bytes, end: bytes = END, whiteouts: bool = True) -> ChangeSet:
    data = b"".join(parts) + end
    changes = read_layer(io.BytesIO(data), whiteouts=whiteouts)
    assert [repr(change.path) for change in changes] == \
        [repr(change.path) for change in read_layer(Trickle(data), whiteouts=whiteouts)]
    fd = os.memfd_create("tar")
    os.pwrite(fd, data, 0)
    return bind(changes, lambda: os.dup(fd))


def nodes(changes: ChangeSet) -> dict[str, Node]:
    return {str(change.path): change.node for change in changes if isinstance(change, Put)}


def only(*parts: bytes, end: bytes = END) -> tuple[str, Node]:
    (found,) = nodes(read(*parts, end=end)).items()
    return found


def data_of(node: Node) -> bytes:
    assert isinstance(node, File)
    return read_back(node)


# Names

@pytest.mark.parametrize("name", [b"a/b", b"./a/b", b"/a/b", b"//a//b", b"a/./b", b"a/b/", b"./././a/b"])
def test_names_are_cleaned(name: bytes) -> None:
    path, node = only(file(name, b"data"))
    assert path == "a/b"
    assert data_of(node) == b"data"


def test_any_bytes_are_a_name() -> None:
    assert only(file(b"\xff\xfe/x"))[0] == "\udcff\udcfe/x"
    assert only(file("ä".encode()))[0] == "ä"


@pytest.mark.parametrize("name", [b".", b"./", b"/"])
def test_the_root_itself(name: bytes) -> None:
    assert only(folder(name, uid=5))[1].meta.uid == 5


def test_long_names_of_ustar_pax_and_gnu() -> None:
    long = b"d" * 90 + b"/" + b"n" * 99
    assert only(file(b"n" * 99, prefix=b"d" * 90))[0].encode() == long
    assert only(pax((b"path", long)), file())[0].encode() == long
    assert only(gnu_long(long), file(magic=b"ustar  \0"))[0].encode() == long
    target = only(gnu_long(long, b"K"), symlink(b"s", b"short"))[1]
    assert isinstance(target, Symlink)
    assert target.target.encode() == long


def test_the_prefix_field_counts_for_posix_ustar_only() -> None:
    """GNU tar keeps times there."""
    assert only(file(b"f", magic=b"ustar  \0", prefix=b"12345670"))[0] == "f"
    assert only(file(b"f", magic=b"", prefix=b"junk"))[0] == "f"
    assert only(file(b"f", prefix=b"p" * 10, raw={476: b"12345670123 ", 508: b"tar\0"}))[0] == "p" * 10 + "/f"


# Fields

def test_times() -> None:
    assert only(pax((b"mtime", b"12.5")), file())[1].meta.mtime == 12_500_000_000
    assert only(pax((b"mtime", b"-1.25")), file())[1].meta.mtime == -1_250_000_000
    assert only(pax((b"mtime", b"1.0000000019")), file())[1].meta.mtime == 1_000_000_001
    assert only(pax((b"mtime", b"7.")), file())[1].meta.mtime == 7_000_000_000
    assert only(file(mtime=base256(-5, 12)))[1].meta.mtime == -5_000_000_000
    assert only(file(mtime=base256(1 << 80, 12)))[1].meta.mtime == (1 << 63) - 1


def test_numbers_as_old_tars_wrote_them() -> None:
    node = only(header(mode=b"100644 \0", uid=b"   765 \0", gid=b"\0" * 8, size=b"          0 "))[1]
    assert (node.meta.mode, node.meta.uid, node.meta.gid) == (0o644, 0o765, 0)


def test_large_owners() -> None:
    assert only(file(uid=base256(4294967294, 8)))[1].meta.uid == 4294967294
    assert only(pax((b"uid", b"445605"), (b"gid", b"4204350")), file(uid=1))[1].meta.uid == 445605


def test_a_signed_checksum_of_old_programs() -> None:
    block = bytearray(header(b"\xff\xfe"))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    block[148:156] = b"%06o\0 " % signed
    assert only(bytes(block))[0] == "\udcff\udcfe"


def test_kinds() -> None:
    found = nodes(read(folder(b"d/"), symlink(b"s", b"../t"), header(b"c", b"3", major=1, minor=3),
                       header(b"b", b"4", major=8), header(b"p", b"6"), header(b"v7dir/", b"\0", magic=b""),
                       header(b"v7", b"\0", magic=b""), header(b"contiguous", b"7")))
    assert isinstance(found["d"], Directory)
    assert isinstance(found["s"], Symlink)
    assert (found["s"].target, found["s"].meta.mode) == ("../t", 0o777)
    assert [node.kind for node in found.values() if isinstance(node, Device)] == \
        [stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO]
    assert isinstance(found["v7dir"], Directory)
    assert isinstance(found["v7"], File)
    assert isinstance(found["contiguous"], File)


def test_sizes_of_what_has_no_content_mean_nothing() -> None:
    """Some writers give folders and hard links a size; Go's archive/tar passes it over."""
    found = nodes(read(folder(b"d", size=4096), file(b"f", b"1"), header(b"l", b"1", link=b"f", size=1), file(b"g")))
    assert list(found) == ["d", "f", "g", "l"]


def test_extended_attributes() -> None:
    node = only(pax((b"SCHILY.xattr.user.b", b"\0\n="), (b"SCHILY.xattr.security.capability", b"\1"),
                    (b"SCHILY.xattr.user.empty", b""), (b"LIBARCHIVE.xattr.user.b", b"AAo9")), file())[1]
    assert node.meta.xattrs == (("security.capability", b"\1"), ("user.b", b"\0\n="), ("user.empty", b""))


def test_an_empty_record_leaves_the_field_alone() -> None:
    assert only(pax((b"path", b""), (b"uid", b"")), file(b"kept", uid=7))[0] == "kept"


def test_records_hold_for_one_entry_and_global_ones_for_none() -> None:
    found = nodes(read(pax((b"path", b"global")), file(b"a"), pax((b"uid", b"9"), kind=b"g"), file(b"b")))
    assert list(found) == ["b", "global"]
    assert found["b"].meta.uid == 0


def test_size_from_a_record_decides_where_the_next_header_is() -> None:
    inner = file(b"smuggled")
    found = read(pax((b"size", b"%d" % len(inner))), header(b"outer", size=0), inner, file(b"after"))
    assert list(nodes(found)) == ["after", "outer"]


def test_volume_labels_and_unknown_records_are_passed_over() -> None:
    assert only(header(b"label", b"V"), pax((b"comment", b"x"), (b"RHT.security.selinux", b"y")), file())[0] == "f"


# Sparse files

def check_sparse(*parts: bytes) -> None:
    path, node = only(*parts)
    assert path == "sparse"
    assert data_of(node) == bytes(1024) + b"a" * 512 + bytes(512) + b"end" + bytes(3000)


SPARSE = padded(b"a" * 512 + b"end")
SIZE = 1024 + 512 + 512 + 3 + 3000


def test_sparse_files_of_pax() -> None:
    numbers = (1024, 512, 2048, 3)
    pairs = [(b"GNU.sparse.offset" if n % 2 == 0 else b"GNU.sparse.numbytes", b"%d" % value)
             for n, value in enumerate(numbers)]
    plain = header(b"sparse", size=515)
    check_sparse(pax((b"GNU.sparse.size", b"%d" % SIZE), (b"GNU.sparse.numblocks", b"2"), *pairs), plain, SPARSE)
    check_sparse(pax((b"GNU.sparse.major", b"0"), (b"GNU.sparse.minor", b"1"), (b"GNU.sparse.name", b"sparse"),
                     (b"GNU.sparse.size", b"%d" % SIZE), (b"GNU.sparse.map", b"1024,512,2048,3")),
                 header(b"x", size=515), SPARSE)
    table = padded(b"3\n1024\n512\n2048\n3\n%d\n0\n" % SIZE)
    check_sparse(pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"sparse"),
                     (b"GNU.sparse.realsize", b"%d" % SIZE)), header(b"x", size=512 + 515), table, SPARSE)


def test_sparse_files_of_gnu() -> None:
    pair = b"%011o\0%011o\0"
    check_sparse(header(b"sparse", b"S", magic=b"ustar  \0", size=515,
                        raw={386: pair % (1024, 512) + pair % (2048, 3), 483: b"%011o\0" % SIZE}), SPARSE)
    first, rest = [(n * 1024, 1) for n in range(4)], [(n * 1024, 1) for n in range(4, 30)]
    blocks = [b"".join(pair % part for part in rest[n:n + 21]).ljust(504, b"\0") for n in (0, 21)]
    node = only(header(b"many", b"S", magic=b"ustar  \0", size=30,
                       raw={386: b"".join(pair % part for part in first), 482: b"\1", 483: b"%011o\0" % 30000}),
                blocks[0] + b"\1".ljust(8, b"\0"), blocks[1] + bytes(8), padded(b"x" * 30))[1]
    assert data_of(node) == b"".join(b"x" + bytes(1023) for _ in range(30))[:30000]


def test_a_sparse_file_without_any_data() -> None:
    node = only(pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"5000")),
                header(size=512), padded(b"1\n5000\n0\n"))[1]
    assert data_of(node) == bytes(5000)


# One path after another

def test_hard_links_are_one_file() -> None:
    found = nodes(read(file(b"./a", b"x"), hard_link(b"b", b"./a"), hard_link(b"c", b"/b")))
    assert found["a"] is found["b"] is found["c"]


def test_a_hard_link_to_itself_changes_nothing() -> None:
    """GNU tar writes one when a file is named twice."""
    assert only(file(b"a", b"x"), hard_link(b"a", b"a"))[0] == "a"


def test_the_last_entry_of_a_name_wins() -> None:
    found = nodes(read(file(b"a", b"1"), file(b"a", b"2"), folder(b"d", uid=1), file(b"d/f"), folder(b"d", uid=2)))
    assert data_of(found["a"]) == b"2"
    assert found["d"].meta.uid == 2
    assert "d/f" in found


def test_a_file_in_place_of_a_folder_takes_all_below_with_it() -> None:
    found = nodes(read(file(b"d/e/f"), file(b"d/g"), file(b"d"), file(b"x")))
    assert list(found) == ["d", "x"]
    found = nodes(read(folder(b"d"), file(b"d/f"), symlink(b"d", b"x"), folder(b"d"), file(b"d/g")))
    assert list(found) == ["d", "d/g"]


def test_folders_that_are_only_implied_are_not_put() -> None:
    assert list(nodes(read(file(b"usr/bin/tool")))) == ["usr/bin/tool"]


def test_canonical_order_whatever_the_archive_has() -> None:
    found = read(file(b"a.b"), file(b"a/b"), file(b"B"), folder(b"a"), file("é".encode()), file(b"\xc3\x28"))
    assert [change.path for change in found] == [change.path for change in ChangeSet.of(found)]
    assert list(nodes(found)) == ["B", "a", "a/b", "a.b", "\udcc3(", "é"]


# Deletions

def test_deletions_are_of_lower_layers_only() -> None:
    changes = read(file(b"d/.wh.x"), file(b"d/x"), file(b".wh..wh..opq"), file(b"d/.wh..wh..opq"), file(b".wh.gone"))
    assert changes.changes[0] == Opaque(ImagePath(""))
    assert Opaque(ImagePath("d")) in changes.changes
    assert Remove(ImagePath("d/x")) in changes.changes
    assert Remove(ImagePath("gone")) in changes.changes
    assert list(nodes(changes)) == ["d/x"]


def test_deletions_below_what_a_file_replaced_are_gone_with_it() -> None:
    assert [type(change) for change in read(file(b"d/.wh.x"), file(b"d/.wh..wh..opq"), file(b"d"))] == [Put]


def test_book_keeping_of_aufs() -> None:
    found = read(folder(b".wh..wh.orph"), folder(b".wh..wh.plnk"), file(b".wh..wh.plnk/12.34", b"linked"),
                 file(b".wh..wh.aufs"), hard_link(b"a", b".wh..wh.plnk/12.34"), hard_link(b"b", b"/.wh..wh.plnk/12.34"))
    assert [change.path for change in found] == ["a", "b"]
    assert nodes(found)["a"] is nodes(found)["b"]
    assert data_of(nodes(found)["a"]) == b"linked"


def test_other_archives_may_hold_such_names() -> None:
    assert list(nodes(read(file(b"a/.wh.x"), file(b".wh..wh..opq"), whiteouts=False))) == [".wh..wh..opq", "a/.wh.x"]


# The end

@pytest.mark.parametrize("end", [END, b"", bytes(512), END + b"what tar pads its records with", bytes(10240)])
def test_ways_to_end(end: bytes) -> None:
    assert only(file(b"f", b"data"), end=end)[0] == "f"


def test_the_stream_is_read_to_its_very_end() -> None:
    """Or the digest of the layer would lack what follows."""
    stream = io.BytesIO(file() + END + b"x" * 1_000_000)
    read_layer(stream)
    assert not stream.read()


def test_an_empty_stream_is_an_empty_archive() -> None:
    assert not read(end=b"").changes


def test_places_are_offsets_in_the_stream() -> None:
    changes = read_layer(io.BytesIO(file(b"a", b"123") + file(b"b", b"4567") + END))
    contents = [change.node.content for change in changes if isinstance(change, Put) and isinstance(change.node, File)]
    assert contents == [TarRange(512, 3), TarRange(1536, 4)]


# What Python writes

@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_tarfile(format: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/f", tarfile.REGTYPE), ("d/s", tarfile.SYMTYPE),
                           ("n" * 60 + "/" + "m" * 80, tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "t" * 90 if kind == tarfile.SYMTYPE else ""
            info.mtime, info.uid = 1_700_000_000, 2_000_000
            info.size = 5 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"bytes"))
    found = nodes(read(out.getvalue(), end=b""))
    assert list(found) == ["d", "d/f", "d/s", "n" * 60 + "/" + "m" * 80]
    assert {node.meta.uid for node in found.values()} == {2_000_000}
    assert data_of(found["d/f"]) == b"bytes"


def test_contents_cannot_be_read_before_they_are_bound() -> None:
    (change,) = read_layer(io.BytesIO(file(b"a", b"1") + END))
    assert isinstance(change, Put)
    assert isinstance(change.node, File)
    with pytest.raises(OSError, match="not known here"):
        change.node.content.open()
    with pytest.raises(OSError, match="not known here"):
        TarExtents((), 5).open()


@pytest.mark.parametrize("missing", [1, 507])
def test_the_padding_of_the_last_file_may_be_missing(missing: int) -> None:
    """umoci leaves it out, with the end of the archive; Go's reader does not mind."""
    whole = file(b"a", b"first") + file(b"b", b"12345")
    assert [change.path for change in read_layer(io.BytesIO(whole[:-missing]))] == ["a", "b"]
    with pytest.raises(UnsafeArchive, match="cut off"):
        read_layer(io.BytesIO(whole[:-508]))
