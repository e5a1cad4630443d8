"""ChangeSet → tar, seen by Python's tarfile, which shares no code with ours."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from rootless_builder.errors import DiskFull, SourceError, UnsupportedError
from rootless_builder.layer import writer
from rootless_builder.layer.content import bind
from rootless_builder.layer.header import node_header
from rootless_builder.layer.reader import read_layer
from rootless_builder.layer.writer import WrittenLayer, write_layer
from rootless_builder.paths import ImagePath
from rootless_builder.tree.changes import Change, ChangeSet, Opaque, Put, Remove
from rootless_builder.tree.node import Directory, File, HostFile, Inline, Meta, Symlink
from tests.layersample import full_changes, meta, put, read_back, text


def written(changes: ChangeSet | list[Change], path: Path, clamp: int | None = None) -> WrittenLayer:
    if isinstance(changes, list):
        changes = ChangeSet.of(changes)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        return write_layer(changes, fd, clamp=clamp)
    finally:
        os.close(fd)


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path, "r:") as tar:
        return {member.name: member for member in tar}


def names(changes: list[Change], path: Path) -> list[str]:
    written(changes, path)
    return list(members(path))


def test_the_digest_is_that_of_the_bytes(root: int, tmp_path: Path) -> None:
    layer = written(full_changes(root, tmp_path), tmp_path / "out.tar")
    data = (tmp_path / "out.tar").read_bytes()
    assert layer.diff_id.hex == hashlib.sha256(data).hexdigest()
    assert layer.size == len(data)
    assert data.endswith(bytes(1024))


def test_the_digest_alone_needs_no_place_to_write(root: int, tmp_path: Path) -> None:
    changes = full_changes(root, tmp_path)
    assert write_layer(changes, -1).diff_id == written(changes, tmp_path / "out.tar").diff_id


def test_what_is_written_reads_back_the_same(root: int, tmp_path: Path) -> None:
    changes = full_changes(root, tmp_path)
    layer = written(changes, tmp_path / "out.tar")
    with open(tmp_path / "out.tar", "rb") as stream:
        again = read_layer(stream)
    assert described(again) == described(ChangeSet(layer.entries))
    files = bind(again, lambda: os.open(tmp_path / "out.tar", os.O_RDONLY))
    originals = {change.path: change.node for change in changes if isinstance(change, Put)}
    for change in files:
        if isinstance(change, Put) and isinstance(change.node, File):
            original = originals[change.path]
            assert isinstance(original, File)
            assert read_back(change.node) == read_back(original)
            assert change.node.meta == original.meta


def described(changes: ChangeSet) -> list[str]:
    """Changes as text, hard links by the number of their file, since Files compare by identity."""
    files: dict[File, int] = {}
    lines = []
    for change in changes:
        if isinstance(change, Put) and isinstance(change.node, File):
            number = files.setdefault(change.node, len(files))
            lines.append(f"{change.path!r} file {number} {change.node.meta} {change.node.content} {change.node.size}")
        else:
            lines.append(repr(change))
    return lines


def test_tarfile_sees_what_was_put(root: int, tmp_path: Path) -> None:
    written(full_changes(root, tmp_path), tmp_path / "out.tar")
    found = members(tmp_path / "out.tar")
    assert found["usr/tool"].mode == 0o755
    assert found["usr/tool"].pax_headers["mtime"].endswith(".123456789")
    assert found["usr/tool-again"].islnk()
    assert found["usr/tool-again"].linkname == "usr/tool"
    assert found["usr/link"].linkname == "../etc/motd"
    assert len(found["usr/dangling"].linkname) > 100
    assert (found["dev/big"].devmajor, found["dev/big"].devminor) == (4095, 1048575)
    assert found["dev/pipe"].isfifo()
    assert (found["owners/cluster"].uid, found["owners/cluster"].gid) == (445605, 4204350)
    assert found["owners/nobody"].uid == 4294967294
    assert found["old"].mtime == -86400.25
    assert found["latin-\udce4\udcff"].size == 21
    assert {member.uname + member.gname for member in found.values()} == {""}
    assert "SCHILY.xattr.security.capability" in found["caps"].pax_headers
    with tarfile.open(tmp_path / "out.tar") as tar:
        data = tar.extractfile("sparse")
        assert data is not None
        content = data.read()
    assert len(content) == 5 << 20
    assert content.strip(b"\0") == b"in the middle"


def test_pax_headers_only_where_needed(tmp_path: Path) -> None:
    written([put("a", Directory(meta(0o755))), put("a/" + "x" * 90, text(b"1")), put("a/ö", text(b"2"))],
            tmp_path / "out.tar")
    assert all(not member.pax_headers for member in members(tmp_path / "out.tar").values())
    assert (tmp_path / "out.tar").stat().st_size == 512 * (1 + 2 + 2 + 2)


def test_a_name_of_255_bytes_in_a_folder_of_155(tmp_path: Path) -> None:
    """The longest that the ustar block holds, and one byte more."""
    folder = "d" * 155
    written([put(f"{folder}/{'n' * 100}", text(b"1")), put(f"{folder}/{'n' * 101}", text(b"2"))], tmp_path / "out.tar")
    one, two = members(tmp_path / "out.tar").values()
    assert (len(one.name), one.pax_headers) == (256, {})
    assert (len(two.name), "path" in two.pax_headers) == (257, True)


@pytest.mark.parametrize("size", [0, 1, 98, 99, 100, 985, 9985])
def test_the_length_of_a_pax_record_counts_itself(size: int, tmp_path: Path) -> None:
    """Lengths around 99 → 100 and 999 → 1000, where the number itself gets a digit more."""
    for extra in range(12):
        value = b"v" * (size + extra)
        written([put("f", text(b"").with_meta(Meta(0o644, xattrs=(("user.x", value),))))], tmp_path / "out.tar")
        assert members(tmp_path / "out.tar")["f"].pax_headers["SCHILY.xattr.user.x"].encode() == value


def test_a_file_of_8_gib_and_more_has_its_size_in_a_record() -> None:
    for size in ((8 << 30) - 1, 8 << 30, 1 << 50):
        header = node_header(ImagePath("huge"), File(meta(0o600), Inline(b""), size))
        assert (len(header) > 512) == (size >= 8 << 30)
        with tarfile.open(fileobj=io.BytesIO(header)) as tar:
            assert tar.next().size == size  # type: ignore[union-attr]


# Deletions

def test_deletions_are_empty_files_with_reserved_names(tmp_path: Path) -> None:
    found = names([Remove(ImagePath("a/b")), Remove(ImagePath("c")), Opaque(ImagePath("d")), Opaque(ImagePath(""))],
                  tmp_path / "out.tar")
    assert found == [".wh..wh..opq", "a/.wh.b", ".wh.c", "d/.wh..wh..opq"]


def test_a_folder_is_written_before_its_marker_and_its_files_after(tmp_path: Path) -> None:
    changes: list[Change] = [Opaque(ImagePath("d")), put("d", Directory(meta(0o755))), put("d/f", text(b""))]
    assert names(changes, tmp_path / "out.tar") == ["d", "d/.wh..wh..opq", "d/f"]


def test_a_folder_removed_and_put_again_is_opaque(tmp_path: Path) -> None:
    changes: list[Change] = [Remove(ImagePath("d")), put("d", Directory(meta(0o755)))]
    assert names(changes, tmp_path / "out.tar") == ["d", "d/.wh..wh..opq"]


def test_a_file_put_where_something_was_removed_needs_no_marker(tmp_path: Path) -> None:
    changes: list[Change] = [Remove(ImagePath("f")), put("f", text(b"new"))]
    assert names(changes, tmp_path / "out.tar") == ["f"]


def test_a_real_file_with_a_reserved_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"cannot put /a/\.wh\.x in a layer"):
        written([put("a/.wh.x", text(b""))], tmp_path / "out.tar")


# Times

def test_clamp_sets_later_times_only(tmp_path: Path) -> None:
    changes: list[Change] = [put("old", text(b"", mtime=5_500_000_000)), put("new", text(b"", mtime=7_000_000_001)),
                             put("link", Symlink(meta(0o777, mtime=9_000_000_000), "x"))]
    layer = written(changes, tmp_path / "out.tar", clamp=6)
    found = members(tmp_path / "out.tar")
    assert [found[name].mtime for name in ("old", "new", "link")] == [5.5, 6, 6]
    assert {change.path: change.node.meta.mtime for change in layer.entries if isinstance(change, Put)} == {
        "old": 5_500_000_000, "new": 6_000_000_000, "link": 6_000_000_000}


def test_clamped_hard_links_stay_one_file(tmp_path: Path) -> None:
    node = text(b"same", mtime=9_000_000_000)
    layer = written([put("a", node), put("b", node)], tmp_path / "out.tar", clamp=6)
    assert members(tmp_path / "out.tar")["b"].linkname == "a"
    one, two = layer.entries
    assert isinstance(one, Put)
    assert isinstance(two, Put)
    assert one.node is two.node


# Trouble

def test_a_file_that_is_gone_is_a_source_error(root: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read no/such: No such file"):
        written([put("f", File(meta(0o644), HostFile(root, b"no/such"), 5))], tmp_path / "out.tar")


@pytest.mark.parametrize("size", [3, 5])
def test_a_file_of_another_size_is_a_source_error(size: int, root: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"four")
    with pytest.raises(SourceError, match=r"cannot read f: file changed while it was read"):
        written([put("f", File(meta(0o644), HostFile(root, b"f"), size))], tmp_path / "out.tar")


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(DiskFull, match=r"cannot write the layer: No space left"):
        write_layer(ChangeSet.of([put("f", text(b"x"))]), fd)
    os.close(fd)


def test_an_attribute_that_no_tar_can_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"'user\.a=b'"):
        written([put("f", text(b"").with_meta(Meta(0o644, xattrs=(("user.a=b", b""),))))], tmp_path / "out.tar")


# Same bytes, whatever the source

def test_the_source_of_a_file_does_not_show(root: int, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "f").write_bytes(data)
    inline = write_layer(ChangeSet.of([put("f", File(meta(0o644), Inline(data), len(data)))]), -1)
    host = written([put("f", File(meta(0o644), HostFile(root, b"f"), len(data)))], tmp_path / "out.tar")
    from_layer = bind(ChangeSet(host.entries), lambda: os.open(tmp_path / "out.tar", os.O_RDONLY))
    assert inline.diff_id == host.diff_id == write_layer(from_layer, -1).diff_id


def test_a_large_file_in_pieces(root: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(5000)
    (tmp_path / "f").write_bytes(data)
    changes = ChangeSet.of([put("f", File(meta(0o644), HostFile(root, b"f"), 5000)), put("g", text(b"after"))])
    whole = write_layer(changes, -1)
    monkeypatch.setattr(writer, "_PIECE", 1024)
    assert write_layer(changes, -1).diff_id == whole.diff_id
    (tmp_path / "f").write_bytes(data + b"grown")
    with pytest.raises(SourceError, match="cannot read f: file changed while it was read"):
        write_layer(changes, -1)
    (tmp_path / "f").write_bytes(data[:3000])
    with pytest.raises(SourceError, match="cannot read f: file changed while it was read"):
        write_layer(changes, -1)


def test_holes_take_no_room_in_the_layer_and_do_not_show(root: int, tmp_path: Path) -> None:
    size = 30 << 20
    with open(tmp_path / "holes", "wb") as file:
        file.truncate(size)
        file.seek(1 << 20)
        file.write(b"x" * 70_000)
    (tmp_path / "dense").write_bytes((tmp_path / "holes").read_bytes())
    layers = [written([put("f", File(meta(0o644), HostFile(root, name), size))], tmp_path / "out.tar")
              for name in (b"holes", b"dense")]
    assert layers[0].diff_id == layers[1].diff_id
    assert layers[0].size == size + 512 + 1024 == (tmp_path / "out.tar").stat().st_size
    assert (tmp_path / "out.tar").stat().st_blocks * 512 < 2 << 20
    assert hashlib.sha256((tmp_path / "out.tar").read_bytes()).hexdigest() == layers[0].diff_id.hex
    again = bind(ChangeSet(layers[0].entries), lambda: os.open(tmp_path / "out.tar", os.O_RDONLY))
    assert write_layer(again, -1).diff_id == layers[0].diff_id


def test_many_files_in_batches(root: int, tmp_path: Path) -> None:
    """More than one batch, from two folders, small and empty files mixed with folders."""
    (tmp_path / "sub").mkdir()
    other = os.open(tmp_path / "sub", os.O_RDONLY | os.O_DIRECTORY)
    changes: list[Change] = []
    for number in range(700):
        data = b"%d\n" % number * (number % 5)
        folder, fd = (tmp_path, root) if number % 7 else (tmp_path / "sub", other)
        (folder / f"f{number}").write_bytes(data)
        changes.append(put(f"f{number}", File(meta(0o644), HostFile(fd, b"f%d" % number), len(data))))
    written(changes, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        for number in range(700):
            member = tar.extractfile(f"f{number}")
            assert member is not None
            assert member.read() == b"%d\n" % number * (number % 5)
    os.close(other)


def test_an_empty_change_set_is_an_empty_archive() -> None:
    assert write_layer(ChangeSet(), -1).size == 1024
    assert not read_layer(io.BytesIO(bytes(1024))).changes
