"""A layer on disk says what the layer said, in either way of keeping owners, and nothing lands outside."""

import os
import stat
import sys
from pathlib import Path

import pytest

from rootless_builder.errors import OwnershipError, UnsafeArchive
from rootless_builder.paths import ImagePath
from rootless_builder.sandbox.idmap import IdMode
from rootless_builder.scratch.lowers import Lowers
from rootless_builder.scratch.scratch import Scratch
from rootless_builder.scratch.unpacked import UnpackedLayer, Unpacker
from rootless_builder.store import Store
from rootless_builder.tree.changes import Change, Opaque, Put, Remove
from rootless_builder.tree.node import Device, Directory, File, Inline, Meta, Node, Symlink
from rootless_builder.tree.tree import Tree
from tests.conftest import Person

from .conftest import MakeLayer, folder, text

TIME = 1_700_000_000_123_456_789
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep, see capabilities(7)


def everything() -> list[Change]:
    linked = File(Meta(0o640, 7, 8, TIME), Inline(b"linked"), 6)
    sparse = bytes(3 << 20) + b"end"
    nodes: dict[str, Node] = {
        "d": Directory(Meta(0o2775, 10, 20, TIME, (("user.folder", b"x"),))),
        "d/secret": Directory(Meta(0o000, 0, 0, TIME)),
        "d/secret/file": File(Meta(0o000, 1, 2, TIME), Inline(b"hidden"), 6),
        "d/one": linked, "d/two": linked,
        "empty": File(Meta(0o4711, 0, 0, -TIME), Inline(b""), 0),
        "caps": File(Meta(0o755, 0, 0, TIME, (("security.capability", CAPABILITY), ("user.a", b"\0\xff"))),
                     Inline(b"x"), 1),
        "null": Device(Meta(0o666, 0, 0, TIME), stat.S_IFCHR, 1, 3),
        "disk": Device(Meta(0o660, 0, 6, TIME), stat.S_IFBLK, 259, 70_000),
        "fifo": Device(Meta(0o600, 3, 3, TIME), stat.S_IFIFO),
        "link": Symlink(Meta(0o777, 65534, 4204350, TIME), "../../.." + "/x" * 200),
        "sparse": File(Meta(0o644, 0, 0, TIME), Inline(sparse), len(sparse)),
        os.fsdecode(b"\xff\x01 name"): File(Meta(0o644, 445605, 0, 0), Inline(b"?"), 1),
        "n" * 255: Directory(Meta(0o1777, 0, 0, TIME)),
    }
    return [Put(ImagePath(path), node) for path, node in nodes.items()]


def read(node: Node) -> bytes:
    assert isinstance(node, File)
    fd, offset = node.content.open()
    try:
        return os.pread(fd, node.size + 1, offset) if offset == 0 else os.pread(fd, node.size, offset)
    finally:
        os.close(fd)


def same(one: Node | None, other: Node | None) -> bool:
    if isinstance(one, File) and isinstance(other, File):
        return one.meta == other.meta and read(one)[:one.size] == read(other)[:other.size]
    if isinstance(one, Directory) and isinstance(other, Directory):
        return one.meta == other.meta
    return one == other


def check(unpacked: tuple[UnpackedLayer, ...], ids: IdMode, tree: Tree) -> None:
    """The unpacked layers, seen as one, are the tree: no path more, none less."""
    lowers = Lowers(ids, unpacked)
    pending, seen = [""], {""}
    while pending:
        here = pending.pop()
        for name in lowers.names(here):
            path = f"{here}/{name}" if here else name
            found = lowers.find(path)
            assert found is not None
            assert same(lowers.node(found), tree.lookup(ImagePath(path))), path
            seen.add(path)
            if found.is_folder:
                pending.append(path)
    assert seen == {path for path, _ in tree.walk()}


@pytest.mark.parametrize("ids", [IdMode.FAKEROOT, IdMode.HOST])
def test_everything_a_layer_can_say_is_read_back(store: Store, tmp_path: Path, make_layer: MakeLayer,
                                                 ids: IdMode) -> None:
    """As root: the other half, that a plain user can do the first, is test_rootfs.py's."""
    scratch = Scratch.open(tmp_path / "scratch", mode=ids, overlay=0)
    layer = make_layer(everything())
    unpacked = Unpacker(scratch.places, store).unpack([layer])
    check(unpacked, ids, store.trees.load([layer]))
    root = unpacked[0].root
    assert (root / "d/one").stat().st_ino == (root / "d/two").stat().st_ino
    assert (root / "sparse").stat().st_blocks * 512 < 1 << 20
    for path in [root, *root.rglob("*")] if ids is IdMode.FAKEROOT else []:
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
        assert stat.S_ISLNK(status.st_mode) or status.st_mode & 0o600 == 0o600
        assert not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o700 == 0o700
        assert not stat.S_ISCHR(status.st_mode)


LOWER = [folder("bin", 0o700, 5, 6), text("bin/sh", "sh"), folder("usr", 0o711), folder("usr/lib", 0o750, 1, 1),
         text("usr/lib/old", "old"), Put(ImagePath("lib"), Symlink(Meta(0o777), "usr/lib")),
         Put(ImagePath("loop"), Symlink(Meta(0o777), "loop")), text("file", "file"),
         folder("opq"), folder("opq/sub"), text("opq/sub/x"), folder("gone"), text("gone/x"), folder("back"),
         text("back/x")]


@pytest.mark.parametrize("upper", [
    [text("usr/lib/new", "new")],                                        # folders that only the layer below has
    [text("lib/behind", "x")],                                           # behind a symlink of the layer below
    [Remove(ImagePath("lib/old"))],
    [Opaque(ImagePath("opq")), folder("opq", 0o777), text("opq/y")],
    [Opaque(ImagePath("opq")), Remove(ImagePath("opq/sub"))],            # deletes nothing, and must not be seen
    [Opaque(ImagePath("opq/sub"))],
    [Remove(ImagePath("gone"))],
    [Remove(ImagePath("back")), folder("back", 0o700), text("back/y")],
    [Remove(ImagePath("back")), text("back/y")],
    [text("bin", "a file now")],
    [folder("file", 0o755), text("file/x", "a folder now")],
    [text("file/x", "the same without saying so")],
    [Put(ImagePath("bin"), Symlink(Meta(0o777), "usr/lib"))],
    [text("no/parents/at/all")],
    [Opaque(ImagePath("")), text("only")],
    [folder("", 0o711, 9, 9), text("with-root")],
    [],
], ids=range(17))
def test_two_layers_are_what_their_trees_say(store: Store, scratch: Scratch, make_layer: MakeLayer,
                                             upper: list[Change]) -> None:
    layers = [make_layer(LOWER), make_layer(upper)]
    unpacked = Unpacker(scratch.places, store).unpack(layers)
    check(unpacked, IdMode.FAKEROOT, store.trees.load(layers))
    again = Unpacker(scratch.places, store).unpack([*layers, make_layer([text("bin/third"), text("usr/third")])])
    check(again, IdMode.FAKEROOT, store.trees.load([*layers, make_layer([text("bin/third"), text("usr/third")])]))


def test_a_folder_left_out_has_what_it_has_in_the_layers_below(store: Store, scratch: Scratch,
                                                                make_layer: MakeLayer) -> None:
    """So the same layer is unpacked apart for another chain."""
    upper = make_layer([text("bin/new")])
    for mode in (0o700, 0o755):
        layers = [make_layer([folder("bin", mode)]), upper]
        check(Unpacker(scratch.places, store).unpack(layers), IdMode.FAKEROOT, store.trees.load(layers))
    own = make_layer([folder("bin", 0o711), text("bin/new")])
    for mode in (0o700, 0o755):
        Unpacker(scratch.places, store).unpack([make_layer([folder("bin", mode)]), own])
    names = sorted(path.name for path in scratch.places.layers.iterdir())
    assert len([name for name in names if name.startswith(upper.diff_id.hex[:32])]) == 2
    assert [name for name in names if name.startswith(own.diff_id.hex[:32])] == [own.diff_id.hex[:32]]


def test_no_symlink_leads_out(store: Store, scratch: Scratch, make_layer: MakeLayer, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("as it was")
    links = [Put(ImagePath("abs"), Symlink(Meta(0o777), str(outside))),
             Put(ImagePath("up"), Symlink(Meta(0o777), "../" * 30 + str(outside).lstrip("/")))]
    uppers = [[text("abs/victim", "changed")], [text("up/new")], [Remove(ImagePath("abs/victim"))],
              [Opaque(ImagePath("up"))]]
    for upper in uppers:
        layers = [make_layer(links), make_layer(upper)]
        check(Unpacker(scratch.places, store).unpack(layers), IdMode.FAKEROOT, store.trees.load(layers))
    with pytest.raises(UnsafeArchive, match="too many symbolic links"):
        Unpacker(scratch.places, store).unpack([make_layer(LOWER), make_layer([text("loop/x")])])
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"victim": "as it was"}


def test_attributes_of_the_layer_are_not_overlayfs_marks(store: Store, scratch: Scratch,
                                                         make_layer: MakeLayer) -> None:
    marks = (("trusted.overlay.opaque", b"y"), ("user.overlay.opaque", b"y"), ("user.overlay.redirect", b"/etc"))
    layer = make_layer([Put(ImagePath("d"), Directory(Meta(0o755, 0, 0, 0, marks)))])
    (unpacked,) = Unpacker(scratch.places, store).unpack([layer])
    assert os.listxattr(unpacked.root / "d") == []
    assert unpacked.owners == {}


def test_a_blob_that_changed_on_disk_is_not_unpacked(store: Store, scratch: Scratch, make_layer: MakeLayer) -> None:
    layer = make_layer([text("a", "x" * 3000), text("b", "y")])
    path = store.blobs.path(layer.diff_id)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    for damage in (bytes(data), bytes(data[:2048])):
        path.write_bytes(damage)
        with pytest.raises(UnsafeArchive):
            Unpacker(scratch.places, store).unpack([layer])
        for place in (scratch.places.layers, scratch.places.tmp, scratch.places.gone):
            assert os.listdir(place) == []


def test_a_device_in_a_user_namespace_is_refused_by_name(subuid_user: Person, store: Store,
                                                         make_layer: MakeLayer) -> None:
    """newuidmap's root may not make devices; the message says which, and what to do."""
    code = """
import os, pwd, sys
from pathlib import Path
from rootless_builder.errors import OwnershipError
from rootless_builder.sandbox.idmap import IdMode, subuid_map
from rootless_builder.sandbox.launcher import reexec_mapped
if os.geteuid():
    user = pwd.getpwuid(os.getuid())
    maps, helpers = subuid_map(user.pw_name, user.pw_uid, user.pw_gid)
    reexec_mapped(maps, helpers, [sys.executable, *sys.argv], dict(os.environ))
import stat
from rootless_builder.paths import ImagePath
from rootless_builder.scratch.layerplan import LayerPlan
from rootless_builder.scratch.unpack import LayerWriter
from rootless_builder.tree.node import Device, Directory, Meta
null, owned = Device(Meta(0o666), stat.S_IFCHR, 1, 3), Device(Meta(0o600, 4204350), stat.S_IFIFO)
for path, node in (("null", null), ("owned", owned)):
    os.mkdir(path + ".d")
    plan = LayerPlan(folders={ImagePath(""): Meta(0o755)}, nodes={ImagePath(path): node})
    try:
        LayerWriter(os.open(path + ".d", os.O_RDONLY), IdMode.SUBUID, plan)._write_small()
    except OwnershipError as error:
        print(error.message, "|", error.hint)
"""
    done = subuid_user.run(sys.executable, subuid_user.write("refused.py", code))
    device, owner = done.stdout.splitlines()
    assert device == ("cannot make the device /null: the kernel refuses it in a user namespace "
                      "| use --userns=fakeroot, which keeps devices")
    assert owner == ("cannot give /owned its owner 4204350:0: the ids of this user namespace do not reach that far "
                     "| use --userns=fakeroot, which keeps any owner")
    assert OwnershipError.exit_code == 12

