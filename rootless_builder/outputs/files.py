"""Files that are there whole or not at all, wherever the user wants them; and what to say when they cannot be.

    STDOUT     descriptor 1, as it comes
    a file     under a temporary name beside it, then renamed
    a pipe, a device (/dev/fd/3, a FIFO)     as it comes
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import DiskFull, IechorError, StoreError, UsageError
from ..store.atomic import write_all

STDOUT = "-"
_PIECE, _CHUNK = 1 << 26, 1 << 20  # bytes
# What copy_file_range(2) and sendfile(2) say of files they do not take: another file system, a pipe, O_APPEND …
_BY_HAND = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_USERS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP,
          errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL)


def check_file(dest: str) -> None:
    """Whether a file can be made there, as far as that can be told. Errors: UsageError."""
    if dest == STDOUT:
        return
    path = Path(dest)
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        kind = None
    except OSError as error:
        raise explain(error, dest) from error
    if kind is not None and stat.S_ISDIR(kind):
        raise UsageError(f"cannot write the output {dest}: it is a folder", hint="name a file, as dest=FILE")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write the output {dest}: there is no folder {path.parent}", hint="make it first")
    where = path.parent if kind is None or stat.S_ISREG(kind) else path
    if not os.access(where, os.W_OK):
        raise UsageError(f"cannot write the output {dest}: {where} is not writable for you",
                         hint="name a place that is yours")


@contextlib.contextmanager
def whole_file(dest: str) -> Iterator[int]:
    """A descriptor to write to; what was written has its name when the block ends well. Errors: as `explained`."""
    with explained(dest):
        if dest == STDOUT:
            yield 1
            return
        path = Path(dest)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.stat().st_mode):
                with open(path, "wb", buffering=0) as special:
                    yield special.fileno()
                return
            path = path.resolve()  # a symlink to a file stays one, as with open(2)
        part = path.with_name(f".{path.name[:200]}.{os.urandom(6).hex()}")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            try:
                yield fd
            finally:
                os.close(fd)
            os.rename(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise


@contextlib.contextmanager
def explained(dest: str) -> Iterator[None]:
    """OSError inside → an error that names the output. Errors: DiskFull, UsageError, StoreError.

    A pipe that nobody reads any more is left to whoever knows what to do then.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except DiskFull as error:
        if not error.message.startswith("cannot write the layer"):
            raise  # of the store or of scratch, and it says so
        raise DiskFull(f"cannot write the output {named(dest)}: {error.message.rpartition(': ')[2]}",
                       hint="free some space there, or name another place") from error
    except OSError as error:
        raise explain(error, dest) from error


def append(out_fd: int, fd: int, offset: int, size: int) -> None:
    """`size` bytes of `fd` from `offset` on, to where `out_fd` stands; in pieces, between which Ctrl-C is heard.

    Errors: OSError; ESTALE where there are not so many.
    """
    end = offset + size
    while offset < end:
        done = _moved(out_fd, fd, offset, min(end - offset, _PIECE))
        if not done:
            raise OSError(errno.ESTALE, "a file became shorter while it was read")
        offset += done


def _moved(out_fd: int, fd: int, offset: int, size: int) -> int:
    """Within the kernel if it can, which then may share blocks of the disk instead of copying them."""
    for move in (_copied, os.sendfile):
        try:
            if done := move(out_fd, fd, offset, size):
                return done
        except OSError as error:
            if error.errno not in _BY_HAND:
                raise
    data = os.pread(fd, min(size, _CHUNK), offset)
    write_all(out_fd, data)
    return len(data)


def _copied(out_fd: int, fd: int, offset: int, size: int) -> int:
    return os.copy_file_range(fd, out_fd, size, offset)


def explain(error: OSError, dest: str) -> IechorError:
    """The error for an output that cannot be written."""
    cause = error.strerror or str(error)
    if isinstance(error.filename, (str, bytes)) and os.fsdecode(error.filename) not in dest:
        cause = f"{cause} ({os.fsdecode(error.filename)})"
    told = f"cannot write the output {named(dest)}: {cause}"
    if error.errno in _FULL:
        return DiskFull(told, hint="free some space there, or name another place")
    if error.errno in _USERS:
        return UsageError(told, hint="name a place that you can write to")
    return StoreError(told)


def named(dest: str) -> str:
    return "on standard output" if dest == STDOUT else dest
