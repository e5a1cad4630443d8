"""Scratch: disposable at any moment but while it is in use; kills, prunes, strangers, a full disk."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rootless_builder.errors import StoreError
from rootless_builder.removing import remove_tree
from rootless_builder.sandbox.idmap import IdMode
from rootless_builder.scratch.scratch import Scratch
from rootless_builder.store import LayerRef, Store

from .conftest import MakeLayer, folder, text

ROOT = Path(__file__).resolve().parents[3]
HEAD = """
import os, signal, sys, threading, time
from pathlib import Path
from rootless_builder.errors import *
from rootless_builder.oci.descriptor import *
from rootless_builder.oci.digest import Digest
from rootless_builder.sandbox.idmap import IdMode
from rootless_builder.scratch.scratch import Scratch
from rootless_builder.store import *
folder, diff_id, size = Path(sys.argv[1]), Digest.parse(sys.argv[2]), int(sys.argv[3])
store = Store.open(folder / "store")
layer = LayerRef(diff_id=diff_id, blob=Descriptor(media_type=MEDIA_TYPE_LAYER, digest=diff_id, size=size))
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Start]:
    """Another process that knows one layer of the same store."""
    started: list[subprocess.Popen[str]] = []

    def start(layer: LayerRef, code: str, *before: str) -> "subprocess.Popen[str]":
        words = [*before, sys.executable, "-c", HEAD + textwrap.dedent(code), str(tmp_path), str(layer.diff_id),
                 str(layer.blob.size)]
        started.append(subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def layer(make_layer: MakeLayer) -> LayerRef:
    return make_layer([folder("d"), *(text(f"d/{number}", str(number) * 1000) for number in range(300))])


def empty(scratch: Scratch) -> bool:
    return not any(os.listdir(place) for place in (scratch.places.runs, scratch.places.tmp, scratch.places.gone))


def test_only_what_a_container_writes_is_synced(store: Store, scratch: Scratch, layer: LayerRef) -> None:
    """The end of a RUN must not wait for the whole disk; a database in a container means its fsync."""
    with scratch.rootfs([layer], store) as run, scratch.container_rootfs("c1", [layer], store) as container:
        assert run.overlay is not None and container.overlay is not None
        assert (run.overlay.volatile, container.overlay.volatile) == (True, False)


def test_the_second_root_file_system_unpacks_nothing(store: Store, scratch: Scratch, layer: LayerRef) -> None:
    with scratch.rootfs([layer], store) as first:
        inode = (first.layers[0].root / "d").stat().st_ino
    store.blobs.remove(layer.diff_id)
    with scratch.rootfs([layer], store) as second:
        assert (second.layers[0].root / "d").stat().st_ino == inode
        assert second.overlay is not None and second.overlay.userxattr
        assert second.overlay.lowers == (str(second.layers[0].root), str(scratch.places.stubs))
    assert empty(scratch)


def test_an_unwritable_root_has_no_upper(store: Store, scratch: Scratch, make_layer: MakeLayer) -> None:
    with scratch.rootfs([make_layer([folder("", 0o711)])], store, writable=False) as rootfs:
        assert rootfs.overlay is not None and rootfs.overlay.upper is None
        assert Path(rootfs.overlay.lowers[0]).stat().st_mode & 0o777 == 0o711
        assert len(rootfs.changes()) == 0


def test_many_may_unpack_the_same_layer_at_once(scratch: Scratch, layer: LayerRef, other: Start) -> None:
    children = [other(layer, """
        scratch = Scratch.open(folder / "scratch", mode=IdMode.FAKEROOT, overlay=0)
        with scratch.rootfs([layer], store) as rootfs:
            print(len(os.listdir(rootfs.layers[0].root / "d")))
    """) for _ in range(4)]
    assert [child.communicate(timeout=60) for child in children] == [("300\n", "")] * 4
    assert len(os.listdir(scratch.places.layers)) == 1
    assert empty(scratch)


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05])
def test_a_kill_leaves_nothing_that_the_next_one_does_not_sweep(store: Store, scratch: Scratch, layer: LayerRef,
                                                                other: Start, delay: float) -> None:
    child = other(layer, f"""
        scratch = Scratch.open(folder / "scratch", mode=IdMode.FAKEROOT, overlay=0)
        threading.Timer({delay}, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        with scratch.rootfs([layer], store) as rootfs:
            (Path(rootfs.overlay.work) / "work").mkdir(mode=0)       # as overlayfs leaves it
            time.sleep(1)
    """)
    assert child.wait(timeout=60) == -signal.SIGKILL
    again = Scratch.open(scratch.root, mode=IdMode.FAKEROOT, overlay=0)
    assert empty(again)
    with again.rootfs([layer], store) as rootfs:
        assert len(os.listdir(rootfs.layers[0].root / "d")) == 300


def test_a_half_written_or_copied_layer_is_made_again(store: Store, scratch: Scratch, layer: LayerRef) -> None:
    with scratch.rootfs([layer], store) as rootfs:
        kept = rootfs.layers[0].folder
    facts = json.loads((kept / "layer.json").read_text())
    # After a crash: another boot, and a file whose bytes never reached the disk.
    (kept / "layer.json").write_text(json.dumps(facts | {"boot": "another"}))
    (kept / "root/d/7").write_bytes(b"")
    with scratch.rootfs([layer], store) as rootfs:
        assert (rootfs.layers[0].root / "d/7").read_text() == "7" * 1000
    # Another boot, and all is well: only noted.
    (kept / "layer.json").write_text(json.dumps(json.loads((kept / "layer.json").read_text()) | {"boot": "another"}))
    inode = (kept / "root").stat().st_ino
    with scratch.rootfs([layer], store) as rootfs:
        assert rootfs.layers[0].root.stat().st_ino == inode
    assert json.loads((kept / "layer.json").read_text())["boot"] == facts["boot"]
    # A copy has other inode numbers than its owner table.
    shutil.copytree(kept, kept.with_name("copy"), symlinks=True)
    shutil.rmtree(kept)
    kept.with_name("copy").rename(kept)
    (kept / "root/d/8").write_text("of the copy")
    with scratch.rootfs([layer], store) as rootfs:
        assert (rootfs.layers[0].root / "d/8").read_text() == "8" * 1000


def test_prune_spares_what_is_in_use_here_and_elsewhere(store: Store, scratch: Scratch, layer: LayerRef,
                                                        make_layer: MakeLayer, other: Start) -> None:
    mine, unused, contained = (make_layer([text(name)]) for name in ("mine", "unused", "contained"))
    child = other(layer, """
        scratch = Scratch.open(folder / "scratch", mode=IdMode.FAKEROOT, overlay=0)
        with scratch.rootfs([layer], store):
            print("ready", flush=True)
            sys.stdin.read()
    """)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    with scratch.rootfs([unused], store):
        pass
    scratch.container_rootfs("abc", [contained], store).close()
    (scratch.places.tars).mkdir()
    (scratch.places.tars / "x").write_bytes(bytes(10000))
    with scratch.rootfs([mine], store) as rootfs:
        assert scratch.prune() >= 10000
        left = {path.name for path in scratch.places.layers.iterdir()}
        assert left == {found.diff_id.hex[:32] for found in (mine, contained, layer)}
        assert (rootfs.layers[0].root / "mine").exists()
    child.communicate("")
    remove_tree(scratch.places.container("abc"))
    scratch.prune()
    assert os.listdir(scratch.places.layers) == []


def test_a_containers_root_stays_until_it_is_removed(store: Store, scratch: Scratch, layer: LayerRef) -> None:
    with scratch.container_rootfs("abc", [layer], store) as rootfs:
        assert rootfs.folder == scratch.root / "containers/abc/rootfs"
        assert rootfs.overlay is not None and rootfs.overlay.upper is not None
        (Path(rootfs.overlay.upper) / "kept").write_text("by the container")
    assert (rootfs.folder / "upper/kept").exists()
    Scratch.open(scratch.root, mode=IdMode.FAKEROOT)
    assert (rootfs.folder / "upper/kept").exists()
    remove_tree(scratch.places.container("abc"))
    assert not rootfs.folder.exists()


def test_a_folder_of_others_is_no_scratch(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 1, 1)
    with pytest.raises(StoreError, match="not a folder of uid 0"):
        Scratch.open(theirs, mode=IdMode.HOST)
    os.chown(theirs, 0, 0)
    theirs.chmod(0o777)
    with pytest.raises(StoreError, match="others can write in it") as caught:
        Scratch.open(theirs, mode=IdMode.HOST)
    assert caught.value.hint == f"run: chmod 0700 {theirs}"
    theirs.chmod(0o755)
    Scratch.open(theirs, mode=IdMode.HOST)
    (tmp_path / "link").symlink_to(theirs)
    with pytest.raises(StoreError, match="not a folder"):
        Scratch.open(tmp_path / "link", mode=IdMode.HOST)
    own = Scratch.open(tmp_path / "new", mode=IdMode.HOST)
    assert {path.stat().st_mode & 0o777 for path in (own.root, own.places.own, own.places.layers)} == {0o700}


def test_a_set_gid_folder_above_lends_no_group(tmp_path: Path, store: Store, layer: LayerRef) -> None:
    above = tmp_path / "group"
    above.mkdir()
    os.chown(above, 0, 12345)
    above.chmod(0o2755)
    scratch = Scratch.open(above / "scratch", mode=IdMode.FAKEROOT, overlay=0)
    with scratch.rootfs([layer], store) as rootfs:
        assert (rootfs.layers[0].root / "d/1").stat().st_gid == os.getegid()
        assert rootfs.layers[0].owners == {}


def test_a_full_disk_is_named_and_nothing_stays(layer: LayerRef, other: Start, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    child = other(layer, """
        scratch = Scratch.open(folder / "small" / "scratch", mode=IdMode.FAKEROOT, overlay=1)
        for _ in range(2):
            try:
                scratch.rootfs([layer], store)
            except DiskFull as error:
                print(error.message, "|", error.hint)
        print([os.listdir(place) for place in (scratch.places.runs, scratch.places.tmp, scratch.places.gone)])
    """, "unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=700k,mode=700 none {small} && exec "$@"', "sh")
    out, err = child.communicate(timeout=60)
    first, second, left = out.splitlines()
    assert first == second, err
    assert f"no space is left on the file system at {small} ({small}/scratch" in first
    assert "IECHOR_SCRATCH" in first
    assert left == "[[], [], []]"


def test_an_answer_of_the_kernel_about_overlays_is_remembered(tmp_path: Path, store: Store, layer: LayerRef) -> None:
    scratch = Scratch.open(tmp_path / "scratch", mode=IdMode.HOST)
    with scratch.rootfs([layer], store) as rootfs:
        known = json.loads((scratch.places.own / "overlay.json").read_text())
        assert (rootfs.overlay is not None) == (known["errno"] == 0)
        assert (scratch.fallback is None) == (known["errno"] == 0)
    (scratch.places.own / "overlay.json").write_text(json.dumps(known | {"errno": 1}))
    assert scratch.fallback is not None and "Operation not permitted" in scratch.fallback
    (scratch.places.own / "overlay.json").write_text(json.dumps(known | {"errno": 1, "boot": "another"}))
    assert scratch.fallback is None or known["errno"]


def flags(folder: Path, add: int = 0) -> int:
    """What lsattr shows, once `add` is among it: 0 where the file system has no such thing."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        packed = bytearray(8)
        fcntl.ioctl(fd, 0x80086601, packed)
        number = int.from_bytes(packed[:4], sys.byteorder)
        if add:
            fcntl.ioctl(fd, 0x40086602, (number | add).to_bytes(4, sys.byteorder))
        return number | add
    except OSError:
        return 0
    finally:
        os.close(fd)


def test_trees_begin_in_empty_parts_of_the_disk(tmp_path: Path) -> None:
    """Where the file system knows of it, as ext4 does: chattr +T. Not what lies in a tree, which stays together."""
    top = 0x20000
    known = bool(flags(tmp_path, add=top) & top)
    places = Scratch.open(tmp_path / "scratch", mode=IdMode.FAKEROOT, overlay=0).places
    (places.tmp / "tree").mkdir()
    assert [bool(flags(path) & top) for path in (places.runs, places.tmp, places.tmp / "tree")] == [known, known, False]
