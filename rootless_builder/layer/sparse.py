"""Which parts of a big file are worth storing. Decided by its bytes alone, so that every file system, and a
copy that lost its holes, gives the same layer.

    a file ≥ MIN_SIZE, at least half of it holes ──▶ stored sparse
    hole = a run of whole, aligned UNITs of zeros (the last unit may be cut short by the end of the file)
"""

import errno
import os

MIN_SIZE = 1 << 20
UNIT = 1 << 16
_ZEROS = bytes(UNIT)


def extents(fd: int, offset: int, size: int) -> list[tuple[int, int]] | None:
    """(offset, length) in the file of all data, ascending; None where the file is to be stored whole.

    The file is `size` bytes of `fd` from `offset`. Gives up as soon as more than half is known to be data.
    Errors: OSError.
    """
    if size < MIN_SIZE:
        return None
    found: list[tuple[int, int]] = []
    stored = position = 0
    while position < size:
        position = _next_data(fd, offset, position, size)
        if position >= size:
            break
        length = min(UNIT, size - position)
        data = os.pread(fd, length, offset + position)
        if len(data) == length and data != _ZEROS[:length]:
            stored += length
            if stored > size // 2:
                return None
            if found and sum(found[-1]) == position:
                found[-1] = (found[-1][0], found[-1][1] + length)
            else:
                found.append((position, length))
        position += UNIT
    return found


def _next_data(fd: int, offset: int, position: int, size: int) -> int:
    """The unit that holds the first byte, from `position` on, that the file system does not know to be a hole."""
    try:
        found = os.lseek(fd, offset + position, os.SEEK_DATA) - offset
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole follows
            return size
        return position  # the file system does not tell
    return max(position, found // UNIT * UNIT)
