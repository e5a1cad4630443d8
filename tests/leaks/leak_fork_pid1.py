import os
import socket

from measure import check

from rootless_builder._fakeroot import fork_pid1


def ended() -> None:
    """A pid 1 that is asked for nothing, and sees the end of its P1."""
    ours, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = fork_pid1(inner.fileno())
    inner.close()
    ours.close()
    os.waitpid(pid, 0)


check(ended, lambda: fork_pid1(), lambda: fork_pid1("0"))  # type: ignore[call-arg, arg-type]
