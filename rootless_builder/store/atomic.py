"""Files that are there whole or not at all, and errors of the disk that say what to do.

A file is written under a temporary name on the same file system and renamed into place. Against power loss it
is fdatasync'ed first where a name is going to point at it; folders are synced once, when a command reports
success (`sync_folder`).
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import DiskFull, IechorError, StoreError
from .owner import Owner

FILE_MODE = 0o644  # before the umask; the folders above are 0700
FOLDER_MODE = 0o700
SHARED_FILE, SHARED_FOLDER = 0o640, 0o2770  # in a store that is shared with a group (sharing.py), whatever the umask
_FULL = {errno.ENOSPC: "no space is left", errno.EDQUOT: "the quota is used up"}
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def explained(doing: str, path: Path, *, remedy: str) -> Iterator[None]:
    """OSError inside → DiskFull or StoreError: "cannot `doing`: cause (path)". `remedy` is for a full disk."""
    try:
        yield
    except IechorError:
        raise
    except OSError as error:
        raise disk_error(error, doing, path, remedy=remedy) from error


def disk_error(error: OSError, doing: str, path: Path, *, remedy: str) -> IechorError:
    """The error a user can act on. The path is the one that failed, where the kernel named it."""
    if isinstance(error.filename, (str, bytes)) and os.path.isabs(error.filename):
        path = Path(os.fsdecode(error.filename))
    if error.errno in _FULL:
        return DiskFull(f"cannot {doing}: {_FULL[error.errno]} on the file system at {mount_point(path)} ({path})",
                        hint=remedy)
    cause = error.strerror or str(error)
    place = f" ({path})" if str(path) not in cause else ""
    if error.errno == errno.EROFS:
        return StoreError(f"cannot {doing}: the file system at {mount_point(path)} is read-only{place}",
                          hint="choose a folder that can be written, with IECHOR_HOME for the store "
                               "or IECHOR_SCRATCH for scratch")
    hint = "check who owns it and its mode, as the user who runs iechor" if error.errno in _REFUSED else None
    if error.errno in (errno.EIO, errno.ESTALE):
        hint = "the disk or the network file system fails (see dmesg); afterwards `iechor check` tells what it cost"
    if error.errno == errno.ENOENT:
        hint = "has somebody removed or moved that folder meanwhile? The same command given again makes it anew."
    return StoreError(f"cannot {doing}: {cause}{place}", hint=hint)


def is_full(error: BaseException | None) -> bool:
    """Whether it says that no space or no quota is left."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _FULL)


def mount_point(path: Path) -> Path:
    """The mount point above `path`, bind mounts too (proc(5), mountinfo); path itself need not exist."""
    here = Path(os.path.abspath(path))
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        lines = []
    points = {_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), line.split()[4]) for line in lines}
    while os.fsencode(here) not in points and not here.is_mount() and here != here.parent:
        here = here.parent
    return here


def make_folder(path: Path) -> None:
    """`path` and what is missing above it, 0700. Errors: OSError."""
    if not path.is_dir():
        make_folder(path.parent) if path.parent != path else None
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, FOLDER_MODE)
            if is_shared(path.parent):
                os.chmod(path, SHARED_FOLDER)


def is_shared(folder: Path) -> bool:
    """Whether its mode says that it is shared on purpose: the group may write, and what is made there is the group's.

    Errors: OSError.
    """
    return os.stat(folder).st_mode & SHARED_FOLDER == SHARED_FOLDER


def create(path: Path) -> int:
    """A new file open for reading and writing; its folder is made if it is not there. Errors: OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, FILE_MODE)
    except FileNotFoundError:
        make_folder(path.parent)
        fd = os.open(path, flags, FILE_MODE)
    if is_shared(path.parent):
        os.fchmod(fd, SHARED_FILE)
    return fd


def move(source: Path, target: Path) -> None:
    """rename(2), the target's folder made if it is not there. Errors: OSError."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        make_folder(target.parent)
        os.rename(source, target)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def write_file(target: Path, data: bytes, *, tmp: Path, durable: bool = False) -> None:
    """`data` at `target`, atomically, whatever was there before. `tmp`: a folder of the same file system.

    Errors: OSError; then nothing is left behind and `target` is as it was.
    """
    name = temporary_name(tmp)
    fd = create(name)
    try:
        try:
            write_all(fd, data)
            if durable:
                os.fdatasync(fd)
        finally:
            os.close(fd)
        move(name, target)
    except BaseException:
        remove(name)
        raise


def temporary_name(tmp: Path, prefix: str = "") -> Path:
    """A name in `tmp` that nobody else uses and that tells whose it is, so that it can be swept later."""
    return tmp / f"{prefix}{Owner.current().token}.{os.urandom(6).hex()}"


def remove(path: Path) -> bool:
    """Whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def sync_folder(path: Path) -> None:
    """Names in `path` survive a power loss. Errors: none (a file system that cannot sync a folder keeps it anyway)."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def now(tmp: Path) -> int:
    """Nanoseconds by the clock of the file system itself: the one that every host of a shared store agrees on.

    Errors: OSError.
    """
    name = temporary_name(tmp)
    fd = create(name)
    try:
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)
        remove(name)


_SAFE = re.compile(r"[^A-Za-z0-9._@-]")
_NAME_LIMIT = 200  # bytes; NAME_MAX is 255, and less on eCryptfs (143): a store there fails with ENAMETOOLONG


def escape(text: str) -> str:
    """One file name for any text: percent-encoded; a long one keeps its head and ends in its digest."""
    import hashlib

    name = _SAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), text)
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _NAME_LIMIT:
        name = name[: _NAME_LIMIT - 66] + "~" + hashlib.sha256(text.encode()).hexdigest()
    return name


def unescape(name: str) -> str:
    """What `escape` was given, as far as the file name tells."""
    from urllib.parse import unquote

    return unquote(name)
