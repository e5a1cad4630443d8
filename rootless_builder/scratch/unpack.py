"""One layer written into a folder of its own, so that overlayfs can use it as a lower.

    1 folders, the outer ones first   2 symlinks, devices, hard links   3 files, in the order their bytes have
    in the tar, which is read once from its beginning   4 whiteouts   5 metadata of folders, the inner ones first

The target is a new folder that nobody else knows, and every name in it was made here: each step still opens one
part of a path at a time with O_NOFOLLOW, so that no mistake of ours leads out of it.
"""

import errno
import os
import stat

from ..errors import OwnershipError, UnsafeArchive
from ..layer.content import LayerEntry, LayerExtents, TarExtents, TarRange
from ..paths import ImagePath, basename, encode, parent, sort_key
from ..sandbox.idmap import IdMode
from ..store import atomic
from ..store.inflate import TarStream
from ..tree.node import Content, Device, Directory, File, Node, Symlink
from ..values import dataclass, field
from .layerplan import LayerPlan
from .metadata import Target, apply
from .owners import OwnerRecord
from .walk import FOLDER

_CHUNK = 1 << 18
_HOLE = 1 << 12  # bytes; what is shorter is written, zeros or not
_ZEROS = bytes(_CHUNK)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
Piece = tuple[int, int, int]  # offset in the tar, offset in the file, length


@dataclass(slots=True)
class LayerWriter:
    """root_fd: the empty folder to fill. on_disk: whether whiteouts could be made where overlayfs looks for them."""

    root_fd: int
    ids: IdMode
    plan: LayerPlan
    owners: list[OwnerRecord] = field(default_factory=list)
    overlay_able: bool = True
    _fds: list[tuple[bytes, int]] = field(default_factory=list)  # the way to the folder last used

    def write(self, stream: TarStream) -> None:
        """Errors: OSError, OwnershipError, UnsafeArchive when the tar is not the one that was planned for."""
        try:
            order = sorted(self.plan.folders, key=sort_key)
            for path in order:
                if path:
                    os.mkdir(encode(basename(path)), 0o700, dir_fd=self._folder(parent(path)))
            names = self._names()
            self._write_small()
            self._write_files(names, stream)
            for path in sorted(self.plan.whiteouts):
                self._whiteout(path)
            for path in reversed(order):
                self._finish_folder(path)
        finally:
            for _, fd in self._fds:
                os.close(fd)
            self._fds.clear()

    def _names(self) -> dict[File, list[ImagePath]]:
        """Hard links: one File, several names."""
        names: dict[File, list[ImagePath]] = {}
        for path, node in self.plan.nodes.items():
            if isinstance(node, File):
                names.setdefault(node, []).append(path)
        return names

    def _write_small(self) -> None:
        for path, node in self.plan.nodes.items():
            if not isinstance(node, File):
                target = self._target(path)
                if isinstance(node, Symlink):
                    os.symlink(encode(node.target), target.name, dir_fd=target.folder_fd)
                elif isinstance(node, Device):
                    self._make_device(target, node)
                self._own(target, node)

    def _write_files(self, names: dict[File, list[ImagePath]], stream: TarStream) -> None:
        for pieces, file in sorted(((pieces_of(file.content), file) for file in names),
                                   key=lambda item: item[0][:1]):
            first, *others = names[file]
            target = self._target(first)
            fd = os.open(target.name, _NEW_FILE, 0o600, dir_fd=target.folder_fd)
            try:
                _pour(stream, pieces, fd, file.size)
            finally:
                os.close(fd)
            self._own(target, file, links=len(names[file]))
            for other in others:
                self._link(first, other)
        stream.finish()

    def _link(self, first: ImagePath, other: ImagePath) -> None:
        source = os.dup(self._folder(parent(first)))
        try:
            os.link(encode(basename(first)), encode(basename(other)), src_dir_fd=source,
                    dst_dir_fd=self._folder(parent(other)), follow_symlinks=False)
        finally:
            os.close(source)

    def _make_device(self, target: Target, node: Device) -> None:
        if node.kind == stat.S_IFIFO:
            os.mkfifo(target.name, 0o600, dir_fd=target.folder_fd)
        elif self.ids is IdMode.FAKEROOT:
            os.close(os.open(target.name, _NEW_FILE, 0o600, dir_fd=target.folder_fd))
        else:
            try:
                os.mknod(target.name, node.kind | 0o600, os.makedev(node.major, node.minor), dir_fd=target.folder_fd)
            except PermissionError as error:
                raise OwnershipError(f"cannot make the device /{target.path}: "
                                     "the kernel refuses it in a user namespace",
                                     hint="use --userns=fakeroot, which keeps devices.") from error

    def _whiteout(self, path: ImagePath) -> None:
        """A character device 0:0, which needs no privilege since Linux 5.8. Where it is refused, layer.json alone
        knows of the deletion: enough to check a tree out, too little for overlayfs."""
        target = self._target(path)
        try:
            os.mknod(target.name, stat.S_IFCHR, 0, dir_fd=target.folder_fd)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
                raise
            self.overlay_able = False

    def _finish_folder(self, path: ImagePath) -> None:
        if path:
            target = self._target(path)
        else:
            target = Target(folder_fd=self.root_fd, name=b".", path="")
        if path in self.plan.opaque:
            self._mark_opaque(target)
        self._own(target, Directory(self.plan.folders[path]))

    def _mark_opaque(self, target: Target) -> None:
        names = ("trusted.overlay.opaque", "user.overlay.opaque")
        for name in names if self.ids is IdMode.HOST else names[1:]:  # a root inside a user namespace has no trusted.*
            try:
                os.setxattr(target.proc_path, name, b"y", follow_symlinks=False)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
        self.overlay_able = False

    def _own(self, target: Target, node: Node, *, links: int = 1) -> None:
        record = apply(target, node, self.ids, links=links)
        if record is not None:
            self.owners.append(record)

    def _target(self, path: ImagePath) -> Target:
        return Target(folder_fd=self._folder(parent(path)), name=encode(basename(path)), path=path)

    def _folder(self, path: ImagePath) -> int:
        """An fd of a folder we made; valid until the next call."""
        parts = encode(path).split(b"/") if path else []
        same = 0
        while same < min(len(parts), len(self._fds)) and self._fds[same][0] == parts[same]:
            same += 1
        while len(self._fds) > same:
            os.close(self._fds.pop()[1])
        for part in parts[same:]:
            above = self._fds[-1][1] if self._fds else self.root_fd
            self._fds.append((part, os.open(part, FOLDER, dir_fd=above)))
        return self._fds[-1][1] if self._fds else self.root_fd


def pieces_of(content: Content) -> tuple[Piece, ...]:
    """Where a file's bytes are in its layer's tar, ascending."""
    if isinstance(content, (LayerEntry, TarRange)):
        return ((content.offset, 0, content.size),) if content.size else ()
    if isinstance(content, (LayerExtents, TarExtents)):
        return content.extents
    raise TypeError(f"a layer's file is not in its tar: {type(content).__name__}")


def _pour(stream: TarStream, pieces: tuple[Piece, ...], fd: int, size: int) -> None:
    """Holes stay holes, and long runs of zeros become such."""
    end = 0
    for source, position, length in pieces:
        stream.skip_to(source)
        while length:
            data = stream.read(min(length, _CHUNK))
            if not data:
                raise UnsafeArchive("cannot unpack the layer: its tar is cut off")
            if data != _ZEROS[:len(data)] or len(data) < _HOLE:
                if position != end:
                    os.lseek(fd, position, os.SEEK_SET)
                end = position + len(data)
                atomic.write_all(fd, data)
            position += len(data)
            length -= len(data)
    if end != size:
        os.ftruncate(fd, size)
