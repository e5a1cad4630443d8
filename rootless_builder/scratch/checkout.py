"""The root file system where no overlay can be mounted: the layers copied into one folder, and compared afterwards.

    make      each layer from the lowest on: deletions, then its files; bytes shared by reflink where the file
              system can, hard links kept
    changes   layercore.scan before and after, diff by inode, ctime, size, owner, mode and mtime; what only looks
              changed is dropped by comparing.py. A file that changes within the tick of the clock in which it was
              copied would keep its ctime: `settle` waits until the clock has moved on (git's racy rule).
"""

import errno
import fcntl
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import layercore
from ..paths import ImagePath, decode, encode
from ..removing import remove_tree
from ..sandbox.idmap import IdMode
from ..store import atomic
from ..tree.changes import ChangeSet, Remove
from ..tree.node import Directory
from ..values import dataclass, field
from .comparing import Original, made_only
from .metadata import DiskReader, Target, apply
from .owners import OwnerRecord
from .unpacked import UnpackedLayer
from .upper import Collected, put_root
from .walk import FOLDER, Entry, walk

_FICLONE = 0x40049409  # ioctl_ficlone(2)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class CheckOut:
    """root_fd: the folder, empty at first. tmp: another one of the same file system. owners: of its new inodes; grows
    while layers are added. Single-owner."""

    root_fd: int
    tmp: Path
    ids: IdMode
    owners: dict[int, OwnerRecord] = field(default_factory=dict)
    _before: layercore.Snapshot | None = None

    def make(self, layers: Sequence[UnpackedLayer], stubs: Mapping[str, bool]) -> None:
        """layers: the topmost first. stubs: mount points to be there besides, whether each is a folder; the outer
        ones first. Errors: OSError, OwnershipError.
        """
        for layer in reversed(layers):
            self._hide(layer)
            self._copy(layer)
        for path, is_folder in stubs.items():
            self._add_stub(path, is_folder=is_folder)
        self.settle()

    def settle(self) -> None:
        """From now on a change is seen."""
        self._before = layercore.scan(self.root_fd)
        scanned = atomic.now(self.tmp)
        while atomic.now(self.tmp) == scanned:  # at most one tick, 10 ms
            pass

    def changes(self, original: Original, owners: Mapping[int, OwnerRecord], root: Directory) -> ChangeSet:
        """owners: the final table. Errors: OSError."""
        assert self._before is not None
        after = layercore.scan(self.root_fd)
        found = Collected(original, DiskReader(self.ids, owners, self.root_fd))
        put_root(found, self.root_fd, root)
        touched = set()
        for kind, path in layercore.diff(self._before, after):
            if kind == layercore.REMOVED:
                if original.has(decode(path)):
                    found.changes.append(Remove(ImagePath(decode(path))))
            else:
                touched.add(path)
        if touched or owners != self.owners:
            self._collect(found, touched, owners)
        return found.finish()

    def _collect(self, found: Collected, touched: set[bytes], owners: Mapping[int, OwnerRecord]) -> None:
        """chown of a file changes the table and nothing on disk."""
        reowned = {ino for ino in owners.keys() | self.owners.keys() if owners.get(ino) != self.owners.get(ino)}
        for entry in walk(self.root_fd):
            if entry.path not in touched and entry.status.st_ino not in reowned:
                continue
            only_made = False
            if entry.is_folder:
                new = [name for name in self._names(entry) if os.path.join(entry.path, name) in touched]
                only_made = made_only(decode(entry.path), map(decode, new), found.original.made)
            found.put(entry, only_made_below=only_made)

    def _names(self, entry: Entry) -> list[bytes]:
        fd = os.open(entry.name, FOLDER, dir_fd=entry.folder_fd)
        try:
            return [os.fsencode(name) for name in os.listdir(fd)]
        finally:
            os.close(fd)

    def _add_stub(self, path: str, *, is_folder: bool) -> None:
        """Where the image has nothing; the folder around it keeps its time."""
        name, above = encode(path), encode(path.rpartition("/")[0]) or b"."
        if not self._is_inside(path) or not _is_folder(b"/proc/self/fd/%d/%s" % (self.root_fd, above)):
            return
        before = os.lstat(above, dir_fd=self.root_fd).st_mtime_ns
        try:
            if is_folder:
                os.mkdir(name, 0o755, dir_fd=self.root_fd)
            else:
                os.close(os.open(name, _NEW_FILE, 0o644, dir_fd=self.root_fd))
        except FileExistsError:
            return
        os.utime(above, ns=(before, before), dir_fd=self.root_fd)

    def _hide(self, layer: UnpackedLayer) -> None:
        """What the layer deletes, and what its opaque folders do not show."""
        here = b"/proc/self/fd/%d/" % self.root_fd
        for path in layer.whiteouts:
            if self._is_inside(path):
                remove_tree(_path(here + encode(path)))
        for path in layer.opaque:
            if self._is_inside(path) and _is_folder(here + encode(path)):
                for name in os.listdir(here + encode(path)):
                    remove_tree(_path(here + encode(path) + b"/" + name))

    def _is_inside(self, path: str) -> bool:
        """Whether no part above `path` is a symlink, which could lead elsewhere."""
        parts = encode(path).split(b"/")
        for end in range(1, len(parts)):
            try:
                if not stat.S_ISDIR(os.lstat(b"/".join(parts[:end]), dir_fd=self.root_fd).st_mode):
                    return False
            except FileNotFoundError:
                return False
        return True

    def _copy(self, layer: UnpackedLayer) -> None:
        reader = DiskReader(self.ids, layer.owners, layer.root_fd)
        links: dict[int, bytes] = {}
        folders: list[tuple[bytes, Directory]] = []
        for entry in walk(layer.root_fd):
            if decode(entry.path) in layer.whiteouts:
                continue
            node = reader.node(entry)
            target = Target(folder_fd=self.root_fd, name=entry.path, path=decode(entry.path))
            if isinstance(node, Directory):
                self._make_folder(entry.path)
                folders.append((entry.path, node))
                continue
            self._clear(entry.path)
            first = links.get(entry.status.st_ino)
            if first is not None:
                os.link(first, entry.path, src_dir_fd=self.root_fd, dst_dir_fd=self.root_fd, follow_symlinks=False)
                continue
            if node is None:
                continue
            if not stat.S_ISDIR(entry.status.st_mode):  # whatever st_nlink says: FUSE and NFS remember an old one
                links[entry.status.st_ino] = entry.path
            self._make(entry)
            self._note(target, apply(target, node, self.ids, links=entry.status.st_nlink))
        for path, folder in reversed(folders):
            target = Target(folder_fd=self.root_fd, name=path, path=decode(path))
            self._note(target, apply(target, folder, self.ids))

    def _make_folder(self, path: bytes) -> None:
        try:
            os.mkdir(path, 0o700, dir_fd=self.root_fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path, dir_fd=self.root_fd).st_mode):
                self._clear(path)
                os.mkdir(path, 0o700, dir_fd=self.root_fd)

    def _clear(self, path: bytes) -> None:
        remove_tree(_path(b"/proc/self/fd/%d/%s" % (self.root_fd, path)))

    def _make(self, entry: Entry) -> None:
        kind = stat.S_IFMT(entry.status.st_mode)
        if kind == stat.S_IFREG:
            _copy_file(entry, self.root_fd)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(entry.name, dir_fd=entry.folder_fd), entry.path, dir_fd=self.root_fd)
        else:
            os.mknod(entry.path, kind | 0o600, entry.status.st_rdev, dir_fd=self.root_fd)

    def _note(self, target: Target, record: OwnerRecord | None) -> None:
        """An inode number may have belonged to something that a later layer removed."""
        if record is not None:
            self.owners[record.ino] = record
        elif self.owners:
            self.owners.pop(os.lstat(target.name, dir_fd=target.folder_fd).st_ino, None)


def _path(name: bytes) -> Path:
    return Path(os.fsdecode(name))


def _is_folder(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _copy_file(entry: Entry, root_fd: int) -> None:
    source = os.open(entry.name, _FILE, dir_fd=entry.folder_fd)
    try:
        target = os.open(entry.path, _NEW_FILE, 0o600, dir_fd=root_fd)
        try:
            try:
                fcntl.ioctl(target, _FICLONE, source)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
                    raise
                _copy_bytes(source, target, entry.status.st_size)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_bytes(source: int, target: int, size: int) -> None:
    """Holes stay holes where the file system tells of them."""
    position = 0
    while position < size:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
            end = os.lseek(source, position, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            end = size
        os.lseek(target, position, os.SEEK_SET)
        while position < end:
            sent = os.sendfile(target, source, position, min(end - position, 1 << 30))
            if not sent:
                raise OSError(errno.ESTALE, "file changed while it was read")
            position += sent
    os.ftruncate(target, size)
