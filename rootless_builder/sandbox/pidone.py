"""Pid 1 as P1 holds it: forked before the root changes, from then on told what to do (native/pid1.h has the packets).

In C where there is a compiler at installation: then nothing of P1's memory is written to after the fork, and the kernel
copies none of it. Else, and for tracing.py, in Python (follower.py).
"""

import errno
import os
import socket
from collections.abc import Sequence

from . import fakeroot, follower, plan, wire
from .plan import Step
from .tracing import Gate

MOUNT_PROC, COMMAND, REAPER = b"p", b"c", b"i"
_ANSWER = 4  # bytes of an errno


class PidOne:
    """pid: as P1 sees it. link: P1's end of the pair; pid 1 and its child hold the other. gate, final: for a command
    that is to be traced (tracing.py), and where what is seen goes.
    """

    def __init__(self, gate: Gate | None = None, final: int | None = None) -> None:
        self.link, inner = wire.pair()
        forked = fakeroot.fork_pid1(inner.fileno()) if gate is None else None
        self.pid = os.fork() if forked is None else forked
        if self.pid == 0:
            follower.live(inner.fileno(), gate, final)
        inner.close()

    def mount_proc(self, folder: int) -> None:
        """The /proc of its pid namespace, before the root is changed. Errors: OSError."""
        socket.send_fds(self.link, [MOUNT_PROC], [folder])
        number = int.from_bytes(self.link.recv(_ANSWER), "little", signed=True)
        if number:
            raise OSError(number, os.strerror(number))

    def become(self, steps: Sequence[Step], report: int, fds: Sequence[int], *, reaper: bool) -> None:
        """Follow the plan; reaper: in a child, whose end is told on the link. A step that fails is told on `report`.
        fds: what the steps count. Errors: OSError.
        """
        file = os.memfd_create("iechor-plan", os.MFD_CLOEXEC)
        try:
            wire.write_all(file, plan.pack(steps))
            socket.send_fds(self.link, [REAPER if reaper else COMMAND], [file, report, *fds])
        except BrokenPipeError:
            raise ProcessLookupError(errno.ESRCH, "pid 1 of the sandbox was killed") from None
        finally:
            os.close(file)
