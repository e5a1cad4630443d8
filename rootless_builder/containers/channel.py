"""How commands talk to a container's monitor: a SOCK_SEQPACKET socket in the container's folder, JSON messages.

    {"op": "signal", "signal": 15}                        → {} or {"error": …}
    {"op": "wait"}                                        → {"exit_code": 0}, when the container ends
    {"op": "exec", "argv": […], "env": […], "cwd": "/", "user": "", "tty": false, "size": []}
                                                          + fds 0, 1, 2 (tty: no fds; size: rows and columns, or none)
                                                          → {"pid": 7} (tty: + fd of the master), or {"error": …}
        then {"op": "signal", "signal": 2}                → nothing; goes to the new process
                                                          → {"exit_code": 0}, when it ends

The monitor acts, not the command: it stands where it may (a container of mapped ids is out of reach for a
plain process of the same user), and what it starts lives in its sandbox. Only the owner can reach the folder.
"""

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ContainerError

LIMIT = 160 * 1024  # of one message; below the kernel's default send buffer (net.core.wmem_default)
NAME = "control"


def listen(folder: Path) -> socket.socket:
    """The monitor's end."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    with _Place(folder) as place:
        (folder / NAME).unlink(missing_ok=True)
        server.bind(place)
    server.listen(64)
    return server


def connect(folder: Path) -> socket.socket:
    """A command's end. Errors: OSError when there is no monitor behind it."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _Place(folder) as place:
            client.connect(place)
    except BaseException:
        client.close()
        raise
    return client


class _Place:
    """The socket's path through a descriptor of its folder: sun_path holds 108 bytes only (unix(7))."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        self._fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{NAME}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def send(end: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """One message. Errors: ContainerError when it is too long, OSError."""
    data = json.dumps(message).encode()
    if len(data) > LIMIT:
        raise ContainerError(f"cannot talk to the container: the message is longer than {LIMIT} bytes",
                             hint="shorten the command or its environment")
    socket.send_fds(end, [data], list(fds))


def receive(end: socket.socket, most_fds: int = 3) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors; None at the end. Errors: OSError, ValueError."""
    data, fds, _, _ = socket.recv_fds(end, LIMIT, most_fds)
    if not data:
        return None
    for fd in fds:
        os.set_inheritable(fd, False)
    return dict(json.loads(data)), fds
