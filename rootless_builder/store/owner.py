"""Whose temporary file, lease or folder it is, and whether that process still lives. No lock, no daemon.

A process is named by the boot it runs in, its PID namespace, its PID and its start time: none of it can be
mistaken for another process later. Of a process of another boot or namespace (another host of a shared store)
nothing can be known here; there the age of what it left decides.
"""

import functools
import hashlib
import os
import re

from .. import processes
from ..values import dataclass

_TOKEN = re.compile(r"([0-9a-f]{12})-([0-9]+)-([0-9]+)")
GRACE = 24 * 3600 * 10**9  # nanoseconds after which what a process of another host left is taken for abandoned


@dataclass(frozen=True, slots=True)
class Owner:
    """place: digest of boot id and PID namespace; started: clock ticks after boot."""

    place: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> "Owner":
        """This process."""
        return _process(os.getpid())

    @classmethod
    def find(cls, name: str) -> "Owner | None":
        """The owner whose token is part of a file name."""
        match = _TOKEN.search(name)
        return cls(match[1], int(match[2]), int(match[3])) if match else None

    @property
    def token(self) -> str:
        return f"{self.place}-{self.pid}-{self.started}"

    def alive(self) -> bool | None:
        """None when nobody here can tell."""
        if self.place != _place():
            return None
        return processes.started(self.pid) == self.started

    def gone(self, age: int) -> bool:
        """Whether what it left, unchanged for `age` nanoseconds, may be swept."""
        alive = self.alive()
        return age > GRACE if alive is None else not alive


def abandoned(name: str, age: int) -> bool:
    """Whether a temporary of this name and age (ns since its last change) belongs to nobody any more."""
    owner = Owner.find(name)
    return age > GRACE if owner is None else owner.gone(age)


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> Owner:
    """Read once; a fork is another process."""
    return Owner(_place(), pid, processes.started(pid) or 0)


def _place() -> str:
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    # Where /proc is masked no two processes know each other: age decides.
    place = f"{processes.boot()}\n{namespace}".encode() if processes.boot() and namespace else os.urandom(16)
    return hashlib.sha256(place).hexdigest()[:12]
