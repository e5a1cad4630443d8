"""A proxy before a registry that misbehaves as told, and remembers what it was asked.

    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", "/blobs/", cut=1000))       the connection ends after 1000 bytes, once
        proxy.faults.append(Fault("GET", "/manifests/", status=503, headers={"Retry-After": "1"}, times=2))
        proxy.host, proxy.requests
"""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.registry_server import Registry, serve_http


@dataclass
class Fault:
    """For the next `times` requests of this method whose path holds `part`: an answer of its own (`status`; 1: hangs
    up), the true answer but `cut` after so many bytes of body (and `stall` seconds of silence), without ranges, or
    changed by `body`.
    """

    method: str
    part: str
    times: int = 1
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    stall: float = 0
    no_range: bool = False
    body: Callable[[bytes], bytes] | None = None


@dataclass
class Seen:
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class FaultyProxy:
    faults: list[Fault] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    host: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    def take(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == method and fault.part in path:
                fault.times -= 1
                return fault
        return None


@contextmanager
def serve_faults(registry: Registry) -> Iterator[FaultyProxy]:
    """Before a plain HTTP registry."""
    proxy = FaultyProxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def _serve(self) -> None:
            headers = dict(self.headers.items())
            if headers.pop("Transfer-Encoding", "") == "chunked":
                body = b"".join(iter(self._chunk, b""))
                headers["Content-Length"] = str(len(body))
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.requests.append(Seen(self.command, self.path, headers))
            fault = proxy.take(self.command, self.path)
            if fault and fault.status == 1:
                self.close_connection = True
                return
            if fault and fault.status:
                self._answer(fault.status, {**fault.headers, "Content-Length": "0"}, b"")
                return
            if fault and fault.no_range:
                headers.pop("Range", None)
            upstream = http.client.HTTPConnection(registry.host, timeout=20)
            upstream.request(self.command, self.path, body=body, headers=headers)
            response = upstream.getresponse()
            data = response.read()
            kept = {name: value for name, value in response.getheaders() if name.lower() != "transfer-encoding"}
            upstream.close()
            if fault and fault.body:
                data = fault.body(data)
                kept["Content-Length"] = str(len(data))
            self._answer(response.status, {**kept, **(fault.headers if fault else {})}, data, fault and fault.cut)
            if fault and fault.stall:
                self.wfile.flush()
                proxy.ended.wait(fault.stall)

        def _chunk(self) -> bytes:
            """RFC 9112 section 7.1; none at the end."""
            data = self.rfile.read(int(self.rfile.readline(), 16))
            self.rfile.readline()
            return data

        def _answer(self, status: int, headers: Mapping[str, str], data: bytes, cut: int | None = None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client may have seen enough
                if self.command != "HEAD":
                    self.wfile.write(data if cut is None else data[:cut])
            if cut is not None:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    with serve_http(Handler) as url:
        proxy.host = urlsplit(url).netloc
        try:
            yield proxy
        finally:
            proxy.ended.set()
