"""Where COPY puts what: BuildKit's rules, one case each."""

import pytest

from rootless_builder.errors import SourceError
from rootless_builder.paths import image_path
from rootless_builder.plan.filemode import FileMode
from rootless_builder.steps.copying import Copier, CopyRules, find_sources
from rootless_builder.tree.changes import ChangeSet, Put
from rootless_builder.tree.node import Directory, File, Inline, Meta, Symlink
from rootless_builder.tree.overlay import Overlay
from rootless_builder.tree.tree import Tree


def tree(*paths):
    """"d/" a folder, "l -> t" a symlink, else a file whose content is its name."""
    changes = []
    for path in paths:
        name, arrow, target = path.partition(" -> ")
        if arrow:
            changes.append(Put(image_path(name), Symlink(Meta(0o777), target)))
        elif path.endswith("/"):
            changes.append(Put(image_path(path), Directory(Meta(0o711, 7, 7, 77))))
        else:
            changes.append(Put(image_path(path), File(Meta(0o640, 5, 6, 55), Inline(path.encode()), len(path))))
    return Tree.empty().apply(ChangeSet.of(changes))


def copied(source, pattern, dest, below=(), **rules):
    overlay = Overlay(tree(*below))
    copier = Copier(overlay, CopyRules(made=99, **rules))
    for path in find_sources(source, pattern):
        copier.copy(source, path, dest)
    return overlay


def names(overlay):
    return [change.path for change in overlay.changes()]


@pytest.mark.parametrize(("pattern", "dest", "below", "expected"), [
    ("f", "/g", (), ["g"]),
    ("f", "/d/", (), ["d", "d/f"]),
    ("f", "/d", ("d/",), ["d/f"]),
    ("f", "/a/b/g", (), ["a", "a/b", "a/b/g"]),
    ("d", "/", (), ["x", "y", "y/z"]),
    ("d", "/new", (), ["new", "new/x", "new/y", "new/y/z"]),
    ("d/", "/new/", (), ["new", "new/x", "new/y", "new/y/z"]),
    ("d/*", "/n/", (), ["n", "n/x", "n/z"]),
    ("./d/../f", "/", (), ["f"]),
    ("../../f", "/", (), ["f"]),
    ("/f", "/", (), ["f"]),
    ("*.none", "/n/", (), []),
    ("l", "/n", (), ["n"]),
    ("ld", "/n", (), ["n", "n/x", "n/y", "n/y/z"]),
    ("f", "/lnk", ("real/", "lnk -> real"), ["real/f"]),
    ("f", "/lnk/", ("lnk -> /real",), ["real", "real/f"]),
    ("f", "/old", ("old",), ["old"]),
])
def test_where_sources_land(pattern, dest, below, expected):
    source = tree("f", "d/", "d/x", "d/y/", "d/y/z", "l -> f", "ld -> d")
    assert names(copied(source, pattern, dest, below)) == expected


def test_a_symlink_below_a_copied_folder_stays_a_symlink():
    overlay = copied(tree("d/", "d/l -> ../secret"), "d", "/n")
    assert overlay.tree.lookup(image_path("n/l")).target == "../secret"


def test_folders_made_for_a_target_are_0755_of_root_and_those_that_were_there_stay():
    overlay = copied(tree("f"), "f", "/old/new/", ("old/",))
    assert overlay.tree.lookup(image_path("old")).meta == Meta(0o711, 7, 7, 77)
    assert overlay.tree.lookup(image_path("old/new")).meta == Meta(0o755, 0, 0, 99)


def test_a_file_keeps_the_owner_and_mode_of_its_source_unless_told_otherwise():
    assert copied(tree("f"), "f", "/g").tree.lookup(image_path("g")).meta == Meta(0o640, 5, 6, 55)
    told = copied(tree("f"), "f", "/n/", owner=(42, 43), mode=FileMode.parse("4755")).tree
    assert told.lookup(image_path("n/f")).meta == Meta(0o4755, 42, 43, 55)
    assert told.lookup(image_path("n")).meta == Meta(0o755, 42, 43, 99)


def test_the_folder_copied_onto_keeps_its_mode_and_those_below_take_the_sources():
    overlay = copied(tree("d/", "d/s/", "d/s/f"), "d", "/n", ("n/", "n/s/"), owner=(1, 1))
    assert overlay.tree.lookup(image_path("n")).meta.uid == 7
    assert overlay.tree.lookup(image_path("n/s")).meta.uid == 1


def test_hard_links_within_one_source_stay_hard_links():
    file = File(Meta(0o644), Inline(b"x"), 1)
    source = tree("d/").apply(ChangeSet.of([Put(image_path("d/a"), file), Put(image_path("d/b"), file)]))
    after = copied(source, "d", "/n/").tree
    assert after.lookup(image_path("n/a")) is after.lookup(image_path("n/b"))
    after = copied(source, "d/*", "/n/").tree
    assert after.lookup(image_path("n/a")) is not after.lookup(image_path("n/b"))


@pytest.mark.parametrize(("below", "dest", "message"), [
    (("f/",), "/f", None), (("d/", "d/f/"), "/d", "cannot replace to directory /d/f with file"),
    (("g",), "/g/", "cannot make the folder /g"), (("a -> b", "b -> a"), "/a/", "too many levels"),
])
def test_what_is_in_the_way_is_named(below, dest, message):
    if message is None:
        assert names(copied(tree("f"), "f", dest, below)) == ["f/f"]
        return
    with pytest.raises(SourceError, match=message):
        copied(tree("f"), "f", dest, below)


def test_a_folder_does_not_replace_a_file_nor_a_symlink_to_a_folder():
    for below in (("s",), ("real/", "s -> real")):
        with pytest.raises(SourceError, match="cannot copy to non-directory: /s"):
            copied(tree("d/", "d/s/", "d/s/f"), "d", "/", below)


@pytest.mark.parametrize(("pattern", "expected"), [
    ("?", ["a", "b"]), ("[ab]", ["a", "b"]), ("[^a]*", ["b", "cc"]), ("*/x", ["cc/x"]), ("c*", ["cc"]),
    ("\\a", ["\\a"]),
])
def test_wildcards_are_those_of_go(pattern, expected):
    assert find_sources(tree("a", "b", "cc/", "cc/x"), pattern) == expected


def test_a_malformed_pattern_is_an_error():
    with pytest.raises(SourceError, match="bad pattern"):
        find_sources(tree("a"), "[a")
