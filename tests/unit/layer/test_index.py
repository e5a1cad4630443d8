import os
from pathlib import Path

import pytest

from rootless_builder.errors import SourceError, StoreError
from rootless_builder.layer import index
from rootless_builder.layer.content import LayerEntry, LayerExtents, TarExtents
from rootless_builder.layer.writer import write_layer
from rootless_builder.paths import ImagePath
from rootless_builder.tree.changes import ChangeSet, Put
from rootless_builder.tree.node import File, Meta
from tests.layersample import full_changes, put, read_back


def never() -> int:
    raise AssertionError("nobody asked for the tar")


def test_an_index_gives_back_every_change(root: int, tmp_path: Path) -> None:
    changes = full_changes(root, tmp_path)
    fd = os.open(tmp_path / "out.tar", os.O_RDWR | os.O_CREAT)
    layer = write_layer(changes, fd)
    loaded = index.load(index.dump(layer.entries), lambda: os.dup(fd))
    assert len(loaded) == len(layer.entries)
    for old, new in zip(layer.entries, loaded, strict=True):
        assert (old.path, type(old)) == (new.path, type(new))
        if isinstance(old, Put) and isinstance(new, Put):
            assert new.node.meta == old.node.meta
            if not isinstance(new.node, File):
                assert new == old
    nodes = {change.path: change.node for change in loaded if isinstance(change, Put)}
    assert nodes[ImagePath("usr/tool")] is nodes[ImagePath("usr/tool-again")]
    tool, sparse = nodes[ImagePath("usr/tool")], nodes[ImagePath("sparse")]
    assert isinstance(tool, File)
    assert isinstance(sparse, File)
    assert isinstance(tool.content, LayerEntry)
    assert read_back(tool) == b"from the host\n" * 100
    assert read_back(sparse).strip(b"\0") == b"in the middle"
    os.close(fd)


def test_dumping_what_was_loaded_gives_the_same_bytes(root: int, tmp_path: Path) -> None:
    packed = index.dump(write_layer(full_changes(root, tmp_path), -1).entries)
    assert index.dump(index.load(packed, never)) == packed


def test_an_empty_one() -> None:
    assert index.load(index.dump(ChangeSet()), never) == ChangeSet()


@pytest.mark.parametrize("damage", [
    lambda data: b"",
    lambda data: data[:20],
    lambda data: data[:-1],
    lambda data: b"ieindex0" + data[8:],
    lambda data: data[:60] + b"\xff\xff" + data[62:],
    lambda data: data[:8] + bytes(40) + data[48:],
], ids=["empty", "head only", "cut off", "other version", "garbage", "wrong lengths"])
def test_damage_is_a_store_error(damage, root: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    packed = index.dump(write_layer(full_changes(root, tmp_path), -1).entries)
    with pytest.raises(StoreError, match="cannot read the index of a layer"):
        index.load(damage(packed), never)


def test_a_layer_shorter_than_its_index_is_an_error_not_zeros(root: int, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out.tar", os.O_RDWR | os.O_CREAT)
    layer = write_layer(full_changes(root, tmp_path), fd)
    loaded = index.load(index.dump(layer.entries), lambda: os.dup(fd))
    os.ftruncate(fd, 512)
    with pytest.raises(SourceError, match="file changed while it was read"):
        write_layer(loaded, -1)
    os.close(fd)


def test_sparse_files_of_other_archives() -> None:
    extents = ((512, 1 << 20, 3), (1024, (2 << 20) - 1, 1))
    node = File(Meta(0o644), TarExtents(extents, 2 << 20), 2 << 20)
    packed = index.dump([put("a", node), put("b", node), put("c", File(Meta(0o600), TarExtents((), 7), 7))])
    fd = os.memfd_create("tar")
    os.pwrite(fd, bytes(512) + b"abc".ljust(512) + b"z", 0)
    one, two, three = index.load(packed, lambda: os.dup(fd))
    assert isinstance(one, Put)
    assert isinstance(two, Put)
    assert isinstance(three, Put)
    assert one.node is two.node
    assert isinstance(one.node, File)
    assert isinstance(three.node, File)
    assert isinstance(one.node.content, LayerExtents)
    assert read_back(one.node) == bytes(1 << 20) + b"abc" + bytes((1 << 20) - 4) + b"z"
    assert read_back(three.node) == bytes(7)
    assert index.dump([one, two, three]) == packed
    os.ftruncate(fd, 512)
    with pytest.raises(OSError, match="shorter than its index"):
        one.node.content.open()
    os.close(fd)
