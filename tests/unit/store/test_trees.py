"""Layers as trees: from the packed index, or from the blob when there is none, whatever its compression."""

import os
from pathlib import Path

import pytest

from rootless_builder.errors import DiskFull, StoreError, UnsafeArchive
from rootless_builder.layer.compress import compress
from rootless_builder.oci.descriptor import MEDIA_TYPE_LAYER_GZIP, MEDIA_TYPE_LAYER_ZSTD, Descriptor
from rootless_builder.oci.digest import Digest
from rootless_builder.paths import ImagePath
from rootless_builder.store import LayerRef, Store
from rootless_builder.tree.changes import Put, Remove
from rootless_builder.tree.node import Directory, File, Inline, Meta

from .conftest import layer_of, text_file

FOLDER = Put(ImagePath("d"), Directory(Meta(0o750, 1, 2, 3)))


def compressed(store: Store, layer: LayerRef, kind: str, media_type: str) -> LayerRef:
    """The same layer with only the compressed blob in the store."""
    source = store.blobs.open(layer.diff_id)
    with store.blobs.writer() as writer:
        digest, size = compress(source, writer.write, kind)
        writer.commit(digest, size)
    os.close(source)
    store.blobs.remove(layer.diff_id)
    return LayerRef(diff_id=layer.diff_id, blob=Descriptor(media_type=media_type, digest=digest, size=size))


def content(store: Store, layer: LayerRef, path: str) -> bytes:
    node = store.trees.load([layer]).lookup(ImagePath(path))
    assert isinstance(node, File)
    fd, offset = node.content.open()
    try:
        return os.pread(fd, node.size, offset)
    finally:
        os.close(fd)


@pytest.mark.parametrize("remember", [True, False])
def test_layers_add_up_to_a_tree(store: Store, remember: bool) -> None:
    layers = [layer_of(store, [FOLDER, text_file("d/a", "1"), text_file("d/b", "2")], remember=remember),
              layer_of(store, [Remove(ImagePath("d/a")), text_file("d/b", "three")], remember=remember)]
    assert store.trees.known(layers[0].diff_id) is remember
    tree = store.trees.load(layers)
    assert [path for path, _ in tree.walk()] == ["", "d", "d/b"]
    assert tree.lookup(ImagePath("d")).meta == Meta(0o750, 1, 2, 3)  # type: ignore[union-attr]
    assert content(store, layers[1], "d/b") == b"three"
    assert store.trees.known(layers[0].diff_id)


@pytest.mark.parametrize(("kind", "media_type"), [("gzip", MEDIA_TYPE_LAYER_GZIP), ("zstd", MEDIA_TYPE_LAYER_ZSTD)])
def test_a_compressed_layer_reads_the_same(store: Store, tmp_path: Path, kind: str, media_type: str) -> None:
    plain = layer_of(store, [text_file("a", "x" * 100_000), text_file("b", "end")], remember=False)
    expected = Path(store.blobs.path(plain.diff_id)).read_bytes()
    layer = compressed(store, plain, kind, media_type)
    assert content(store, layer, "b") == b"end"
    assert content(store, layer, "a") == b"x" * 100_000
    with open(store.trees.tar(layer), "rb") as tar:
        assert tar.read() == expected


def test_a_damaged_index_is_made_again(store: Store) -> None:
    layer = layer_of(store, [text_file("a", "1")])
    for damage in (b"", b"no index", b"\0" * 200):
        store.layout.tree(layer.diff_id).write_bytes(damage)
        assert content(store, layer, "a") == b"1"


def test_a_layer_that_is_not_what_its_config_says_is_refused(store: Store) -> None:
    plain = layer_of(store, [text_file("a", "1")], remember=False)
    liar = LayerRef(diff_id=Digest.of(b"something else"), blob=plain.blob)
    with pytest.raises(UnsafeArchive, match="instead of"):
        store.trees.changes(liar)
    assert not store.trees.known(liar.diff_id)
    packed = compressed(store, plain, "gzip", MEDIA_TYPE_LAYER_GZIP)
    with pytest.raises(UnsafeArchive, match="instead of"):
        store.trees.tar(LayerRef(diff_id=liar.diff_id, blob=packed.blob))
    assert os.listdir(store.layout.root / "tars") == []


def test_inflated_layers_may_vanish_at_any_moment(store: Store) -> None:
    layer = compressed(store, layer_of(store, [text_file("a", "1")]), "gzip", MEDIA_TYPE_LAYER_GZIP)
    for _ in range(2):
        assert content(store, layer, "a") == b"1"
        (path,) = (store.layout.root / "tars").iterdir()
        path.unlink()


def test_the_blob_of_a_layer_may_be_gone_while_its_tree_is_known(store: Store) -> None:
    layer = layer_of(store, [text_file("a", "1")])
    store.blobs.remove(layer.diff_id)
    node = store.trees.load([layer]).lookup(ImagePath("a"))
    assert isinstance(node, File)
    with pytest.raises(StoreError, match="not in the store"):
        node.content.open()


def test_a_layer_that_does_not_fit_inflated_says_where(tmp_path: Path, others) -> None:  # type: ignore[no-untyped-def]
    """The tars may lie on a smaller disk than the store."""
    tars = tmp_path / "tars"
    tars.mkdir()
    with Store.open(others.root) as store:
        big = Put(ImagePath("a"), File(Meta(0o644), Inline(bytes(4 << 20)), 4 << 20))
        layer = compressed(store, layer_of(store, [big, text_file("b", os.urandom(400_000).hex())]), "gzip",
                           MEDIA_TYPE_LAYER_GZIP)
    script = f'mount -t tmpfs -o size=300k,mode=700 none {tars} && exec "$@"'
    out = others.run(f"""
        from rootless_builder.oci.descriptor import *
        store = Store.open(Path(sys.argv[1]), tars=Path({str(tars)!r}))
        blob = Descriptor(media_type=MEDIA_TYPE_LAYER_GZIP, digest=Digest.parse("{layer.blob.digest}"),
                          size={layer.blob.size})
        try:
            store.trees.tar(LayerRef(diff_id=Digest.parse("{layer.diff_id}"), blob=blob))
        except DiskFull as error:
            print(error.message, "|", error.hint)
        print(os.listdir({str(tars)!r}))
    """, "unshare", "-m", "sh", "-c", script, "sh").splitlines()
    assert f"no space is left on the file system at {tars}" in out[0]
    assert "IECHOR_SCRATCH" in out[0]
    assert out[1] == "[]"
    assert DiskFull.exit_code == 13


def test_a_folder_that_others_can_write_to_holds_no_tar_of_ours(tmp_path: Path) -> None:
    """Scratch is in /var/tmp unless configured: somebody may have made the folder before us."""
    shared = tmp_path / "shared"
    (shared / "tars").mkdir(parents=True)
    shared.chmod(0o777)
    with Store.open(tmp_path / "store", tars=shared / "tars") as store:
        layer = compressed(store, layer_of(store, [text_file("a", "right")]), "gzip", MEDIA_TYPE_LAYER_GZIP)
        (shared / "tars" / layer.diff_id.hex).write_bytes(b"wrong" * 1000)
        assert content(store, layer, "a") == b"right"
