"""Whom "user[:group]" means in an image: by its own /etc/passwd and /etc/group."""

from collections.abc import Iterator

from .buildfile import read_file
from .copying import resolve
from .events import Emit, Notice
from .paths import image_path
from .tree.node import File
from .tree.tree import Tree


def find_owner(text: str, tree: Tree, emit: Emit) -> tuple[int, int]:
    """"user[:group]", by name or number, in the image's own /etc/passwd and /etc/group.

    A number needs no entry; a user without a group has the group of its entry, or of its own number. An unknown name
    is root, as in BuildKit, and said.
    """
    user, colon, group = text.partition(":")
    uid, gid = _lookup(user, "etc/passwd", tree, emit)
    return (uid, _lookup(group, "etc/group", tree, emit)[0]) if colon and group else (uid, gid)


def _lookup(name: str, file: str, tree: Tree, emit: Emit) -> tuple[int, int]:
    """(id, the group that comes with it)."""
    if name in ("root", ""):
        return 0, 0
    if name.isascii() and name.isdigit():
        return int(name), int(name)
    for fields in _entries(file, tree):
        if fields[0] == name and len(fields) > 2 and fields[2].isdigit():
            group = fields[3] if file == "etc/passwd" and len(fields) > 3 and fields[3].isdigit() else fields[2]
            return int(fields[2]), int(group)
    emit(Notice(text=f"there is no {name} in the image's /{file}: root is taken, as BuildKit does", level="warning"))
    return 0, 0


def _entries(file: str, tree: Tree) -> Iterator[list[str]]:
    node = tree.lookup(resolve(tree, image_path(file)))
    if isinstance(node, File):
        for line in read_file(node).decode("utf-8", "replace").splitlines():
            yield line.split(":")
