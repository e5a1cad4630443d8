"""What folders of the host held at earlier builds: (device, inode, size, mtime, ctime, mode) → digest, on this node.

    SCRATCH/contexts/HEX      one for each place that was surveyed; HEX: of its absolute path
    magic 8 │ taken 8 │ sha256 of the rest 32 │ layercore.remember

Written whole and renamed into place: of two builds at once the later one's stays. A file that is damaged, or could be
somebody else's, is as good as none.

An entry is believed only when its file could not change any more without its ctime changing too (git's rule against
"racily clean" entries): its last change lies more than SLACK before the build that read it; or, where clocks and
times cannot be trusted (NFS and other file systems that are not of this machine), an earlier build, more than SLACK
before, saw the same times already.
"""

import contextlib
import hashlib
import os
import stat
import struct
from pathlib import Path

from ..store import atomic
from ..store.filesystem import LOCAL, file_system

SLACK = 2_000_000_000  # ns: the coarsest times of a file system of this machine (FAT), and more than its clock's tick
OLD = 30 * 86_400  # seconds without a change, after which a memory is removed
NOTHING = memoryview(b"")
_MAGIC = b"iememry1"
_HEAD = struct.Struct("<8sq32s")


class ContextMemory:
    """now: nanoseconds since the epoch, when the build began; nothing was read before."""

    def __init__(self, folder: Path, now: int) -> None:
        self._folder = folder
        self._now = now

    def recall(self, place: Path) -> tuple[memoryview, memoryview]:
        """See sources.survey.Memory."""
        data = b""
        with contextlib.suppress(OSError):
            fd = os.open(self._path(place), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(fd, "rb") as stream:
                if _is_ours(os.fstat(fd)) and _is_ours(os.lstat(self._folder)):
                    data = stream.read()
        if len(data) < _HEAD.size:
            return NOTHING, NOTHING
        magic, taken, digest = _HEAD.unpack_from(data)
        body = memoryview(data)[_HEAD.size:]
        if magic != _MAGIC or hashlib.sha256(body).digest() != digest:
            return NOTHING, NOTHING
        return body, body if 0 <= taken < self._now - SLACK else NOTHING

    def quiet(self, place: Path) -> int:
        """See sources.survey.Memory."""
        return quiet_before(self._now, place)

    def keep(self, place: Path, memory: bytes) -> None:
        """It is a help, no more: where it cannot be written, nothing is said."""
        with contextlib.suppress(OSError):
            atomic.make_folder(self._folder)
            head = _HEAD.pack(_MAGIC, self._now, hashlib.sha256(memory).digest())
            atomic.write_file(self._path(place), head + memory, tmp=self._folder)
            self._sweep()

    def _path(self, place: Path) -> Path:
        return self._folder / hashlib.sha256(os.fsencode(place)).hexdigest()

    def _sweep(self) -> None:
        """What was not written for long, or half-written by a build that was killed."""
        with os.scandir(self._folder) as listing:
            for entry in listing:
                if entry.stat(follow_symlinks=False).st_mtime < self._now / 1e9 - OLD:
                    atomic.remove(Path(entry.path))


def quiet_before(now: int, place: Path) -> int:
    """What was changed before then, both in nanoseconds, cannot change unnoticed: nothing, where times say little."""
    return now - SLACK if file_system(place) in LOCAL else -1 << 62


def _is_ours(status: os.stat_result) -> bool:
    """Nobody else can have written it: scratch may lie in /var/tmp."""
    return status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o022
