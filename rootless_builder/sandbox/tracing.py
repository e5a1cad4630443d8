"""Where no supervisor can run and owners may be lost: who wanted to give what to whom, seen by ptrace.

    P3, the command   waits at the gate, loads plainfilter's traced program: it stops at chown and mknod, nowhere else
    P2, pid 1         traces it and all it starts: notes the call, has it answered "done" unexecuted, goes on

Each stop takes some 50 µs, and forks and signals stop too. Nothing is imported here once the root has changed.
"""

import errno
import os
import signal
import stat
import struct
from collections.abc import Callable

from . import linux
from .plainfilter import CHOWN, FCHOWN, MKNOD, MKNODAT, call_of

WALL = 0x40000000  # __WALL of waitpid(2): children of every kind
SEIZE, CONTINUE, LISTEN = 0x4206, 7, 0x4208
OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000  # fork, vfork, clone, seccomp; whoever is traced ends with us
EVENT_SECCOMP, EVENT_STOP = 7, 128
STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
HEADER = b"traced\n"
NO_ID = 0xFFFFFFFF
AT_FDCWD = 0xFFFFFF9C
LONGEST = 4096
UNKNOWN = b"/?"

Note = Callable[[bytes], object]


class Gate:
    """The command waits until it is known whether it is traced."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC)

    @property
    def fds(self) -> tuple[int, int]:
        return self._read, self._write

    def open(self, command: int) -> bool:
        """P2: seize the command and let it go on. Whether it is traced: an outer sandbox may forbid it."""
        os.close(self._read)
        try:
            linux.ptrace(SEIZE, command, 0, OPTIONS)
            traced = True
        except OSError:
            traced = False
        os.write(self._write, b"y" if traced else b"n")
        os.close(self._write)
        return traced

    def wait(self) -> bool:
        """P3. Whether it is traced."""
        os.close(self._write)
        return os.read(self._read, 1) == b"y"


def follow(command: int, note: Note) -> int:
    """P2: until the command has ended; its wait status. note: gets a line for each owner that is lost."""
    while True:
        pid, status = os.waitpid(-1, WALL)
        if os.WIFSTOPPED(status):
            try:
                go_on(pid, status >> 16, os.WSTOPSIG(status), note)
            except OSError as error:
                if error.errno != errno.ESRCH:  # killed meanwhile
                    raise
        elif pid == command:
            return status


def go_on(pid: int, event: int, number: int, note: Note) -> None:
    if event == EVENT_SECCOMP:
        line = lost_by(pid)
        if line is not None:
            note(line)
        linux.ptrace_answer_zero(pid)
        linux.ptrace(CONTINUE, pid)
    elif event == EVENT_STOP and number in STOPS:
        linux.ptrace(LISTEN, pid)  # stopped as by its shell: until SIGCONT
    else:
        linux.ptrace(CONTINUE, pid, 0, 0 if event else number)


def lost_by(pid: int) -> bytes | None:
    """The stopped call as "UID:GID PATH", "- " for what stays, or "device MAJOR:MINOR PATH". None: it changes nothing.
    """
    architecture, number, args = linux.ptrace_stopped_call(pid)
    kind = call_of(architecture, number)
    if kind in (MKNOD, MKNODAT):
        shift = kind == MKNODAT
        mode, device = args[1 + shift], args[2 + shift] & NO_ID
        path = path_of(pid, args[0] & NO_ID if shift else AT_FDCWD, args[shift])
        letter = "b" if stat.S_ISBLK(mode) else "c"
        major, minor = (device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00)
        return b"device %s %d:%d %s\n" % (letter.encode(), major, minor, path)
    if kind == FCHOWN:
        owner, path = args[1:3], link(pid, f"fd/{args[0] & NO_ID}")
    elif kind == CHOWN:
        owner, path = args[1:3], path_of(pid, AT_FDCWD, args[0])
    else:
        owner, path = args[2:4], path_of(pid, args[0] & NO_ID, args[1])
    uid, gid = (value & NO_ID for value in owner)
    if uid in (0, NO_ID) and gid in (0, NO_ID):
        return None
    shown = ":".join("" if value == NO_ID else str(value) for value in (uid, gid))
    return b"%s %s\n" % (shown.encode(), path.replace(b"\n", b"\\n"))


def path_of(pid: int, folder: int, address: int) -> bytes:
    """Absolute as far as can be told, through no symlink."""
    text = read_string(pid, address)
    if text.startswith(b"/"):
        root = link(pid, "root")
        return text if root in (b"/", UNKNOWN) else root + text
    base = link(pid, "cwd" if folder == AT_FDCWD else f"fd/{folder}")
    return os.path.normpath(base + b"/" + text) if text else base


def link(pid: int, name: str) -> bytes:
    try:
        return os.readlink(f"/proc/{pid}/{name}".encode())
    except OSError:  # an outer /proc, with other numbers
        return UNKNOWN


def read_string(pid: int, address: int) -> bytes:
    found = b""
    at = address & ~7
    while len(found) < LONGEST:
        try:
            word = struct.pack("=Q", linux.ptrace_peek(pid, at))
        except OSError:
            break
        found += word[address & 7:] if at < address else word
        if b"\0" in found:
            break
        at += 8
    return found.partition(b"\0")[0]
