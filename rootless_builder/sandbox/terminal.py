"""The caller's own terminal while a container uses it: raw, and put back whatever happens."""

import fcntl
import os
import signal
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """Every key goes through as it is, Ctrl-C too. Nothing happens where `fd` is no terminal."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def size_of(*fds: int | None) -> tuple[int, ...]:
    """(rows, columns) of the first that is a terminal; () when none is, or it does not know."""
    for fd in fds:
        if fd is not None and os.isatty(fd):
            size = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))[:2]
            if all(size):
                return size
    return ()


def copy_size(source: int, master: int) -> None:
    """Give the container's terminal the size of ours. The kernel tells its programs (SIGWINCH)."""
    try:
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8)
        if any(struct.unpack("HHHH", size)):
            fcntl.ioctl(master, termios.TIOCSWINSZ, size)
    except OSError:  # no terminal, or the container is gone
        pass


@contextmanager
def following_size(source: int, master: int) -> Iterator[None]:
    """As copy_size, now and with each SIGWINCH. Main thread only."""
    copy_size(source, master)
    before = signal.signal(signal.SIGWINCH, lambda *_: copy_size(source, master))
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
