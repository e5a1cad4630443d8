"""The Overlay against pyfakefs: the same random operations on both, the same tree after; and the changes it recorded,
applied to the lower tree, give that tree too."""

import os
import stat

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyfakefs.fake_filesystem_unittest import Patcher

from rootless_builder.paths import ROOT, image_path
from rootless_builder.tree.changes import ChangeSet, Put
from rootless_builder.tree.node import Directory, File, Inline, Meta, Symlink
from rootless_builder.tree.overlay import Overlay
from rootless_builder.tree.tree import Tree

NAMES = st.sampled_from(["a", "b", "c", "a/a", "a/b", "b/a", "a/b/c", "b/a/c"])
OPERATIONS = st.lists(st.tuples(st.sampled_from(["file", "dir", "link", "remove", "mkdirs"]), NAMES), max_size=25)


def play(overlay, fake_root, operations):
    """Each operation on both; what one refuses the other must refuse."""
    for serial, (what, name) in enumerate(operations):
        path, host = image_path(name), os.path.join(fake_root, name)
        assert refused(on_overlay, overlay, what, path, serial) == refused(on_disk, what, host, serial), (what, name)


def refused(act, *args):
    try:
        act(*args)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def on_overlay(overlay, what, path, serial):
    if what == "file":
        overlay.put(path, File(Meta(0o644), Inline(b"%d" % serial), len(b"%d" % serial)))
    elif what == "dir":
        overlay.put(path, Directory(Meta(0o755)))
    elif what == "link":
        overlay.put(path, Symlink(Meta(0o777), f"t{serial}"))
    elif what == "remove":
        overlay.remove(path)
    else:
        overlay.make_folders(path, Meta(0o755))


def on_disk(what, host, serial):
    if what == "remove":
        wipe(host)
        return
    if what == "mkdirs":
        try:
            os.makedirs(host, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError from error
        return
    os.listdir(os.path.dirname(host))
    if what == "dir" and os.path.isdir(host) and not os.path.islink(host):
        return
    if os.path.lexists(host):
        wipe(host)
    if what == "dir":
        os.mkdir(host)
    elif what == "link":
        os.symlink(f"t{serial}", host)
    else:
        with open(host, "wb") as sink:
            sink.write(b"%d" % serial)


def wipe(host):
    if stat.S_ISDIR(os.lstat(host).st_mode):
        for name in os.listdir(host):
            wipe(os.path.join(host, name))
        os.rmdir(host)
    else:
        os.unlink(host)


def shape(tree):
    found = {}
    for path, node in tree.walk():
        if path != ROOT:
            found[path] = shape_of(node)
    return found


def shape_of(node):
    if isinstance(node, File):
        return ("file", node.content.data)
    return ("link", node.target) if isinstance(node, Symlink) else ("dir",)


def disk_shape(root):
    found = {}
    for folder, dirs, files in os.walk(root):
        for name in dirs + files:
            host = os.path.join(folder, name)
            path = os.path.relpath(host, root)
            if os.path.islink(host):
                found[path] = ("link", os.readlink(host))
            elif os.path.isdir(host):
                found[path] = ("dir",)
            else:
                with open(host, "rb") as source:
                    found[path] = ("file", source.read())
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=OPERATIONS, during=OPERATIONS)
def test_the_overlay_agrees_with_a_file_system(before, during):
    with Patcher() as patcher:
        patcher.fs.create_dir("/root-of-test")
        first = Overlay(Tree.empty())
        play(first, "/root-of-test", before)
        lower = first.freeze()
        kept = shape(lower)
        overlay = Overlay(lower)
        play(overlay, "/root-of-test", during)
        after = overlay.freeze()
        assert shape(after) == disk_shape("/root-of-test")
        assert shape(lower) == kept, "the lower tree changed"
        assert shape(lower.apply(overlay.changes())) == shape(after)


def test_a_folder_replaced_by_itself_hides_what_the_lower_one_held():
    lower = Tree.empty().apply(ChangeSet.of([Put(image_path("d"), Directory(Meta(0o755))),
                                             Put(image_path("d/old"), Symlink(Meta(0o777), "x"))]))
    overlay = Overlay(lower)
    overlay.remove(image_path("d"))
    overlay.put(image_path("d"), Directory(Meta(0o700)))
    assert [type(change).__name__ for change in overlay.changes()] == ["Opaque", "Put"]
    assert lower.apply(overlay.changes()).lookup(image_path("d/old")) is None


def test_a_folder_that_was_a_file_meanwhile_hides_what_the_lower_one_held():
    """As when layers are squashed of which one replaces the folder and the next one the file."""
    lower = Tree.empty().apply(ChangeSet.of([Put(image_path("d"), Directory(Meta(0o755))),
                                             Put(image_path("d/old"), Symlink(Meta(0o777), "x"))]))
    overlay = Overlay(lower)
    overlay.put(image_path("d"), Symlink(Meta(0o777), "elsewhere"))
    overlay.put(image_path("d"), Directory(Meta(0o700)))
    assert lower.apply(overlay.changes()).lookup(image_path("d/old")) is None
