"""A store on a network, and two hosts that use it.

It is seen through two FUSE mounts of one folder, as two NFS clients would see it: names and attributes cached for as
long as the test says, no xattrs, no chown, locks of one mount unknown to the other. What runs `elsewhere` has a PID
namespace of its own, so that neither side can tell whether a process of the other lives.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import Person

BINDFS = ("bindfs", "--xattr-none", "--chown-deny", "--chgrp-deny", "-o")


@contextlib.contextmanager
def seen_by_two(user: Person, folder: str, seconds: int) -> Iterator[tuple[Path, Path]]:
    """Two mounts of one folder of their home, made if it is not there; seconds: for which each believes what it saw."""
    points = user.home / "host1", user.home / "host2"
    caches = f"allow_other,attr_timeout={seconds},entry_timeout={seconds},negative_timeout={seconds}"
    (user.home / folder).mkdir(mode=0o700, exist_ok=True)
    os.chown(user.home / folder, user.uid, user.gid)
    with contextlib.ExitStack() as stack:
        for point in points:
            point.mkdir(exist_ok=True)
            subprocess.run([*BINDFS, caches, user.home / folder, point], check=True)
            stack.callback(subprocess.run, ["umount", "-l", point], check=True)
        yield points


def elsewhere(user: Person) -> tuple[str, ...]:
    """The words before a command that make root run it as the user, as on another host."""
    return ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "setpriv", f"--reuid={user.uid}",
            f"--regid={user.gid}", "--clear-groups")
