"""A store with layers, and a scratch folder, for this process; the kernel's overlay is not asked for here."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rootless_builder.layer.writer import write_layer
from rootless_builder.oci.descriptor import MEDIA_TYPE_LAYER, Descriptor
from rootless_builder.paths import ImagePath
from rootless_builder.removing import remove_tree
from rootless_builder.sandbox.idmap import IdMode
from rootless_builder.scratch.scratch import Scratch
from rootless_builder.store import LayerRef, Store
from rootless_builder.tree.changes import Change, ChangeSet, Put
from rootless_builder.tree.node import Directory, File, Inline, Meta

MakeLayer = Callable[[list[Change]], LayerRef]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """On a disk with owners, devices and extended attributes; /tmp may be a tmpfs."""
    name = Path(tempfile.mkdtemp(prefix="iechor-test-scratch-", dir="/var/tmp"))
    yield name
    remove_tree(name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    """Fakeroot's files need no privilege, whoever runs this."""
    return Scratch.open(tmp_path / "scratch", mode=IdMode.FAKEROOT, overlay=0)


@pytest.fixture
def make_layer(store: Store) -> MakeLayer:
    def make(changes: list[Change]) -> LayerRef:
        with store.blobs.writer() as writer:
            written = write_layer(ChangeSet.of(changes), writer.fd)
            writer.commit(written.diff_id, written.size)
        store.trees.remember(written.diff_id, written.entries)
        return LayerRef(diff_id=written.diff_id, blob=Descriptor(
            media_type=MEDIA_TYPE_LAYER, digest=written.diff_id, size=written.size))
    return make


def folder(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime: int = 10**18) -> Put:
    return Put(ImagePath(path), Directory(Meta(mode, uid, gid, mtime)))


def text(path: str, content: str = "", mode: int = 0o644, uid: int = 0, gid: int = 0) -> Put:
    data = os.fsencode(content)
    return Put(ImagePath(path), File(Meta(mode, uid, gid, 10**18 + 5), Inline(data), len(data)))
