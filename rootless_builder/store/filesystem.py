"""What kind of file system a path lies on: one of this machine, whose answers are true at once, or another one."""

import contextlib
import os
import re
from pathlib import Path

LOCAL = frozenset(("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"))
CACHES = 60  # seconds for which a host believes what it saw of names and attributes; nfs(5), acregmax and acdirmax
_LONGER = re.compile(r"\bac(?:reg|dir)max=([0-9]+)")


def file_system(place: Path) -> str:
    """The type of file system that `place` lies on, as /proc/self/mountinfo has it; "" when it is not known."""
    return _mount(place)[0]


def stale_for(place: Path) -> int:
    """Seconds for which a host may see what is no longer so there: 0 on this machine's own file systems.

    Mounted with longer caches than nfs(5) has by itself, as long as those; hosts that share a store mount it alike.
    """
    kind, options = _mount(place)
    return 0 if kind in LOCAL else max(CACHES, *map(int, _LONGER.findall(options)), 0)


def _mount(place: Path) -> tuple[str, str]:
    """(type, options of the file system) of the mount that `place` lies on."""
    found, longest = ("", ""), -1
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            fields, _, rest = line.partition(b" - ")
            point = fields.split()[4].decode("unicode_escape").encode("latin-1")
            below = os.fsencode(place)
            if (below == point or below.startswith(point.rstrip(b"/") + b"/")) and len(point) >= longest:
                kind, _, options = rest.decode("utf-8", "replace").rstrip("\n").split(" ", 2)
                found, longest = (kind, options), len(point)
    return found
