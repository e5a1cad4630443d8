"""Who is making a step just now, so that others on this machine wait for the result instead of making it too.

    claims/KEY     a symlink whose target is the token (owner.py) of whoever began: made and named in one system call

Only an economy: a claim that is lost, late or of another host costs the same work twice and nothing else, since what
a step makes is named by its digest. So there is no lock, and nobody waits for a process that cannot be seen.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import atomic
from .layout import Layout
from .owner import Owner

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds


@contextlib.contextmanager
def claimed(layout: Layout, key: str, *, made: Callable[[], bool], waiting: Callable[[], None]) -> Iterator[None]:
    """Ours until the context ends: at once, or when the process that has it is done or gone, or `made` says yes.

    waiting: told once, before the first wait. Errors: none; a store that cannot be written knows no claims.
    """
    path = layout.claims / hashlib.sha256(key.encode()).hexdigest()
    token = Owner.current().token
    pause = _FIRST_PAUSE
    while not _take(layout, path, token) and not made():
        if pause == _FIRST_PAUSE:
            waiting()
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    try:
        yield
    finally:
        if _holder(path) == token:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _take(layout: Layout, path: Path, token: str) -> bool:
    """False: another process that lives here has it."""
    for _ in range(2):
        try:
            os.symlink(token, path)
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                atomic.make_folder(layout.claims)
        except FileExistsError:
            owner = Owner.find(held := _holder(path))
            if held != token and owner is not None and owner.alive():
                return False
            with contextlib.suppress(OSError):
                os.unlink(path)
        except OSError:
            return True
        else:
            return True
    return True


def _holder(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
