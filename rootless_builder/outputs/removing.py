"""Removing what is in the way in a user's folder: folders without permissions, any depth, symlinks never followed."""

import contextlib
import os
import stat

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(folder: int, name: bytes) -> None:
    """`name` in the open `folder`, with all below it; what somebody else removes meanwhile is fine. Errors: OSError."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            return
        names, here = [name], _enter(folder, name)
        try:
            while names:
                deeper = _clear(here)
                if deeper is not None:
                    names.append(deeper)
                    following = _enter(here, deeper)
                elif names[1:]:
                    following = os.open("..", FOLDER, dir_fd=here)  # one descriptor, however deep it goes
                    os.rmdir(names.pop(), dir_fd=following)
                else:
                    os.rmdir(names.pop(), dir_fd=folder)
                    break
                os.close(here)
                here = following
        finally:
            os.close(here)


def open_up(folder: int) -> None:
    """A folder of ours that nobody may write to can be written by us from now on."""
    status = os.fstat(folder)
    if status.st_mode & 0o700 != 0o700 and status.st_uid == os.geteuid():
        os.fchmod(folder, stat.S_IMODE(status.st_mode) | 0o700)


def _enter(folder: int, name: bytes) -> int:
    try:
        fd = os.open(name, FOLDER, dir_fd=folder)
    except PermissionError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        os.chmod(name, 0o700, dir_fd=folder)  # it cannot be opened to be changed; O_NOFOLLOW looks again
        fd = os.open(name, FOLDER, dir_fd=folder)
    open_up(fd)
    return fd


def _clear(folder: int) -> bytes | None:
    """Unlinks what is no folder; the name of one that is, None when nothing is left."""
    with os.scandir(folder) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
    return next((name for name, is_folder in found if is_folder), None)
