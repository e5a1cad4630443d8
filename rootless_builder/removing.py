"""Removing folders, whatever is in them: any depth, names in any bytes, folders without permissions; no symlink is
followed, though somebody else may be writing there. One descriptor, however deep it goes.
"""

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PAUSES = (0.01, 0.05, 0.2)  # seconds


def remove_tree(path: Path | bytes, folder: int | None = None) -> None:
    """All of it, relative to the open `folder`; absent: fine, and so is what another process removes meanwhile. One
    that is being killed may still write there, or its mount hold a folder: that is over in a moment. Errors: OSError.
    """
    for pause in _PAUSES:
        try:
            return _remove(os.fsencode(path), folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EBUSY):
                raise
        time.sleep(pause)
    _remove(os.fsencode(path), folder)


def enter(name: bytes, folder: int | None = None) -> int:
    """A descriptor of a folder that can be read and written from now on, if it is ours (overlayfs makes work/work with
    mode 000). Errors: OSError, for a symlink too.
    """
    try:
        fd = os.open(name, FOLDER, dir_fd=folder)
    except PermissionError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        os.chmod(name, 0o700, dir_fd=folder)  # it cannot be opened to be changed; O_NOFOLLOW looks again
        fd = os.open(name, FOLDER, dir_fd=folder)
    open_up(fd)
    return fd


def open_up(folder: int) -> None:
    """A folder of ours that nobody may write to can be written by us from now on."""
    status = os.fstat(folder)
    if status.st_mode & 0o700 != 0o700 and status.st_uid == os.geteuid():
        os.fchmod(folder, stat.S_IMODE(status.st_mode) | 0o700)


def _remove(name: bytes, folder: int | None) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            return
        _empty(enter(name, folder))
        os.rmdir(name, dir_fd=folder)


def _empty(folder: int) -> None:
    """Depth first: a folder that is empty is left by ".." and removed from above. Closes the descriptor."""
    try:
        trail: list[tuple[bytes, list[bytes]]] = [(b"", _clear(folder))]  # name, folders that are left in it
        while trail:
            name, folders = trail[-1]
            if folders:
                below = folders.pop()
                with contextlib.suppress(FileNotFoundError):
                    deeper = enter(below, folder)
                    os.close(folder)
                    folder = deeper
                    trail.append((below, _clear(folder)))
                continue
            trail.pop()
            if trail:
                above = os.open("..", FOLDER, dir_fd=folder)
                os.close(folder)
                folder = above
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(name, dir_fd=folder)
    finally:
        os.close(folder)


def _clear(folder: int) -> list[bytes]:
    """Unlinks all that is no folder; the names of the folders."""
    folders = []
    with os.scandir(folder) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if is_folder:
            folders.append(name)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
    return folders
