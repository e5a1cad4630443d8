"""Meta ↔ what the disk holds, in one place for both ways.

    fakeroot        every file is the user's own; a folder has at least u+rwx, a file u+rw and no set-id bits; a device
                    is an empty file; privileged xattrs are not there. What differs from that is an OwnerRecord.
    subuid, host    the disk has it all: chown, mknod, setxattr are the kernel's.
"""

import errno
import os
import stat
from collections.abc import Mapping

from ..errors import OwnershipError
from ..paths import decode, encode
from ..sandbox.idmap import IdMode
from ..tree.node import Device, Directory, File, HostFile, Meta, Node, Symlink
from ..values import dataclass
from .owners import OwnerRecord
from .walk import Entry

OVERLAY_XATTRS = ("user.overlay.", "trusted.overlay.")
# Labels of the host, not of the image: SELinux and Smack relabel, IMA and EVM sign for one machine.
_HOST_XATTRS = ("security.selinux", "security.SMACK64", "security.ima", "security.evm", "system.nfs4_acl",
                "system.cifs_acl", "system.data")
LATEST = 2**62  # ns; a tar may say any time, utimensat takes a C long


def belongs_to_image(name: str) -> bool:
    """Whether an extended attribute is part of a file, and not book-keeping of overlayfs or of the host."""
    return not name.startswith(OVERLAY_XATTRS) and not name.startswith(_HOST_XATTRS)


def disk_mode(mode: int, mode_of_ids: IdMode, *, folder: bool) -> int:
    """The permission bits on disk: in fakeroot mode never less than its owner needs to read and remove it.

    A file's set-id bits are in the record alone: a write by the container's root, who is not root to the disk,
    would take them away.
    """
    if mode_of_ids is not IdMode.FAKEROOT:
        return mode
    return mode | 0o700 if folder else mode & 0o1777 | 0o600


# To the disk ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A node just made: `name` in `folder_fd`. path: for messages."""

    folder_fd: int
    name: bytes
    path: str

    @property
    def proc_path(self) -> bytes:
        return b"/proc/self/fd/%d/%s" % (self.folder_fd, self.name)


def apply(target: Target, node: Node, ids: IdMode, *, links: int = 1) -> OwnerRecord | None:
    """Owner, mode, xattrs and mtime of a node that lies on disk with its content; the record of what did not fit.

    Errors: OSError, OwnershipError when the kernel refuses an owner or attribute.
    """
    held_back: tuple[tuple[bytes, bytes], ...] = ()
    meta = node.meta
    if ids is IdMode.FAKEROOT:
        _chmod(target, node, disk_mode(meta.mode, ids, folder=isinstance(node, Directory)))
        held_back = tuple((encode(name), value) for name, value in meta.xattrs
                          if belongs_to_image(name) and not _set_own_xattr(target, node, name, value))
    else:
        _really_own(target, node)
    mtime = max(-LATEST, min(meta.mtime, LATEST))
    os.utime(target.name, ns=(mtime, mtime), dir_fd=target.folder_fd, follow_symlinks=False)
    return None if ids is not IdMode.FAKEROOT else _record(target, node, held_back, links)


def _record(target: Target, node: Node, xattrs: tuple[tuple[bytes, bytes], ...], links: int) -> OwnerRecord | None:
    meta = node.meta
    status = os.lstat(target.name, dir_fd=target.folder_fd)
    mode, major, minor = meta.mode, 0, 0
    kind = stat.S_IFMT(status.st_mode)
    if isinstance(node, Device):
        kind, major, minor = node.kind, node.major, node.minor
    elif isinstance(node, Symlink):
        mode = 0o777
    if (meta.uid, meta.gid) == (0, 0) and kind | mode == status.st_mode and not xattrs:
        return None
    return OwnerRecord(ino=status.st_ino, mode=kind | mode, uid=meta.uid, gid=meta.gid, rdev_major=major,
                       rdev_minor=minor, links=links, xattrs=xattrs)


def _really_own(target: Target, node: Node) -> None:
    meta = node.meta
    try:
        os.chown(target.name, meta.uid, meta.gid, dir_fd=target.folder_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise OwnershipError(f"cannot give /{target.path} its owner {meta.uid}:{meta.gid}: the ids of this user "
                             "namespace do not reach that far",
                             hint="use --userns=fakeroot, which keeps any owner") from error
    _chmod(target, node, meta.mode)
    for name, value in meta.xattrs:
        if belongs_to_image(name):
            try:
                os.setxattr(target.proc_path, name, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP):
                    raise
                raise OwnershipError(f"cannot give /{target.path} its extended attribute {name}: {error.strerror}",
                                     hint="use --userns=fakeroot, which keeps any attribute") from error


def _chmod(target: Target, node: Node, mode: int) -> None:
    if not isinstance(node, Symlink):  # not followed: we have just made what it names
        os.chmod(target.name, mode, dir_fd=target.folder_fd)


def _set_own_xattr(target: Target, node: Node, name: str, value: bytes) -> bool:
    """Whether the disk took it: user.* on files and folders, where the file system has such attributes."""
    if not name.startswith("user.") or not isinstance(node, (File, Directory)):
        return False
    try:
        os.setxattr(target.proc_path, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENOSPC, errno.E2BIG):
            raise
        return False
    return True


# From the disk ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DiskReader:
    """ids: how the owners are kept; owners: the records, in fakeroot mode. root_fd: what contents are opened below."""

    ids: IdMode
    owners: Mapping[int, OwnerRecord]
    root_fd: int

    def node(self, entry: Entry) -> Node | None:
        """None for a socket: no layer can hold one, and it is dead anyway. Errors: OSError."""
        status = entry.status
        record = self.owners.get(status.st_ino) if self.ids is IdMode.FAKEROOT else None
        mode = status.st_mode if record is None else record.mode
        meta = self._meta(entry, mode, record)
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFREG:
            return File(meta, HostFile(self.root_fd, entry.path), status.st_size)
        if kind == stat.S_IFDIR:
            return Directory(meta)
        if kind == stat.S_IFLNK:
            return Symlink(meta, decode(os.readlink(entry.name, dir_fd=entry.folder_fd)))
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            if record is not None:
                return Device(meta, kind, record.rdev_major, record.rdev_minor)
            return Device(meta, kind, os.major(status.st_rdev), os.minor(status.st_rdev))
        return Device(meta, kind) if kind == stat.S_IFIFO else None

    def _meta(self, entry: Entry, mode: int, record: OwnerRecord | None) -> Meta:
        status = entry.status
        uid, gid = (status.st_uid, status.st_gid) if self.ids is not IdMode.FAKEROOT else (0, 0)
        if record is not None:
            uid, gid = record.uid, record.gid
        permissions = 0o777 if stat.S_ISLNK(mode) else stat.S_IMODE(mode)
        return Meta(permissions, uid, gid, status.st_mtime_ns, self._xattrs(entry, record))

    def _xattrs(self, entry: Entry, record: OwnerRecord | None) -> tuple[tuple[str, bytes], ...]:
        found: dict[str, bytes] = {}
        if self.ids is not IdMode.FAKEROOT or stat.S_ISREG(entry.status.st_mode) or entry.is_folder:
            for name in _list_xattrs(entry):
                if belongs_to_image(name) and (self.ids is not IdMode.FAKEROOT or name.startswith("user.")):
                    found[name] = os.getxattr(entry.proc_path, name, follow_symlinks=False)
        if record is not None:
            found.update({decode(name): value for name, value in record.xattrs if belongs_to_image(decode(name))})
        return tuple(sorted(found.items(), key=lambda item: encode(item[0])))


def _list_xattrs(entry: Entry) -> list[str]:
    try:
        return os.listxattr(entry.proc_path, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []


def xattr_is(entry: Entry, suffix: str, value: bytes) -> bool:
    """Whether overlayfs's own attribute, user.overlay.SUFFIX or trusted.overlay.SUFFIX, has this value."""
    for name in OVERLAY_XATTRS:
        try:
            if os.getxattr(entry.proc_path, name + suffix, follow_symlinks=False) == value:
                return True
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
    return False


def is_whiteout(entry: Entry) -> bool:
    """A character device 0:0, or (where devices are refused) an empty file that says so."""
    status = entry.status
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    return stat.S_ISREG(status.st_mode) and status.st_size == 0 and xattr_is(entry, "whiteout", b"y")
