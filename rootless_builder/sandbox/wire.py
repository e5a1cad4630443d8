"""Messages between the launcher and the sandbox's processes: one JSON object and some fds in each packet.

Two SOCK_SEQPACKET pairs for each sandbox:
    status   launcher ↔ P1    {"pid"} {"unshared"} → {"go"} … {"init"} … {"exit", "usage"}; its end: P1 is gone
    report   launcher ← P2    {"created", "notices"} {"master"} {"error"}; its end: the command runs
One for each server:
    control  launcher → server   the request (below), as the first of the fds
"""

import json
import os
import socket
from typing import Any

from ..values import dataclass

LARGEST = 1 << 20
MOST_FDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A packet as received; fds are ours to close."""

    body: dict[str, Any]
    fds: tuple[int, ...] = ()


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def opened(fd: int) -> socket.socket:
    """One end of a pair, from its fd."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)


def send(channel: socket.socket, body: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    socket.send_fds(channel, [json.dumps(body).encode()], list(fds))


def receive(channel: socket.socket) -> Message | None:
    """The next packet; None at the end."""
    try:
        data, fds, _, _ = socket.recv_fds(channel, LARGEST, MOST_FDS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if not data:
        return None
    return Message(body=json.loads(data), fds=tuple(fds))


def write_all(fd: int, data: bytes) -> None:
    """write(2) may take less than it is given. Blocks. Errors: OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def in_memory(text: str) -> int:
    """An fd to read `text` from: for what may be larger than a packet."""
    fd = os.memfd_create("iechor", os.MFD_CLOEXEC)
    with open(fd, "w", closefd=False) as stream:
        stream.write(text)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
