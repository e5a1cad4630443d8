"""What a call leaves behind: Python's blocks, the C heap, descriptors and, where Python counts them (a debug build),
references. The scripts beside this one use it, each in a process of its own: `python leak_X.py` fails if X leaks."""

import ctypes
import gc
import os
import sys
from collections.abc import Callable

ROUNDS = 400
_libc = ctypes.CDLL(None)


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


_libc.mallinfo2.restype = _Mallinfo2


def _no_references() -> int:
    return 0


_references: Callable[[], int] = getattr(sys, "gettotalrefcount", _no_references)


def _held() -> tuple[int, int, int, int]:
    gc.collect()
    heap = _libc.mallinfo2()
    return (sys.getallocatedblocks(), heap.uordblks + heap.hblkhd, len(os.listdir("/proc/self/fd")), _references())


def check(*calls: Callable[[], object]) -> None:
    """Each call, with its errors, again and again: nothing may grow with the number of rounds."""
    for call in calls:
        for _ in range(20):
            _quietly(call)
        before = _held()
        for _ in range(ROUNDS):
            _quietly(call)
        blocks, heap, descriptors, references = (after - then for after, then in zip(_held(), before, strict=True))
        assert blocks < ROUNDS // 4, f"{blocks} blocks of Python are left after {ROUNDS} calls"
        assert heap < ROUNDS * 4, f"{heap} bytes of the C heap are left after {ROUNDS} calls"
        assert descriptors == 0, f"{descriptors} descriptors are left after {ROUNDS} calls"
        assert abs(references) < ROUNDS // 4, f"{references} references are left after {ROUNDS} calls"


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except (OSError, ValueError, TypeError, RuntimeError):
        pass
