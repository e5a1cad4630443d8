"""Keeps an answer for the next call of the same words."""

import contextlib
import os
from pathlib import Path

from ..store import atomic
from .answer import Answer, packed, path_of
from .check import holds

OLD = 30 * 86_400  # seconds after which one that was never made anew is removed
MOST = 1 << 20  # bytes


def keep(answer: Answer, *, now: float) -> None:
    """If it holds: what was read before or during the build is as it was. now: seconds since the epoch.

    It is a help, no more: where it cannot be written, nothing is said.
    """
    data = packed(answer)
    if len(data) > MOST or not holds(answer, answer.call):
        return
    path = Path(path_of(answer.scratch, answer.call))
    with contextlib.suppress(OSError):
        atomic.make_folder(path.parent)
        atomic.write_file(path, data, tmp=path.parent)
        with os.scandir(path.parent) as listing:
            for entry in listing:
                if entry.stat(follow_symlinks=False).st_mtime < now - OLD:
                    atomic.remove(Path(entry.path))
