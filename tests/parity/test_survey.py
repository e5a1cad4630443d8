"""What COPY takes from a folder: surveyed, remembered, told and packed alike by C and by Python."""

import hashlib
import os
import socket
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rootless_builder import _layercore, _layercore_py
from rootless_builder.layer.header import node_header
from rootless_builder.paths import ImagePath, decode
from rootless_builder.tree.node import Directory, File, Inline, Meta, Symlink

FOREVER = (1 << 63) - 1
MODES = struct.pack("=4096I", *range(10, 4106))


def tree(top: Path) -> None:
    (top / "a").write_bytes(b"a" * 1000)
    (top / "b").mkdir()
    (top / "b" / "c").write_bytes(os.urandom(300_000))
    (top / "b" / "empty").write_bytes(b"")
    (top / "b-").write_bytes(b"-----BEGIN PRIVATE KEY-----")
    (top / "long").symlink_to("t" * 150)
    (top / "link").symlink_to("a")
    deep = top / ("d" * 60) / ("e" * 80) / ("f" * 120)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    (top / os.fsdecode(b"\xff\xfe")).write_bytes(b"no UTF-8")
    for number, path in enumerate(sorted(top.rglob("*"))):
        os.utime(path, ns=(0, number * 1_000_000_007 - 3_000_000_000), follow_symlinks=False)
    (top / "a").chmod(0o4711)


def packed(core: ModuleType, root: int, survey: Any, **changed: Any) -> tuple[bytes, tuple[bytes, ...], bytearray, Any]:
    """(the tar's digest, what add_survey returned, contents, the sink's end)."""
    given = {"first": 0, "strip": 0, "prefix": b"", "uid": 0, "gid": 0, "latest": FOREVER, "modes": None,
             "hints": [b"PRIVATE KEY"], "largest": 1 << 20, **changed}
    sink = core.TarSink(-1)
    contents = bytearray(32 * len(survey))
    found = sink.add_survey(root, survey, contents, *given.values())
    digest, length = sink.finish()
    return digest, found, contents, length


def test_both_pack_alike(root: int, tmp_path: Path) -> None:
    tree(tmp_path / "root")
    modes = struct.pack("=8192H", *[(mode | 0o440) & 0o7777 for mode in range(8192)])
    for changed in ({}, {"prefix": b"app/", "uid": 3_000_000, "gid": 5}, {"latest": 2_000_000_000, "modes": modes},
                    {"prefix": b"p" * 99 + b"/", "gid": 1 << 22}):
        ours, twins = (packed(core, root, core.survey(root), **changed) for core in (_layercore, _layercore_py))
        assert ours == twins


def test_headers_are_those_of_a_tree(core: ModuleType, root: int, tmp_path: Path) -> None:
    tree(tmp_path / "root")
    expected = b""
    survey = core.survey(root)
    for path in sorted((tmp_path / "root").rglob("*"), key=lambda one: os.fsencode(one.relative_to(
            tmp_path / "root")).split(b"/")):
        info, name = path.lstat(), ImagePath(decode(os.fsencode(path.relative_to(tmp_path / "root"))))
        meta = Meta(info.st_mode & 0o7777, 0, 0, info.st_mtime_ns)
        if path.is_symlink():
            expected += node_header(name, Symlink(meta, os.readlink(path)))
        elif path.is_dir():
            expected += node_header(name, Directory(meta))
        else:
            data = path.read_bytes()
            expected += node_header(name, File(meta, Inline(data), len(data))) + data + bytes(-len(data) % 512)
    digest, _, contents, length = packed(core, root, survey)
    assert length == len(expected) + 1024
    assert digest == hashlib.sha256(expected + bytes(1024)).digest()
    assert hashlib.sha256(b"a" * 1000).digest() in bytes(contents)


def test_a_hint_is_noticed_in_text_alone(core: ModuleType, root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "binary").write_bytes(b"\0PRIVATE KEY")
    (tmp_path / "root" / "end").write_bytes(b"x" * 5000 + b"PRIVATE KEY")
    (tmp_path / "root" / "half").write_bytes(b"PRIVATE KE")
    (tmp_path / "root" / "large").write_bytes(b"PRIVATE KEY" * 1000)
    _, (_, _, _, hinted), _, _ = packed(core, root, core.survey(root), largest=10_000)
    assert struct.unpack("<I", hinted) == (1,)


def test_names_and_what_is_left_out(core: ModuleType, root: int, tmp_path: Path) -> None:
    tree(tmp_path / "root")
    survey = core.survey(root, [b"b", b"b-"], [b"b/c"])
    assert [survey.get(path) is not None for path in (b"a", b"b", b"b/c", b"b/empty", b"b-")] == [0, 1, 0, 1, 1]
    assert survey.facts() == (2, 27, 0)
    with pytest.raises(FileNotFoundError):
        core.survey(root, [b"none"])


def test_what_cannot_be_packed_whole_is_odd(core: ModuleType, root: int, tmp_path: Path) -> None:
    top = tmp_path / "root"
    assert core.survey(root).facts() == (0, 0, 0)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(top / "socket"))
    assert len(core.survey(root)) == 0
    for make in (lambda: os.mkfifo(top / "odd"), lambda: (top / ".wh.x").write_bytes(b""),
                 lambda: (top / "odd").write_bytes(b"") or os.link(top / "odd", top / "other")):
        make()
        assert core.survey(root).facts()[2] == 1
        for path in top.iterdir():
            path.unlink()
    (top / "file").write_bytes(b"x")
    os.setxattr(top / "file", "user.mine", b"1")
    survey = core.survey(root)
    for call in (lambda: packed(core, root, survey), lambda: core.learn(root, survey, bytearray(32))):
        with pytest.raises(OSError, match="extended attributes"):
            call()


def test_what_is_remembered_is_believed_while_it_is_as_it_was(core: ModuleType, root: int, tmp_path: Path) -> None:
    tree(tmp_path / "root")
    survey = core.survey(root)
    contents = bytearray(32 * len(survey))
    core.learn(root, survey, contents)
    assert contents == packed(core, root, survey)[2]
    memory = core.remember(survey, contents, b"", FOREVER)
    again = bytearray(len(contents))
    assert core.recall(survey, memory, again) == (0, 0)
    assert again == contents
    path = tmp_path / "root" / "b" / "c"
    before = path.stat()
    path.write_bytes(os.urandom(300_000))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = core.survey(root)
    assert core.recall(changed, memory, bytearray(len(contents))) == (1, 300_000)
    for cut in (1, 50, len(memory) - 1):
        core.recall(survey, memory[:cut], bytearray(len(contents)))


def test_a_recent_change_is_believed_when_it_was_seen_twice(core: ModuleType, root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "new").write_bytes(b"x")
    survey = core.survey(root)
    contents = bytearray(32)
    core.learn(root, survey, contents)
    once = core.remember(survey, contents, b"", 0)
    assert core.recall(survey, once, bytearray(32)) == (1, 1)
    twice = core.remember(survey, contents, once, 0)
    assert core.recall(survey, twice, bytearray(32)) == (0, 0)


def test_both_remember_and_tell_alike(root: int, tmp_path: Path) -> None:
    tree(tmp_path / "root")
    told = []
    for core in (_layercore, _layercore_py):
        survey = core.survey(root)
        contents = bytearray(32 * len(survey))
        core.learn(root, survey, contents)
        told.append((core.tell(survey, contents, 0, 0, MODES), core.tell(survey, contents, 2, 3, MODES),
                     bytes(contents), core.remember(survey, contents, b"", 1_000_000_000)))
    assert told[0] == told[1]


@pytest.mark.parametrize("grow", [b"longer than it was", b"sh"])
def test_a_file_that_changed_is_no_layer(core: ModuleType, root: int, tmp_path: Path, grow: bytes) -> None:
    (tmp_path / "root" / "file").write_bytes(b"content")
    survey = core.survey(root)
    (tmp_path / "root" / "file").write_bytes(grow)
    sink = core.TarSink(-1)
    with pytest.raises(OSError, match="changed while it was read"):
        sink.add_survey(root, survey, bytearray(32), 0, 0, b"", 0, 0, FOREVER, None, [], 0)
    with pytest.raises(RuntimeError):
        sink.finish()


def test_a_folder_that_became_a_symlink_is_not_followed(core: ModuleType, root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "d").mkdir()
    (tmp_path / "root" / "d" / "f").write_bytes(b"1")
    survey = core.survey(root)
    (tmp_path / "root" / "d").rename(tmp_path / "elsewhere")
    (tmp_path / "root" / "d").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        packed(core, root, survey)
