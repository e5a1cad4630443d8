"""Connections that a hostile server can neither hold for ever nor point at this machine.

    Watch      hangs up when one answer, or one chunk of its body, takes longer than it may: a read timeout alone
               never ends for who sends a byte now and then
    outside    connections to where a server elsewhere sends us: not to loopback or link-local addresses, whatever
               name stands for them (the socket is asked, so a name cannot mean one thing now and another then)
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import RegistryError
from ..threads import start

if TYPE_CHECKING:
    import urllib3
    from urllib3.response import HTTPResponse

_IDLE = 1.0  # seconds until the thread of a watch ends


class Watch:
    """A clock beside blocking reads, shared by threads. patience: seconds that each may take."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._changed = threading.Condition()
        self._due: dict[object, tuple[float, Callable[[], object]]] = {}
        self._running = False

    @contextlib.contextmanager
    def over(self, hang_up: Callable[[], object]) -> Iterator[None]:
        """The block may take `patience` seconds; then `hang_up` is called from another thread, and whatever comes of
        it is a TimeoutError.
        """
        key = object()
        self._add(key, hang_up)
        try:
            yield
        except Exception:
            if self._take(key) is None:
                raise TimeoutError("timed out") from None
            raise
        else:
            if self._take(key) is None:
                raise TimeoutError("timed out")
        finally:
            self._take(key)

    def _add(self, key: object, hang_up: Callable[[], object]) -> None:
        with self._changed:
            self._due[key] = time.monotonic() + self._patience, hang_up
            if not self._running:
                start(self._run)  # it waits for our lock
                self._running = True

    def _take(self, key: object) -> Callable[[], object] | None:
        """None: it was called, or taken before."""
        with self._changed:
            found = self._due.pop(key, None)
        return None if found is None else found[1]

    def _run(self) -> None:
        while True:
            with self._changed:
                first = min(self._due.items(), key=lambda item: item[1][0], default=None)
                if first is None and not self._changed.wait(_IDLE) and not self._due:
                    self._running = False
                    return
                if first is None:
                    continue
                left = first[1][0] - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                del self._due[first[0]]
            with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
                first[1][1]()


def is_private(host: str | None) -> bool:
    """Whether the host, as it is written, is an address that only this machine or its link can mean."""
    try:
        return _is_near(host or "")
    except ValueError:
        return False


def refused(source: str, target: str) -> RegistryError:
    return RegistryError(f"{source} sends us to {target[:200]}: that is this machine or its link, where a server "
                         "elsewhere has no business",
                         hint=f'if it is right, name it in config.toml: [registries."{target[:200]}"]')


def harden(manager: "urllib3.PoolManager", watch: Watch, *, outside: str = "") -> None:
    """For every connection the manager makes from now on. outside: the host that sent us there, "" where nobody did."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _outside(super()._new_conn(), outside, self.host)

        def getresponse(self) -> "HTTPResponse":  # type: ignore[override]  # as urllib3 itself has it
            with watch.over(lambda: self.sock.shutdown(socket.SHUT_RDWR)):
                return super().getresponse()

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _outside(super()._new_conn(), outside, self.host)

        def getresponse(self) -> "HTTPResponse":  # type: ignore[override]  # as urllib3 itself has it
            with watch.over(lambda: self.sock.shutdown(socket.SHUT_RDWR)):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}


def _outside(connected: socket.socket, sender: str, host: str) -> socket.socket:
    if sender and _is_near(connected.getpeername()[0].partition("%")[0]):
        connected.close()
        raise refused(sender, host)
    return connected


def _is_near(address: str) -> bool:
    """Errors: ValueError when it is no address."""
    import ipaddress

    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_link_local or found.is_unspecified
