"""One layer written into a folder of its own, so that overlayfs can use it as a lower.

    1 folders, the outer ones first   2 symlinks, devices, hard links   3 files, in the order their bytes have
    in the tar, which is read once from its beginning   4 whiteouts   5 metadata of folders, the inner ones first

The target is a new folder that nobody else knows, and every name in it was made here: each step still opens one
part of a path at a time with O_NOFOLLOW, so that no mistake of ours leads out of it.
"""

import errno
import os
import stat
import struct
from itertools import groupby
from typing import NamedTuple

from .. import layercore
from ..errors import OwnershipError, UnsafeArchive
from ..layer.content import LayerEntry, LayerExtents, TarExtents, TarRange
from ..paths import ImagePath, basename, encode, parent, sort_key
from ..sandbox.idmap import IdMode
from ..store import atomic
from ..store.inflate import TarStream
from ..tree.node import Content, Device, Directory, File, Node, Symlink
from ..values import dataclass, field
from .layerplan import LayerPlan
from .metadata import LATEST, Target, apply, disk_mode
from .owners import OwnerRecord
from .walk import FOLDER

_CHUNK = 1 << 18
_HOLE = 1 << 12  # bytes; what is shorter is written, zeros or not
_ZEROS = bytes(_CHUNK)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STRETCH = 1 << 20  # bytes of the tar whose small files are made in one go
_WANTED, _MADE = struct.Struct("<QQqIII"), struct.Struct("<QI")  # native/newfiles.h
_KEEP = 2**32 - 1  # an owner that is left as it is
Piece = tuple[int, int, int]  # offset in the tar, offset in the file, length


class _Small(NamedTuple):
    """A file that is made together with others. start: of its bytes, in the tar."""

    folder: ImagePath
    path: ImagePath
    start: int
    file: File
    links: int


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
        """In stretches: small files are made in C, many at a time, others one by one."""
        files = sorted(((pieces_of(file.content), file) for file in names), key=lambda item: item[0][:1])
        small: list[_Small] = []
        for pieces, file in files:
            if file.size > _CHUNK or len(pieces) > 1 or file.meta.xattrs:
                self._write_together(small, stream)
                small = []
                self._write_one(names[file], file, pieces, stream)
                continue
            start = pieces[0][0] if pieces else stream.position
            if small and start + file.size > small[0].start + _STRETCH:
                self._write_together(small, stream)
                small = []
            path = names[file][0]
            small.append(_Small(parent(path), path, start, file, len(names[file])))
        self._write_together(small, stream)
        stream.finish()
        for file, (first, *others) in names.items():
            for other in others:
                self._link(first, other)

    def _write_one(self, names: list[ImagePath], file: File, pieces: tuple[Piece, ...], stream: TarStream) -> None:
        target = self._target(names[0])
        fd = os.open(target.name, _NEW_FILE, 0o600, dir_fd=target.folder_fd)
        try:
            _pour(stream, pieces, fd, file.size)
        finally:
            os.close(fd)
        self._own(target, file, links=len(names))

    def _write_together(self, small: "list[_Small]", stream: TarStream) -> None:
        if not small:
            return
        stream.skip_to(small[0].start)
        start, data = stream.position, _taken(stream, small[-1].start + small[-1].file.size - stream.position)
        for folder, group in groupby(small, key=lambda one: one.folder):
            here = list(group)
            wanted = b"".join(self._wanted(one.file, one.start - start) for one in here)
            made = layercore.make_files(self._folder(folder), data, wanted,
                                        b"".join(encode(basename(one.path)) + b"\0" for one in here))
            for one, (ino, mode) in zip(here, _MADE.iter_unpack(made), strict=True):
                self._note(one, ino, mode)

    def _wanted(self, file: File, start: int) -> bytes:
        meta = file.meta
        owner = (_KEEP, _KEEP) if self.ids is IdMode.FAKEROOT else (meta.uid, meta.gid)
        return _WANTED.pack(start if file.size else 0, file.size, max(-LATEST, min(meta.mtime, LATEST)),
                            disk_mode(meta.mode, self.ids, folder=False), *owner)

    def _note(self, one: "_Small", ino: int, mode: int) -> None:
        """The record of a file that was made, or (no inode) what the kernel says to its owner."""
        meta, said = one.file.meta, stat.S_IFREG | one.file.meta.mode
        if not ino:
            self._own(self._target(one.path), one.file, links=one.links)
        elif self.ids is IdMode.FAKEROOT and (meta.uid, meta.gid, said) != (0, 0, mode):
            self.owners.append(OwnerRecord(ino=ino, mode=said, uid=meta.uid, gid=meta.gid, rdev_major=0, rdev_minor=0,
                                           links=one.links, xattrs=()))

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
                                     hint="use --userns=fakeroot, which keeps devices") from error

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


def _taken(stream: TarStream, size: int) -> bytes:
    pieces = []
    while size > 0:
        data = stream.read(size)
        if not data:
            raise UnsafeArchive("cannot unpack the layer: its tar is cut off")
        pieces.append(data)
        size -= len(data)
    return b"".join(pieces)


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
