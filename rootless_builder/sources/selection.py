"""The digest of what a COPY takes from a folder: names, kinds, contents and the bits that matter; nothing else.

Never times, owners, or what a umask decides: the same commit cloned by two users gives one digest.
"""

import hashlib
import stat
from collections.abc import Iterable

from ..errors import SourceError
from ..layercore import hash_files
from ..paths import ImagePath, encode
from ..tree.node import Device, Directory, File, HostFile, Node, Symlink
from ..tree.tree import Tree

SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def selection_digest(tree: Tree, root_fd: int, found: Iterable[tuple[ImagePath, ImagePath]]) -> str:
    """64 hex digits. found: (path as named, path it leads to); root_fd: the folder that HostFiles are below.

    Every file is read once. Errors: SourceError for one that cannot be read.
    """
    digest = hashlib.sha256()
    files: list[bytes] = []
    for named, path in found:
        digest.update(b"source\0" + encode(named) + b"\0")
        for inner, node in tree.walk(path):
            relative = inner[len(path):].lstrip("/")
            digest.update(encode(relative) + b"\0" + _told(node) + b"\0")
            if isinstance(node, File):
                assert isinstance(node.content, HostFile)
                files.append(node.content.path)
    for content in _hashes(root_fd, files):
        digest.update(content)
    return digest.hexdigest()


def _hashes(root_fd: int, files: list[bytes]) -> list[bytes]:
    try:
        return hash_files(root_fd, files)
    except OSError as error:
        name = error.filename.decode("utf-8", "replace") if isinstance(error.filename, bytes) else error.filename
        raise SourceError(f"cannot read {name or 'a source file'}: {error.strerror}",
                          hint="make it readable, or exclude it in .iechorignore") from error


def _told(node: Node) -> bytes:
    """What of a node counts, its content apart."""
    xattrs = b"".join(encode(name) + b"=" + value + b"\0" for name, value in node.meta.xattrs)
    special = node.meta.mode & SPECIAL_BITS
    if isinstance(node, File):
        return b"f%o:%d:%d:" % (special, bool(node.meta.mode & stat.S_IXUSR), node.size) + xattrs
    if isinstance(node, Directory):
        return b"d%o:" % special + xattrs
    if isinstance(node, Symlink):
        return b"l" + encode(node.target) + b"\0" + xattrs
    assert isinstance(node, Device)
    return b"n%o:%d:%d:" % (node.kind, node.major, node.minor) + xattrs
