"""What a small build context holds, told in full: where a COPY would take something else, the text is another one.

Contents whose (device, inode, size, mtime, ctime, mode) are remembered are not read again; contexts/memory.py says when
that may be believed. Only what COPY takes whole from a folder (sources/survey.py) is told at all: no hard links, no
devices, no exceptions in the ignore file.
"""

import os
import struct

from .. import layercore
from ..paths import ROOT, encode
from ..sources.umask import umask_of

MOST_ENTRIES, MOST_BYTES = 1000, 32 << 20  # beyond, the rest of a build takes longer than its start
_MODES = struct.pack("=4096I", *range(4096))
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Look:
    """told: names, modes, targets of links, digests of contents."""

    def __init__(self, fd: int, skipped: list[bytes], memory: bytes) -> None:
        """Errors: OSError, also where it is not whole or too large."""
        self._found = layercore.survey(fd, None, skipped)
        _, size, odd = self._found.facts()
        if odd or size > MOST_BYTES:
            raise OSError
        self._contents = bytearray(32 * len(self._found))
        layercore.recall(self._found, memory, self._contents)
        layercore.learn(fd, self._found, self._contents)
        text, digests = layercore.tell(self._found, self._contents, 0, 0, _MODES)
        self.told = b"%o %o\n" % (os.fstat(fd).st_mode, umask_of(fd)) + text + digests

    def memory(self, quiet: int) -> bytes:
        """For a later look. quiet: nanoseconds; what was last changed before then cannot change unnoticed."""
        return layercore.remember(self._found, self._contents, b"", quiet)


def look(folder: str, ignore: bytes | None, memory: bytes) -> Look | None:
    """None where it is too much, or cannot be told. ignore: the text of its ignore file. memory: of an earlier look."""
    try:
        fd = os.open(folder, _FOLDER)
    except OSError:
        return None
    try:
        skipped = [] if ignore is None else _skipped(fd, ignore)
        return Look(fd, skipped, memory) if _is_small(folder, frozenset(skipped)) else None
    except OSError:
        return None
    finally:
        os.close(fd)


def _is_small(folder: str, skipped: frozenset[bytes]) -> bool:
    """Counted before all of it is looked at."""
    left, pending = MOST_ENTRIES, [b""]
    while pending:
        inside = pending.pop()
        with os.scandir(os.path.join(os.fsencode(folder), inside)) as listing:
            for entry in listing:
                path = os.path.join(inside, entry.name)
                left -= 1
                if left < 0:
                    return False
                if entry.is_dir(follow_symlinks=False) and path not in skipped:
                    pending.append(path)
    return True


def _skipped(fd: int, ignore: bytes) -> list[bytes]:
    """What the ignore file leaves out, in the order that survey takes. Errors: OSError, also for exceptions in it."""
    from ..language.ignore import IgnorePatterns
    from ..sources.survey import NotWhole, skipped_below

    try:
        patterns = IgnorePatterns.read(ignore.decode("utf-8", "surrogateescape"))
        return sorted((encode(path) for path in skipped_below(fd, ROOT, patterns)), key=lambda path: path.split(b"/"))
    except NotWhole as error:
        raise OSError from error
