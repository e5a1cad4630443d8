"""What pid 1 or its child does to become the command, as data: P1 writes it, pid1_plan.c or follower.py follows it.

Each step is a system call or two, with two numbers, data, and what is said when it fails. What each means:

    SESSION                        a session of its own
    TERMINAL   a: fd               becomes the controlling one
    FDS        a: how many         the first of the fds given become 0, 1, 2 …; all others end with exec
    ENTER      a: 0, 1; path       chdir; 0: where permission is lacking, once more at 1; 1: only then
    INSIDE                         the working directory is below the root (CVE-2024-21626)
    LIMIT      a: RLIMIT_*         soft and hard limit
    BOUND      a: capabilities     that the command may ever have
    KEYRING                        an empty session keyring, where there are any
    SCOPE      a: LANDLOCK_SCOPE_* where there are any
    FILTER     struct sock_filter  seccomp
    LISTENER   a: fd, or -1; b     the fakeroot filter; its listener goes to fd, or to P1; b: fsync is really done
    OWNER      a: uid, b: gid      of a path
    GROUPS     u32 each            supplementary
    USER       a: uid, b: gid      real, effective and saved
    REDUCE     a: capabilities     that stay in force
    NO_NEW_PRIVILEGES, SIGNALS     default dispositions, nothing blocked
    UMASK      a
    WATCH                          ends with its parent, and at once if P1 has ended
    EXEC       strings             of the paths, the first that is there
    GATE                           Python's alone: waits for the tracer, then loads plainfilter.py's program
"""

import enum
import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence

from ..errors import IechorError, SandboxError
from ..values import dataclass
from .failures import ExecFailed, encode

CAUSE = "\x01"  # in a failure's text: strerror
NOTHING_FOUND = -1  # instead of an errno: no file of that name in the PATH
_HEAD = struct.Struct("=IIqqII")
_FAILURE = struct.Struct("=iI")
_COUNTS = struct.Struct("=3I")


class Op(enum.IntEnum):
    """As native/pid1.h has them."""

    SESSION = 1
    TERMINAL = 2
    FDS = 3
    ENTER = 4
    INSIDE = 5
    LIMIT = 6
    BOUND = 7
    KEYRING = 8
    SCOPE = 9
    FILTER = 10
    LISTENER = 11
    OWNER = 12
    GROUPS = 13
    USER = 14
    REDUCE = 15
    NO_NEW_PRIVILEGES = 16
    SIGNALS = 17
    UMASK = 18
    WATCH = 19
    EXEC = 20
    GATE = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """failures: (errno, or 0 for any, and the message), the first that fits is said; b"": it is no failure. None that
    fits: a bug of ours.
    """

    op: int
    a: int = 0
    b: int = 0
    data: bytes = b""
    failures: tuple[tuple[int, bytes], ...] = ()


def failure(error: IechorError, number: int = 0) -> tuple[int, bytes]:
    """What the launcher is told. CAUSE in the message stands for the errno's own text."""
    return number, json.dumps({"error": encode(error)}).replace("\\u0001", CAUSE).encode()


_BUG = failure(SandboxError(f"cannot prepare the sandbox: {CAUSE}", hint="this is a bug of iechor: please report it"))
IGNORED = (0, b"")


def program(paths: Sequence[str], argv: Sequence[str], env: Iterable[str]) -> bytes:
    """The data of an EXEC. Errors: ExecFailed."""
    lists = [list(map(os.fsencode, words)) for words in (paths, argv, env)]
    if any(b"\0" in word for words in lists for word in words):
        raise ExecFailed("cannot run the command: a word or a variable has a NUL in it", status=126)
    return _COUNTS.pack(*map(len, lists)) + b"".join(word + b"\0" for words in lists for word in words)


def words(data: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """The inverse of `program`."""
    paths, argv, _ = _COUNTS.unpack_from(data)
    every = data[_COUNTS.size:].split(b"\0")[:-1]
    return every[:paths], every[paths:paths + argv], every[paths + argv:]


def pack(steps: Iterable[Step]) -> bytes:
    return b"".join(map(_packed, steps))


def _packed(step: Step) -> bytes:
    data = step.data + bytes(-len(step.data) % 8)
    said = b"".join(_FAILURE.pack(number, len(text)) + text for number, text in (*step.failures, _BUG))
    padding = bytes(-len(said) % 8)
    size = _HEAD.size + len(data) + len(said) + len(padding)
    return b"".join((_HEAD.pack(step.op, size, step.a, step.b, len(step.data), len(said)), data, said, padding))


def unpack(plan: bytes) -> Iterator[Step]:
    """The inverse of `pack`."""
    at = 0
    while at < len(plan):
        op, size, a, b, length, said = _HEAD.unpack_from(plan, at)
        data = at + _HEAD.size
        failures, text = [], data + length + -length % 8
        end = text + said
        while text < end:
            number, count = _FAILURE.unpack_from(plan, text)
            text += _FAILURE.size + count
            failures.append((number, plan[text - count:text]))
        yield Step(op=op, a=a, b=b, data=plan[data:data + length], failures=tuple(failures))
        at += size


def explained(step: Step, number: int) -> bytes:
    """What is said of this errno; b"": it is no failure."""
    for wanted, text in step.failures:
        if wanted in (number, 0):
            return text.replace(CAUSE.encode(), os.strerror(number).encode())
    return b""
