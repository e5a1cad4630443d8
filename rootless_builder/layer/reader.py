"""A tar that nobody vouches for → ChangeSet: the layer of an image, or an archive that ADD extracts.

What ends up in the set is what containerd would have put on disk, with stricter manners: nothing leaves the root,
nothing goes through a symlink, a later entry replaces an earlier one (a folder on a folder only its metadata), and
a deletion is about lower layers alone, wherever in the tar it stands (image-spec layer.md).

    "/x", "./x", "x/"      → x                  "a/../x", "s/x" where s is a symlink or a file     refused
    a/b without a          → Put(a/b) only      a hard link to what is not (yet) in this tar       refused
    device nodes, FIFOs    → nodes like others  deletions of "", "." and ".."                      refused
"""

import stat
from collections.abc import Iterator

from ..errors import UnsafeArchive
from ..paths import ROOT, ImagePath, basename, decode, encode, join, parent
from ..tree.changes import Change, ChangeSet, Opaque, Put, Remove
from ..tree.node import Content, Device, Directory, File, Meta, Node, Symlink
from ..values import dataclass
from . import index, whiteout
from .archive import Limits, TarReader
from .compress import Readable
from .content import TarExtents, TarRange
from .entry import BLOCK_DEVICE, CHARACTER, DIRECTORY, HARD_LINK, REGULAR, SYMLINK, Entry, refuse, told
from .index import HardLink, Packer, Rows

__all__ = ["Limits", "read_index", "read_layer"]

_MAX_PATH = 4096  # PATH_MAX and NAME_MAX of Linux: what is longer cannot be made on any disk
_MAX_NAME = 255
_DEFAULT_LIMITS = Limits()
_DEVICES = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}


@dataclass(frozen=True, slots=True)
class _AufsFile:
    """Bytes that hard links of an old docker layer lead to (whiteout.AUFS_LINKS), themselves nowhere in the image."""

    path: ImagePath
    node: File


_Said = Change | HardLink | _AufsFile | Rows


def read_layer(stream: Readable, *, limits: Limits = _DEFAULT_LIMITS, whiteouts: bool = True) -> ChangeSet:
    """Read the uncompressed tar `stream` to its very end.

    whiteouts: names with .wh. are deletions, as in a layer; False for other archives, where they are plain files.
    Each File's content is its place in the tar (content.bind makes it readable). Errors: UnsafeArchive, and what
    `stream.read` raises.
    """
    said = _read(stream, limits, whiteouts)
    packer = _arranged(said, limits)
    return ChangeSet(tuple(_judged(said, limits).changes())) if packer is None else packer.changes()


def read_index(stream: Readable, *, limits: Limits = _DEFAULT_LIMITS) -> bytes:
    """`index.dump(read_layer(stream))`, without an object for each entry where the layer core can do it."""
    said = _read(stream, limits, whiteouts=True)
    packer = _arranged(said, limits)
    return index.dump(_judged(said, limits).changes()) if packer is None else packer.dump()


def _read(stream: Readable, limits: Limits, whiteouts: bool) -> list[_Said]:
    """All that the tar says, in its order, each entry by itself being right."""
    said: list[_Said] = []
    count = 0
    try:
        for found in TarReader(stream, limits):
            one = found if isinstance(found, Rows) else _meaning(found, whiteouts)
            if one is not None:
                said.append(one)
                count += len(one) if isinstance(one, Rows) else bool(one.path)
            if count > limits.entries:
                raise refuse("it has too many entries")
    except UnsafeArchive:
        _judged(said, limits)  # before what is wrong with this entry comes what is wrong with those before it
        raise
    return said


def _arranged(said: list[_Said], limits: Limits) -> Packer | None:
    """The index, where the core took part in reading and need only sort; a layer of any oddity is `_Layer`'s."""
    kinds = set(map(type, said))
    if Rows not in kinds or _AufsFile in kinds:
        return None
    packer = Packer()
    for one in said:
        if isinstance(one, Rows):
            packer.add_packed(one.records, one.paths, one.targets)
        elif isinstance(one, HardLink):
            packer.add_link(one.path, one.target)
        elif not isinstance(one, _AufsFile):
            packer.add(0, one)
    return packer if packer.arrange(limits.entries) else None


def _judged(said: list[_Said], limits: Limits) -> "_Layer":
    """Errors: UnsafeArchive."""
    layer = _Layer(limits)
    for one in said:
        if isinstance(one, Rows):
            for row in one:
                layer.take(row)
        else:
            layer.take(one)
    return layer


def clean_path(name: bytes) -> ImagePath:
    """An entry's name as a path of the image. Errors: UnsafeArchive where it would leave the root, or is too long."""
    parts = [part for part in decode(name).split("/") if part and part != "."]
    if ".." in parts:
        raise refuse(f"{told(name)} leads out of it")
    if len(name) > _MAX_NAME and (len(name) > _MAX_PATH or max(map(len, name.split(b"/"))) > _MAX_NAME):
        raise refuse(f"the name {told(name[:60])}… is too long")
    return ImagePath("/".join(parts))


def _meaning(entry: Entry, whiteouts: bool) -> Change | HardLink | _AufsFile | None:
    """None for the book-keeping of AUFS. Errors: UnsafeArchive."""
    path = clean_path(entry.name)
    if whiteouts and whiteout.is_reserved(path):
        if parent(path) == whiteout.AUFS_LINKS and entry.kind == REGULAR:
            return _AufsFile(path, File(_meta(entry), _content(entry), entry.size))
        return whiteout.parse(path)
    if entry.kind == HARD_LINK:
        return HardLink(path, clean_path(entry.target))
    return Put(path, _node(entry))


def _node(entry: Entry) -> Node:
    meta = _meta(entry)
    if entry.kind == REGULAR:
        return File(meta, _content(entry), entry.size)
    if entry.kind == DIRECTORY:
        return Directory(meta)
    if entry.kind == SYMLINK:
        if not entry.target or len(entry.target) > _MAX_PATH:
            raise refuse(f"the symlink {told(entry.name)} leads nowhere")
        return Symlink(Meta(0o777, meta.uid, meta.gid, meta.mtime, meta.xattrs), decode(entry.target))
    return Device(meta, _DEVICES.get(entry.kind, stat.S_IFIFO), entry.major, entry.minor)


def _meta(entry: Entry) -> Meta:
    xattrs = tuple((decode(name), value) for name, value in entry.xattrs)
    return Meta(entry.mode, entry.uid, entry.gid, entry.mtime, xattrs)


def _content(entry: Entry) -> Content:
    if entry.extents is not None:
        return TarExtents(entry.extents, entry.size)
    return TarRange(entry.offset, entry.size)


class _Folder:
    """What the tar said so far of one folder. nodes: None for a folder that is only implied."""

    __slots__ = ("nodes", "opaque", "removed")

    def __init__(self) -> None:
        self.nodes: dict[str, Node | None] = {}
        self.removed: set[str] = set()
        self.opaque = False


class _Layer:
    """The entries so far, the later ones winning. Work and memory are bounded by the number of entries."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.entries
        self._root: Directory | None = None
        self._folders: dict[ImagePath, _Folder] = {ROOT: _Folder()}
        self._aufs_links: dict[ImagePath, Node] = {}

    def take(self, said: Change | HardLink | _AufsFile) -> None:
        """Errors: UnsafeArchive."""
        if isinstance(said, Put):
            self._put(said.path, said.node)
        elif isinstance(said, HardLink):
            self._link(said.path, said.target)
        elif isinstance(said, _AufsFile):
            self._count()
            self._aufs_links[said.path] = said.node
        else:
            self._mark(said)

    def _put(self, path: ImagePath, node: Node) -> None:
        if not path:
            if not isinstance(node, Directory):
                raise refuse("its root is not a folder")
            self._root = node
            return
        self._count()
        holder = self._folder(parent(path))
        assert holder is not None
        siblings = holder.nodes
        if isinstance(node, Directory):
            self._folders.setdefault(path, _Folder())
        elif path in self._folders:
            self._drop(path)
        siblings[basename(path)] = node

    def _link(self, path: ImagePath, target: ImagePath) -> None:
        node = self._aufs_links.get(target) or self._lookup(target)
        if node is None:
            raise refuse(f"{path!r} is a hard link to {target!r}, which is no file of it")
        self._put(path, node)

    def _mark(self, change: Remove | Opaque) -> None:
        """Below a file or a symlink of this tar there is nothing left to delete: umoci tells such things as well."""
        self._count()
        folder = self._folder(change.path if isinstance(change, Opaque) else parent(change.path), strict=False)
        if folder is None:
            return
        if isinstance(change, Opaque):
            folder.opaque = True
        else:
            folder.removed.add(basename(change.path))

    def changes(self) -> Iterator[Change]:
        """Canonical order."""
        root = self._folders[ROOT]
        if root.opaque:
            yield Opaque(ROOT)
        if self._root is not None:
            yield Put(ROOT, self._root)
        pending = [self._below(ROOT)]
        while pending:
            path, name, folder = next(pending[-1], (ROOT, "", None))
            if folder is None:
                pending.pop()
                continue
            if name in folder.removed:
                yield Remove(path)
            inner = self._folders.get(path)
            if inner is not None and inner.opaque:
                yield Opaque(path)
            node = folder.nodes.get(name)
            if node is not None:
                yield Put(path, node)
            if inner is not None:
                pending.append(self._below(path))

    def _below(self, path: ImagePath) -> Iterator[tuple[ImagePath, str, _Folder | None]]:
        folder = self._folders[path]
        for name in sorted(folder.nodes.keys() | folder.removed, key=encode):
            yield join(path, name), name, folder

    def _lookup(self, path: ImagePath) -> Node | None:
        folder = self._folders.get(parent(path))
        node = folder.nodes.get(basename(path)) if folder is not None else None
        return None if isinstance(node, Directory) else node

    def _folder(self, path: ImagePath, *, strict: bool = True) -> _Folder | None:
        """The folder at `path`, implied if need be. Where something else is on the way: UnsafeArchive, or None."""
        found = self._folders.get(path)
        if found is not None:
            return found
        missing = []
        while path not in self._folders:
            missing.append(path)
            path = parent(path)
        folder = self._folders[path]
        for path in reversed(missing):
            if basename(path) in folder.nodes:
                if not strict:
                    return None
                raise refuse(f"it has entries below {path!r}, which is not a folder")
            self._count()
            folder.nodes[basename(path)] = None
            folder = self._folders[path] = _Folder()
        return folder

    def _drop(self, path: ImagePath) -> None:
        """Forget the folder at `path` and all below it: something else takes its place."""
        pending = [path]
        while pending:
            gone = pending.pop()
            for name in self._folders.pop(gone).nodes:
                inner = join(gone, name)
                if inner in self._folders:
                    pending.append(inner)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise refuse("it has too many entries")
