"""Whom "user[:group]" means in an image: by its own /etc/passwd and /etc/group."""

from collections.abc import Iterator

from ..contexts.buildfile import read_file
from ..errors import SourceError
from ..events import Emit, Notice
from ..paths import image_path
from ..tree.node import File
from ..tree.tree import Tree
from .copying import resolve


def find_owner(text: str, tree: Tree, emit: Emit) -> tuple[int, int]:
    """"user[:group]", by name or number, in the image's own /etc/passwd and /etc/group.

    A number needs no entry; a user without a group has the group of its entry, or of its own number. An unknown user
    is root, and an unknown group leaves the user's, as in BuildKit; both are said. Errors: SourceError (a name, where
    the image has no files at all, or no file of that kind).
    """
    user, colon, group = text.partition(":")
    uid, gid = _lookup(user, "etc/passwd", tree, emit) or (0, 0)
    return (uid, (_lookup(group, "etc/group", tree, emit) or (gid, 0))[0]) if colon else (uid, gid)


def _lookup(name: str, file: str, tree: Tree, emit: Emit) -> tuple[int, int] | None:
    """(id, the group that comes with it); None where there is none."""
    if name in ("root", ""):
        return 0, 0
    if name.isascii() and name.isdigit():
        return int(name), int(name)
    if not tree.root.entries:
        raise SourceError(f"cannot tell who {name} is: the image has no files yet, and so no /{file}",
                          hint="give a number")
    for fields in _entries(file, tree):
        if fields[0] == name and len(fields) > 2 and fields[2].isdigit():
            group = fields[3] if file == "etc/passwd" and len(fields) > 3 and fields[3].isdigit() else fields[2]
            return int(fields[2]), int(group)
    instead = "root is" if file == "etc/passwd" else "the user's own group is"
    emit(Notice(text=f"there is no {name} in the image's /{file}: {instead} taken, as BuildKit does", level="warning"))
    return None


def _entries(file: str, tree: Tree) -> Iterator[list[str]]:
    node = tree.lookup(resolve(tree, image_path(file)))
    if node is not None and not isinstance(node, File):
        raise SourceError(f"cannot look up users and groups: the image's /{file} is not a regular file",
                          hint="give numbers")
    if isinstance(node, File):
        for line in read_file(node).decode("utf-8", "replace").splitlines():
            yield line.split(":")
