"""A store in a temporary folder, and other processes that use the same one."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rootless_builder.layer.writer import write_layer
from rootless_builder.oci.config import ImageConfig
from rootless_builder.oci.descriptor import MEDIA_TYPE_LAYER, Descriptor
from rootless_builder.oci.reference import Reference
from rootless_builder.paths import ImagePath
from rootless_builder.store import Image, LayerRef, Store
from rootless_builder.tree.changes import Change, ChangeSet, Put
from rootless_builder.tree.node import File, Inline, Meta

ROOT = Path(__file__).resolve().parents[3]
HEAD = """
import os, signal, sys, time
from pathlib import Path
from rootless_builder.errors import *
from rootless_builder.oci.config import ImageConfig
from rootless_builder.oci.digest import Digest
from rootless_builder.oci.reference import Reference
from rootless_builder.store import *
store = Store.open(Path(sys.argv[1]))
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


class Others:
    """Other processes: Python code after HEAD, which has opened `store`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.started: list[subprocess.Popen[str]] = []

    def start(self, code: str, *before: str) -> "subprocess.Popen[str]":
        """before: a command that the interpreter is run by (unshare, strace …)."""
        process = subprocess.Popen(
            [*before, sys.executable, "-c", HEAD + textwrap.dedent(code), str(self.root)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"})
        self.started.append(process)
        return process

    def run(self, code: str, *before: str) -> str:
        process = self.start(code, *before)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out.strip()

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Others]:
    found = Others(tmp_path / "store")
    yield found
    found.close()


def text_file(path: str, text: str) -> Put:
    return Put(ImagePath(path), File(Meta(0o644), Inline(text.encode()), len(text.encode())))


def layer_of(store: Store, changes: list[Change], *, remember: bool = True) -> LayerRef:
    with store.blobs.writer() as writer:
        written = write_layer(ChangeSet.of(changes), writer.fd)
        writer.commit(written.diff_id, written.size)
    if remember:
        store.trees.remember(written.diff_id, written.entries)
    blob = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=written.diff_id, size=written.size)
    return LayerRef(diff_id=written.diff_id, blob=blob)


def image_of(store: Store, name: str | None, *texts: str) -> Image:
    """One layer for each text, with a file `a` that holds it."""
    layers = [layer_of(store, [text_file("a", text)]) for text in texts]
    config = ImageConfig(architecture="amd64", os="linux",
                         rootfs_diff_ids=tuple(layer.diff_id for layer in layers))
    return store.images.put([layer.blob for layer in layers], config,
                            reference=Reference.parse(name) if name else None)


@pytest.fixture
def make_image(store: Store) -> Callable[..., Image]:
    return lambda name, *texts: image_of(store, name, *texts)
