"""Finding and making paths inside a root folder, from an fd of that root, with nothing able to lead out of it.

Every step opens one name with O_NOFOLLOW; links are read and walked by us, absolute ones from the root, ".." stops at
the root. So an image whose /etc/resolv.conf is a link to anywhere gets its mount inside the image, or an error.
"""

import errno
import os
import stat

MAX_LINKS = 40


def open_in_root(root_fd: int, path: str, *, directory: bool | None, made: list[str] | None = None) -> int:
    """An O_PATH fd of `path`. directory None: whatever it is. What is missing is made (folders 0755, a file 0644) and
    added to `made`, unless `made` is None. OSError: ENOENT, ENOTDIR, EISDIR, ELOOP; of the path inside the root.
    """
    pending = path.split("/")[::-1]
    walked = [os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)]
    names: list[str] = []
    links = 0
    try:
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if names:
                    names.pop()
                    os.close(walked.pop())
                continue
            last = not any(rest not in ("", ".") for rest in pending)
            fd = _step(walked[-1], part, made, names, directory=bool(directory) or not last)
            mode = os.fstat(fd).st_mode
            if not stat.S_ISLNK(mode):
                walked.append(fd)
                names.append(part)
                if not stat.S_ISDIR(mode) and (directory or not last):
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "/" + "/".join(names))
                continue
            links += 1
            target = os.readlink("", dir_fd=fd)
            os.close(fd)
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                names.clear()
                while len(walked) > 1:
                    os.close(walked.pop())
            pending += target.split("/")[::-1]
        if directory is False and stat.S_ISDIR(os.fstat(walked[-1]).st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return walked.pop()
    finally:
        for fd in walked:
            os.close(fd)


def _step(parent: int, name: str, made: list[str] | None, names: list[str], *, directory: bool) -> int:
    """Open `name` below `parent`, a link as itself; make it when it is missing."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if made is None:
            raise
    if directory:
        os.mkdir(name, 0o755, dir_fd=parent)
    else:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644,
                         dir_fd=parent))
    made.append("/".join([*names, name]))
    return os.open(name, flags, dir_fd=parent)


def is_directory_in_root(root_fd: int, path: str) -> bool | None:
    """Whether `path` is a folder; None when nothing is there (a link is followed inside the root)."""
    try:
        os.close(open_in_root(root_fd, path, directory=True))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return False
    return True
