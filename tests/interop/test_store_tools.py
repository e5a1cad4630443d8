"""The store as it stands is an image layout to other tools, and what they read is what we hold."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless_builder.layer.writer import write_layer
from rootless_builder.oci.config import History, ImageConfig, RunConfig
from rootless_builder.oci.descriptor import MEDIA_TYPE_LAYER, Descriptor
from rootless_builder.oci.platform import host_platform
from rootless_builder.oci.reference import Reference
from rootless_builder.paths import ImagePath
from rootless_builder.store import Image, Policy, Store
from rootless_builder.tree.changes import Change, ChangeSet, Put, Remove
from rootless_builder.tree.node import Directory, File, Inline, Meta, Symlink

pytestmark = pytest.mark.interop
NAME = "docker.io/library/test:latest"


def tool(*argv: str | Path) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def image(store: Store) -> Image:
    """Two layers: the second deletes, replaces and adds."""
    first: list[Change] = [Put(ImagePath("etc"), Directory(Meta(0o755))),
                           *(Put(ImagePath(f"etc/{name}"), File(Meta(0o640, 1, 2, 10**18), Inline(b"old"), 3))
                             for name in ("kept", "changed", "removed")),
                           Put(ImagePath("link"), Symlink(Meta(0o777), "etc/kept"))]
    second: list[Change] = [Remove(ImagePath("etc/removed")),
                            Put(ImagePath("etc/changed"), File(Meta(0o600, 3, 4, 10**18), Inline(b"new!"), 4))]
    layers = []
    for changes in (first, second):
        with store.blobs.writer() as writer:
            written = write_layer(ChangeSet.of(changes), writer.fd)
            writer.commit(written.diff_id, written.size)
        layers.append(Descriptor(media_type=MEDIA_TYPE_LAYER, digest=written.diff_id, size=written.size))
    platform = host_platform()
    config = ImageConfig(
        architecture=platform.architecture, os=platform.os, config=RunConfig(env=("A=b",), cmd=("/link",)),
        rootfs_diff_ids=tuple(layer.digest for layer in layers),
        history=(History(created_by="COPY"), History(created_by="ENV A=b", empty_layer=True),
                 History(created_by="RUN")))
    return store.images.put(layers, config, reference=Reference.parse("test"))


def test_skopeo_reads_the_store_by_name(store: Store, image: Image) -> None:
    where = f"oci:{store.layout.root}:{NAME}"
    seen = json.loads(tool("skopeo", "inspect", where))
    assert seen["Digest"] == str(image.manifest_descriptor.digest)
    assert seen["Layers"] == [str(layer.diff_id) for layer in image.layers]
    assert seen["Env"] == ["A=b"]
    assert json.loads(tool("skopeo", "inspect", "--config", where))["config"]["Cmd"] == ["/link"]


def test_umoci_lists_and_unpacks_it(store: Store, image: Image, tmp_path: Path) -> None:
    store.images.tag(Reference.parse("localhost:5000/other/name:v1"), image.manifest_descriptor)
    assert tool("umoci", "ls", "--layout", store.layout.root).split() == [NAME, "localhost:5000/other/name:v1"]
    tool("umoci", "unpack", "--rootless", "--image", f"{store.layout.root}:{NAME}", tmp_path / "bundle")
    root = tmp_path / "bundle/rootfs"
    assert sorted(os.listdir(root / "etc")) == ["changed", "kept"]
    assert (root / "etc/changed").read_text() == "new!"
    assert os.readlink(root / "link") == "etc/kept"


def test_what_skopeo_copies_out_has_the_same_digests(store: Store, image: Image, tmp_path: Path) -> None:
    tool("skopeo", "copy", "-q", f"oci:{store.layout.root}:{NAME}", f"dir:{tmp_path / 'out'}")
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert manifest["config"]["digest"] == str(image.id)
    assert [layer["digest"] for layer in manifest["layers"]] == [str(layer.blob.digest) for layer in image.layers]


def test_an_untagged_image_is_gone_for_them_too(store: Store, image: Image) -> None:
    store.images.remove("test", default_registry="docker.io")
    store.collect(Policy(dangling=True))
    assert tool("umoci", "ls", "--layout", store.layout.root) == ""
    assert json.loads((store.layout.root / "index.json").read_bytes())["manifests"] == []


def test_their_garbage_collector_leaves_our_images_whole(store: Store, image: Image) -> None:
    """umoci gc knows index.json alone: an image without a name has to be in it."""
    nameless = store.images.put([layer.blob for layer in image.layers[:1]],
                                ImageConfig(architecture="amd64", os="linux",
                                            rootfs_diff_ids=image.config.rootfs_diff_ids[:1]))
    tool("umoci", "gc", "--layout", store.layout.root)
    for whole in (image, nameless):
        assert store.images.by_id(whole.id.hex) == whole
        assert all(store.blobs.has(layer.blob.digest, layer.blob.size) for layer in whole.layers)
