"""The sandbox's network: `lo` of an own namespace, and published ports (outbound.py: a way out).

Publishing needs no helper. The launcher listens on the host's side before anything starts (so "address in use" is an
error of the launch); the forwarder, a process with the host's listening sockets inside the new network namespace,
accepts there and connects to 127.0.0.1:PORT, or [::1]:PORT.
"""

import errno
import fcntl
import os
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from typing import NoReturn

from ..errors import SandboxError
from ..values import dataclass, field
from .spec import Port

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
CHUNK = 1 << 16
FULL_SECONDS = 0.05


def raise_loopback() -> None:
    """Bring `lo` up in the network namespace we are in. Needs CAP_NET_ADMIN there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def listen(ports: Sequence[Port]) -> list[socket.socket]:
    """A listening socket of the host for each port, all or none. SandboxError says which could not be had, and why."""
    listeners: list[socket.socket] = []
    try:
        for port in ports:
            listeners.append(_listen(port))
    except OSError as error:
        for listener in listeners:
            listener.close()
        shown = f"{port.host_ip or '0.0.0.0'}:{port.host_port}"
        hints = {errno.EADDRINUSE: "publish another port of the host, or stop what listens there",
                 errno.EACCES: "ports below 1024 need privilege: publish a higher one",
                 errno.EADDRNOTAVAIL: "name an address of this host"}
        number = error.errno or 0
        raise SandboxError(f"cannot publish {shown}: {os.strerror(number)}", hint=hints.get(number)) from None
    return listeners


def _listen(port: Port) -> socket.socket:
    if port.host_ip:
        family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
        return socket.create_server((port.host_ip, port.host_port), family=family, backlog=512)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port.host_port), family=socket.AF_INET6, backlog=512, dualstack_ipv6=True)
    return socket.create_server(("", port.host_port), backlog=512)


@dataclass(slots=True, eq=False)
class _End:
    """One socket of a forwarded connection. waiting: bytes to be written to it."""

    sock: socket.socket
    waiting: bytearray = field(default_factory=bytearray)
    connecting: bool = False
    finished_reading: bool = False
    finished_writing: bool = False
    other: "_End" = None  # type: ignore[assignment]  # set at once, by _pair


def _pair(client: socket.socket, inner: socket.socket) -> tuple[_End, _End]:
    one, two = _End(client), _End(inner, connecting=True)
    one.other, two.other = two, one
    return one, two


class Forwarder:
    """Copies between connections accepted on `listeners` and the ports inside. One thread, back-pressure both ways,
    half-closed connections stay half-closed.
    """

    def __init__(self, listeners: Sequence[tuple[socket.socket, int]]) -> None:
        self._selector = selectors.DefaultSelector()
        for listener, port in listeners:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, port)

    def serve(self) -> NoReturn:
        while True:
            for key, events in self._selector.select():
                if isinstance(key.data, _End):
                    self._serve_end(key.data, events)
                else:
                    self._accept(key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self, listener: socket.socket, port: int) -> None:
        try:
            client, _ = listener.accept()
        except OSError as error:  # the client has gone again, or we are out of fds: wait for some to be closed
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(FULL_SECONDS)
            return
        inner = _connect(port)
        if inner is None:
            client.close()
            return
        for end in _pair(client, inner):
            end.sock.setblocking(False)
            end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(end.sock, selectors.EVENT_READ, end)
            self._watch(end)

    def _serve_end(self, end: _End, events: int) -> None:
        if end.sock.fileno() < 0:  # closed earlier in this round, by its other end
            return
        try:
            if events & selectors.EVENT_WRITE:
                self._write(end)
            if events & selectors.EVENT_READ:
                self._read(end)
        except OSError:
            self._close(end)
            return
        for side in (end, end.other):
            if side.finished_reading and not side.other.waiting and not side.other.finished_writing:
                side.other.finished_writing = True
                try:
                    side.other.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    self._close(end)
                    return
        if end.finished_writing and end.other.finished_writing:
            self._close(end)
            return
        self._watch(end)
        self._watch(end.other)

    def _read(self, end: _End) -> None:
        if end.finished_reading or len(end.other.waiting) >= CHUNK:
            return
        data = end.sock.recv(CHUNK)
        if not data:
            end.finished_reading = True
            return
        end.other.waiting += data
        if not end.other.connecting:
            self._write(end.other)

    def _write(self, end: _End) -> None:
        if end.connecting:
            failed = end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed))
            end.connecting = False
        if end.waiting:
            try:
                del end.waiting[:end.sock.send(end.waiting)]
            except BlockingIOError:
                pass

    def _watch(self, end: _End) -> None:
        wanted = 0
        if not end.finished_reading and not end.connecting and len(end.other.waiting) < CHUNK:
            wanted |= selectors.EVENT_READ
        if end.waiting or end.connecting:
            wanted |= selectors.EVENT_WRITE
        registered = self._selector.get_map().get(end.sock)
        if registered is None:
            if wanted:
                self._selector.register(end.sock, wanted, end)
        elif not wanted:
            self._selector.unregister(end.sock)
        elif registered.events != wanted:
            self._selector.modify(end.sock, wanted, end)

    def _close(self, end: _End) -> None:
        for side in (end, end.other):
            if side.sock.fileno() >= 0:
                if self._selector.get_map().get(side.sock) is not None:
                    self._selector.unregister(side.sock)
                side.sock.close()


def _connect(port: int) -> socket.socket | None:
    """A connection to the port inside, made or on its way (a full backlog must not hold up the others)."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            inner = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            continue
        # On loopback the answer, also a refusal, is there when connect returns.
        if inner.connect_ex((address, port)) in (0, errno.EINPROGRESS) and \
                inner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            return inner
        inner.close()
    return None
