"""The fakeroot supervisor, from Python: who calls what, in which process.

    P1  in the container's user and mount namespace, its root = the container's root, outside the container's
        pid namespace; holds host_proc, opened before that root was there
            serve(listener, host_proc=…, …)           until the last filtered process is gone
    P3  the command's own process, just before it becomes its user
            listener = load(fsync=…)                  then sends it to P1 and execs the command

The table is what the disk cannot hold: for an inode, the owner, mode, device number and privileged xattrs
that the image gives it. An inode that is not in the table is seen as 0:0 with the disk's mode. Packed form,
little endian (the same for the initial and the final table; native/ownertable.h):

    header  b"FRT1", u32 0, u64 count of records
    record  u64 ino, u32 mode, u32 uid, u32 gid, u32 rdev_major, u32 rdev_minor, u32 links, u32 bytes of xattrs
    xattr   u16 length of name, u32 length of value, name, value          (after its record)

Inode numbers are those of the real file system under the overlay: of the lower directory's file in the
initial table; in the final one, of the upper directory's file too where a lower file was copied up.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

from ..errors import OwnershipError, SandboxError
from ..values import dataclass
from .spec import FakerootSpec
from .wire import write_all

try:
    from .. import _fakeroot
except ImportError:
    _fakeroot = None  # type: ignore[assignment]

_MAGIC = b"FRT1"
_HEADER = struct.Struct("<4sIQ")
_RECORD = struct.Struct("<Q7I")
_XATTR = struct.Struct("<HI")
_LENGTH = struct.Struct("<Q")
_TABLE_LIMIT = 1 << 32


class OwnerRecord(NamedTuple):
    """What the image says of one inode; mode is a full st_mode, links the number of names it has in its tree.

    links matters for the initial table only: overlayfs gives a file of a lower layer that has several names
    a new inode number at copy-up, and the supervisor has to follow.
    """

    ino: int
    mode: int
    uid: int
    gid: int
    rdev_major: int = 0
    rdev_minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    links: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Can RUN keep owners here? reason: one sentence why not; degraded: what works around a missing feature."""

    usable: bool
    reason: str = ""
    hint: str = ""
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Figures of one run: notifications (how many the kernel was told to carry out itself), table, credentials."""

    notified: int
    continued: int
    entries: int
    table_bytes: int
    credentials: int


def encode(records: Iterable[OwnerRecord]) -> bytes:
    """The packed table. ValueError for a number that has no place in it."""
    parts = [b""]
    count = 0
    try:
        for record in records:
            xattrs = b"".join(_XATTR.pack(len(name), len(value)) + name + value for name, value in record.xattrs)
            parts.append(_RECORD.pack(record.ino, record.mode, record.uid, record.gid, record.rdev_major,
                                      record.rdev_minor, record.links, len(xattrs)) + xattrs)
            count += 1
    except struct.error as error:
        raise ValueError(f"owner record out of range: {error}") from None
    parts[0] = _HEADER.pack(_MAGIC, 0, count)
    return b"".join(parts)


HEADER_SIZE = _HEADER.size
RECORD_SIZE = _RECORD.size  # of one without extended attributes


def count_of(table: bytes) -> int:
    """How many records a packed table says it has. SandboxError when it is damaged."""
    if len(table) < _HEADER.size or table[:4] != _MAGIC:
        raise _damaged("not an owner table")
    count: int = _HEADER.unpack_from(table)[2]
    return count


def table_of(record: bytes) -> bytes:
    """One packed record as a table."""
    return _HEADER.pack(_MAGIC, 0, 1) + record


def joined(tables: Iterable[bytes]) -> bytes:
    """Packed tables, of different inodes, as one."""
    found = [table for table in tables if table]
    return _HEADER.pack(_MAGIC, 0, sum(map(count_of, found))) + b"".join(table[_HEADER.size:] for table in found)


def decode(data: bytes) -> Iterator[OwnerRecord]:
    """The records of a packed table, in its order. SandboxError when it is damaged."""
    if not data:
        return
    try:
        magic, reserved, count = _HEADER.unpack_from(data)
        if magic != _MAGIC or reserved != 0:
            raise ValueError("not an owner table")
        at = _HEADER.size
        for _ in range(count):
            ino, mode, uid, gid, major, minor, links, length = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            yield OwnerRecord(ino, mode, uid, gid, major, minor,
                              tuple(_xattrs(data, at, at + length)) if length else (), links)
            at += length
        if at != len(data):
            raise ValueError("its length is wrong")
    except (struct.error, ValueError) as error:
        raise _damaged(str(error)) from None


def _damaged(cause: str) -> SandboxError:
    return SandboxError(f"cannot read an owner table: {cause}", hint="remove the scratch directory; it is made anew")


def _xattrs(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    if end > len(data):
        raise ValueError("it is cut short")
    while at < end:
        name_length, value_length = _XATTR.unpack_from(data, at)
        at += _XATTR.size
        stop = at + name_length + value_length
        if stop > end:
            raise ValueError("an attribute runs over its record")
        yield data[at:at + name_length], data[at + name_length:stop]
        at = stop


def available() -> Support:
    """What the kernel and the C module offer. Says nothing of namespaces; needs no privilege, changes nothing."""
    if _fakeroot is None:
        return Support(usable=False, reason="iechor was installed without its C module _fakeroot",
                       hint="install a C compiler and Python's headers, then install iechor again")
    found = _fakeroot.probe()
    if _ptrace_scope() == "3":
        found &= ~_fakeroot.HAS_VM_READ
    for bit, reason, hint in (
        (_fakeroot.HAS_LISTENER, "the kernel has no seccomp user notification", "Linux 5.11 or later has it"),
        (_fakeroot.HAS_VM_READ, "process_vm_readv(2) is denied", "set kernel.yama.ptrace_scope to 2 or less"),
        (_fakeroot.HAS_LOCKS_LIMIT, "RLIMIT_LOCKS is limited, and it carries the credentials of processes",
         "raise its hard limit to unlimited (ulimit -x unlimited)"),
    ):
        if not found & bit:
            return Support(usable=False, reason=reason, hint=hint)
    degraded = tuple(text for bit, text in (
        (_fakeroot.HAS_WAIT_KILLABLE, "a signal may repeat an intercepted call (before Linux 5.19)"),
        (_fakeroot.HAS_OPENAT2, "paths are walked part by part (no openat2)"),
        (_fakeroot.HAS_PIDFD_GETFD, "SO_PEERCRED shows the container's root (no pidfd_getfd)"),
    ) if not found & bit)
    return Support(usable=True, degraded=degraded)


def load(*, fsync: bool) -> int:
    """Filters the calling thread and all it will start; returns the listener's fd (close-on-exec).

    Called in the container, with its user namespace's CAP_SYS_ADMIN, after every mount, before the change of user
    (which the supervisor then carries out). Until the listener is with P1, no intercepted call returns. fsync: is
    really done. Errors: OSError, OwnershipError.
    """
    return int(_module().install_filter(fsync))


def fork_pid1(link: int) -> int | None:
    """The pid of a child in C that serves at `link` (native/pid1.h); None without the C module. Errors: OSError."""
    return None if _fakeroot is None else _fakeroot.fork_pid1(link)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountTable:
    """What is mounted at `path` of the container has owners of its own: those of `table_fd` to begin with."""

    path: str
    table_fd: int


def open_view(spec: FakerootSpec) -> int | None:
    """The library that answers stat(2) in the programs themselves (native/shim.c). None: all ask the supervisor."""
    if not spec.view or _fakeroot is None or _fakeroot.__file__ is None:
        return None
    folder, name = os.path.split(_fakeroot.__file__)
    try:
        return os.open(os.path.join(folder, name.replace("_fakeroot", "_view")), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def serve(listener: int, *, host_proc: int, spec: FakerootSpec, table_fd: int | None, final_fd: int | None,
          upper_fd: int = -1, control_fd: int = -1, mounts: Sequence[MountTable] = (),
          view_fd: int | None = None) -> Served:
    """Answers until the last filtered process is gone, then writes the final tables to final_fd (`read_final`), the
    image's and those of the mounts. Takes listener over.

    The process must be single-threaded: its root, working directory and umask are changed for good.
    table_fd: the packed initial table, read from its start. upper_fd: the overlay's upper directory, opened before
    the root was changed; copied-up files are then listed under their inode numbers there. control_fd: a unix socket
    on which further listeners arrive (SCM_RIGHTS, one byte each), of processes that join the container.
    spec.dev: st_dev of the image's file system as the container sees it (0: that of "/"). view_fd: `open_view`'s.
    Errors: SandboxError.
    """
    table = b"" if table_fd is None else _read_all(table_fd)
    tables = tuple((os.fsencode(mount.path), _read_all(mount.table_fd)) for mount in mounts)
    view = b"" if view_fd is None else _read_all(view_fd)
    try:
        final, finals, *figures = _module().serve(listener, host_proc, table, spec.dev, upper_fd, control_fd, tables,
                                                  view)
    except OSError as error:
        raise SandboxError(f"cannot supervise the container's files: {error.strerror}") from None
    if final_fd is not None:
        for each in (final, *finals):
            write_all(final_fd, _LENGTH.pack(len(each)))
            write_all(final_fd, each)
    notified, continued, entries, table_bytes, credentials = figures
    return Served(notified=notified, continued=continued, entries=entries, table_bytes=table_bytes,
                  credentials=credentials)


def read_final(fd: int) -> tuple[bytes, ...]:
    """What `serve` wrote: the image's table, then each mount's. Nothing when the supervisor did not come to its end."""
    data, found, at = _read_all(fd), [], 0
    while at < len(data):
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        found.append(data[at + _LENGTH.size:end])
        at = end
    return tuple(found)


def _ptrace_scope() -> str:
    """Yama's; 1 and 2 leave us our own namespace's processes, since we hold its CAP_SYS_PTRACE."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as file:
            return file.read().strip()
    except OSError:
        return "0"


def _module() -> ModuleType:
    if _fakeroot is None:
        raise OwnershipError("cannot start the fakeroot supervisor: the C module is missing",
                             hint="install a C compiler and Python's headers, then install iechor again")
    return _fakeroot


def _read_all(fd: int) -> bytes:
    parts = []
    at = 0
    while at < _TABLE_LIMIT and (part := os.pread(fd, 1 << 20, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)
