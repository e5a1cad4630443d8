"""Files below a folder, opened without following a symlink: what both halves of the layer core in Python need."""

import errno
import os
import stat

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_beneath(root_fd: int, path: bytes) -> int:
    """A read-only descriptor of the regular file `path`, no symlink followed in any component. Errors: OSError."""
    *folders, name = [part for part in path.split(b"/") if part] or [b""]
    if b".." in (*folders, name) or path.startswith(b"/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    here, opened = root_fd, -1
    try:
        for part in folders:
            below = _at_path(path, part, FOLDER, here)
            if opened >= 0:
                os.close(opened)
            here = opened = below
        fd = _at_path(path, name, _FILE, here)
    finally:
        if opened >= 0:
            os.close(opened)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return fd


def _at_path(path: bytes, part: bytes, flags: int, dir_fd: int) -> int:
    try:
        return os.open(part, flags, dir_fd=dir_fd)
    except OSError as error:
        number = error.errno
        if number == errno.ENOTDIR and flags == FOLDER and _is_symlink(part, dir_fd):
            number = errno.ELOOP  # as openat2(2) has it
        raise OSError(number, os.strerror(number or 0), path) from None


def _is_symlink(part: bytes, dir_fd: int) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(part, dir_fd=dir_fd).st_mode)
    except OSError:
        return False
