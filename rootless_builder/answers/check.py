"""Whether an answer still holds: all that its build looked at is as it was. Cheap and likely reasons first."""

import errno
import os
import stat

from . import leftovers
from .answer import Answer, Call, Told, told_of
from .context import look


def holds(answer: Answer, call: Call) -> bool:
    return (answer.call == call
            and all(_is_same(path, known) for path, known in answer.files.items())
            and all(_size_of(path) == size for path, size in answer.sizes.items())
            and all(_facts_of(path) == (size, mtime) for path, size, mtime in answer.code)
            and mode_of(answer.store) == answer.store_mode
            and _index_is_youngest(answer.store)
            and not leftovers.in_store(answer.store) and not leftovers.in_scratch(answer.scratch)
            and _told(answer) == answer.context[2])


def facts_of_code(paths: "list[str]") -> tuple[tuple[str, int, int], ...]:
    """As Answer.code has them; a file that is not there is left out."""
    found = ((path, _facts_of(path)) for path in paths)
    return tuple((path, *facts) for path, facts in found if facts is not None)


def mode_of(folder: str) -> tuple[int, int] | None:
    """(mode, owner): a store that others may write to is refused."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_mode, status.st_uid


def bytes_of(path: str, most: int) -> bytes | None:
    """No more than `most` and one. None where there is none. Errors: OSError, also for what is no regular file: a pipe
    can be read only once."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
        return os.read(fd, most + 1)
    finally:
        os.close(fd)


def _told(answer: Answer) -> bytes | None:
    found = look(*answer.context[:2], answer.memory)
    return None if found is None else found.told


def _is_same(path: str, known: Told | None) -> bool:
    try:
        return told_of(bytes_of(path, known[0] if known is not None else 0)) == known
    except OSError:
        return False


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _facts_of(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _index_is_youngest(store: str) -> bool:
    """Else a command was killed before it wrote the index (Images.catch_up)."""
    try:
        index, *parts = (os.stat(os.path.join(store, name)).st_mtime_ns for name in ("index.json", "refs", "images"))
    except OSError:
        return False
    return index > max(parts)
