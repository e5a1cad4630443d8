"""Trees: symlinks resolve as chroot would, and layers apply as the image spec says."""

import pytest

from rootless_builder.paths import image_path
from rootless_builder.tree.changes import ChangeSet, Opaque, Put, Remove
from rootless_builder.tree.node import Directory, File, Inline, Meta, Symlink
from rootless_builder.tree.tree import SymlinkLoop, Tree


def put(path, what=None):
    node = Directory(Meta(0o755)) if what is None else Symlink(Meta(0o777), what)
    return Put(image_path(path), node)


def grown(*changes, below=None):
    return (below or Tree.empty()).apply(ChangeSet.of(changes))


@pytest.mark.parametrize(("path", "expected"), [
    ("a/l/x", "real/x"), ("a/abs/y", "real/y"), ("up/z", "z"), ("a/l", "real"), ("nothing/here", "nothing/here"),
    ("chain/q", "real/q"), ("dots", "a/real"),
])
def test_resolve(path, expected):
    tree = grown(put("real"), put("a"), put("a/l", "../real"), put("a/abs", "/real"), put("up", "../../.."),
                 put("chain", "a/l/."), put("dots", "a/./x/../real"))
    assert tree.resolve(image_path(path)) == expected


def test_a_loop_ends():
    with pytest.raises(SymlinkLoop):
        grown(put("a", "b"), put("b", "a")).resolve(image_path("a/x"))


def test_the_last_symlink_may_be_meant_itself():
    assert grown(put("l", "real")).resolve(image_path("l"), follow_last=False) == "l"


def test_a_layer_applies():
    lower = grown(put("d"), put("d/old"), put("gone"), put("gone/x"), put("f", "t"))
    after = grown(Remove(image_path("gone")), Opaque(image_path("d")), put("d"), put("d/new"), put("f"), below=lower)
    assert [path for path, _ in after.walk()] == ["", "d", "d/new", "f"]
    assert [path for path, _ in lower.walk()] == ["", "d", "d/old", "f", "gone", "gone/x"]


def test_an_entry_below_a_lower_symlink_lands_behind_it():
    after = grown(put("bin/x"), below=grown(put("usr/bin"), put("bin", "usr/bin")))
    assert after.lookup(image_path("usr/bin/x")) is not None
    assert isinstance(after.lookup(image_path("bin")), Symlink)


def test_walk_is_in_canonical_order_and_names_are_bytes():
    tree = grown(*(put(name) for name in ("a.b", "a", "a/z", "\udcff", "é")))
    assert [path for path, _ in tree.walk()][1:] == ["a", "a/z", "a.b", "é", "\udcff"]


def test_a_hard_link_is_one_file():
    file = File(Meta(0o644), Inline(b""), 0)
    tree = grown(Put(image_path("a"), file), Put(image_path("b"), file))
    assert tree.lookup(image_path("a")) is tree.lookup(image_path("b"))
