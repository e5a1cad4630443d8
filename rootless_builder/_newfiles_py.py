"""Small files of an unpacked layer, made in Python: the twin of native/newfiles.c."""

import errno
import os
import stat
import struct

_WANTED, _MADE = struct.Struct("<QQqIII"), struct.Struct("<QI")
_KEEP = 2**32 - 1  # an owner that is left as it is
_HOLE = 4096  # bytes; what is shorter is written, zeros or not
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_files(folder_fd: int, data: bytes, wanted: bytes, names: bytes, /) -> bytes:
    """Makes files in a folder where they must not be: wanted has a row _WANTED for each, with where its content is in
    `data`; names end with NUL. → a row _MADE for each; the inode is 0 where the kernel refused the owner, and then
    mode and time are not set either. Long zeros become a hole. Errors: OSError (EINVAL for rows that do not fit).
    """
    if len(wanted) % _WANTED.size or (names and not names.endswith(b"\0")):
        raise OSError(errno.EINVAL, "not whole rows")
    found, made = names.split(b"\0")[:-1], []
    for number, row in enumerate(_WANTED.iter_unpack(wanted)):
        name = found[number] if number < len(found) else b""
        if not name or b"/" in name or name in (b".", b".."):
            raise OSError(errno.EINVAL, "not a name for each file")
        start, size, mtime, mode, uid, gid = row
        if start + size > len(data):
            raise OSError(errno.EINVAL, "a file is not in its data")
        made.append(_made(folder_fd, name, data[start:start + size], (mtime, mode & 0o7777, uid, gid)))
    if len(made) != len(found):
        raise OSError(errno.EINVAL, "not a name for each file")
    return b"".join(made)


def _made(folder_fd: int, name: bytes, content: bytes, meta: tuple[int, int, int, int]) -> bytes:
    try:
        fd = os.open(name, _NEW, meta[1] & 0o777, dir_fd=folder_fd)
        try:
            return _filled(fd, content, *meta)
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None


def _filled(fd: int, content: bytes, mtime: int, mode: int, uid: int, gid: int) -> bytes:
    if len(content) >= _HOLE and not content.strip(b"\0"):
        os.ftruncate(fd, len(content))
    else:
        while content:
            content = content[os.write(fd, content):]
    try:
        if (uid, gid) != (_KEEP, _KEEP):
            os.fchown(fd, *(-1 if number == _KEEP else number for number in (uid, gid)))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
        return _MADE.pack(0, 0)
    if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
        os.fchmod(fd, mode)
    os.utime(fd, ns=(mtime, mtime))
    status = os.fstat(fd)
    return _MADE.pack(status.st_ino, status.st_mode)
