"""What a container changed, read from the upper folder of its overlay.

    character device 0:0          Remove, where the image has something
    folder marked opaque          Remove of each thing in it that the image has and the upper has not
    anything else                 Put, unless it is what the image had (a file copied up and left as it was)

A folder is told only when its own metadata changed. Opaque folders become single deletions so that the layer is
the same whichever way the root file system was made (checkout.py sees no opaque folders).
"""

import os
from collections.abc import Mapping

from ..paths import ImagePath, ancestors, decode
from ..sandbox.idmap import IdMode
from ..tree.changes import Change, ChangeSet, Put, Remove
from ..tree.node import Directory, File
from ..values import dataclass, field, replace
from .comparing import Original, made_only
from .metadata import DiskReader, is_whiteout, xattr_is
from .owners import OwnerRecord
from .walk import Entry, walk

Key = tuple[int, int]  # device, inode


@dataclass(slots=True)
class Collected:
    """Changes as they are met. A hard link is one File object; a group of links is told whole, or not at all. Any file
    may have several names: the count of them is cached by FUSE and NFS, and may be an old one.
    """

    original: Original
    reader: DiskReader
    changes: list[Change] = field(default_factory=list)
    _files: dict[Key, File] = field(default_factory=dict)
    _unchanged_links: dict[Key, list[ImagePath]] = field(default_factory=dict)
    _changed_links: set[Key] = field(default_factory=set)
    _points: dict[ImagePath, Directory] = field(default_factory=dict)

    def put(self, entry: Entry, *, only_made_below: bool = False) -> None:
        """Errors: OSError."""
        path = ImagePath(decode(entry.path))
        node = self.reader.node(entry)
        if node is None:
            return
        linked = isinstance(node, File)
        key = (entry.status.st_dev, entry.status.st_ino)
        if isinstance(node, File):
            node = self._files.setdefault(key, node)
        if self.original.same(path, node, only_made_below=only_made_below):
            if linked:
                self._unchanged_links.setdefault(key, []).append(path)
            elif isinstance(node, Directory) and path in self.original.made:
                self._points[path] = node
            return
        if linked:
            self._changed_links.add(key)
        self.changes.append(Put(path, node))

    def finish(self) -> ChangeSet:
        """The mount points in which something stays are told after all."""
        for key in self._changed_links:
            self.changes.extend(Put(path, self._files[key]) for path in self._unchanged_links.get(key, ()))
        needed = {above for change in self.changes for above in ancestors(change.path)}
        self.changes.extend(Put(path, node) for path, node in self._points.items() if path in needed)
        return ChangeSet.of(self.changes)


def upper_changes(upper_fd: int, original: Original, ids: IdMode, owners: Mapping[int, OwnerRecord],
                  root: Directory) -> ChangeSet:
    """upper_fd: stays open as long as contents are to be read. root: what the image says of its root folder.

    Errors: OSError.
    """
    found = Collected(original, DiskReader(ids, owners, upper_fd))
    _Walk(found, upper_fd).run(root)
    return found.finish()


def put_root(found: Collected, root_fd: int, before: Directory) -> None:
    """The root folder, when its owner, mode or xattrs changed. Its mtime alone is not told, as by no other builder."""
    node = found.reader.node(Entry(b"", root_fd, b".", os.fstat(root_fd)))
    if isinstance(node, Directory) and replace(node.meta, mtime=0) != replace(before.meta, mtime=0):
        found.changes.append(Put(ImagePath(""), node))


class _Walk:
    def __init__(self, found: Collected, upper_fd: int) -> None:
        self._found = found
        self._original = found.original
        self._upper_fd = upper_fd
        self._opaque: set[str] = set()

    def run(self, root: Directory) -> None:
        put_root(self._found, self._upper_fd, root)
        for entry in walk(self._upper_fd):
            self._visit(entry)

    def _visit(self, entry: Entry) -> None:
        path = ImagePath(decode(entry.path))
        if is_whiteout(entry):
            if self._original.has(path):
                self._found.changes.append(Remove(path))
            return
        if not entry.is_folder:
            self._found.put(entry)
            return
        fd = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.folder_fd)
        try:
            names = set(os.listdir(fd))
        finally:
            os.close(fd)
        if path.rpartition("/")[0] in self._opaque or xattr_is(entry, "opaque", b"y"):
            self._opaque.add(path)
            self._remove_hidden(path, names)
        self._found.put(entry, only_made_below=made_only(path, names, self._original.made))

    def _remove_hidden(self, path: ImagePath, names: set[str]) -> None:
        """The folder is a new one: what the image has in it and the upper has not is gone."""
        for name in self._original.lowers.names(path) - names:
            self._found.changes.append(Remove(ImagePath(f"{path}/{name}")))
