"""A registry of one small image that answers what a test wants, byte by byte. No code of the package is used.

    with serve(answers={"/manifests/": lambda sock, request: sock.sendall(b"…")}) as server:
        server.host, server.requests            each a Request; CONNECT is refused, so it is a plain proxy as well
"""

import contextlib
import gzip
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.registry_server import tiny_layer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def described(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


TAR = tiny_layer({"hello": "hello\n"})
BLOB = gzip.compress(TAR, 1, mtime=0)


def config_of(*tars: bytes, **more: Any) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
                       "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]}} | more).encode()


def manifest_of(config: bytes, /, *layers: tuple[bytes, str], **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": described(config, CONFIG),
                       "layers": [described(blob, kind) for blob, kind in layers]} | more).encode()


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[socket.socket, Request], object]


def response(body: bytes = b"", status: str = "200 OK", **headers: object) -> bytes:
    """A whole HTTP answer; `_` in a header's name is a dash, and None leaves it out."""
    given = {"Content-Length": len(body), "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def sends(data: bytes) -> Answer:
    return lambda sock, request: sock.sendall(data)


def redirects(location: str, status: str = "307 Temporary Redirect") -> Answer:
    return sends(response(status=status, Location=location))


@dataclass
class Server:
    """answers: part of a path → what is answered there; else what a registry would, from `manifests` and `blobs`."""

    host: str
    answers: dict[str, Answer]
    manifest: bytes
    media_type: str
    blobs: dict[str, bytes]
    requests: list[Request] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def url(self, path: str) -> str:
        """path: as in a request, a proxy's too."""
        return f"http://{self.host}{urlsplit(path).path}"

    def add(self, data: bytes) -> bytes:
        self.blobs[digest_of(data)] = data
        return data

    def silent(self, sock: socket.socket, request: Request) -> None:
        """Says nothing any more, and does not hang up."""
        self.over.wait(60)

    def drips(self, piece: bytes, before: bytes = b"") -> Answer:
        """`before`, then `piece` five times a second, for ever."""
        def answer(sock: socket.socket, request: Request) -> None:
            sock.sendall(before)
            while not self.over.wait(0.2):
                sock.sendall(piece)
        return answer

    def answer(self, sock: socket.socket, request: Request) -> None:
        for part, given in self.answers.items():
            if part in f"{request.method} {request.path}":
                given(sock, request)
                return
        sock.sendall(self.truth(request))

    def truth(self, request: Request) -> bytes:
        last = request.path.rpartition("/")[2]
        if request.method == "CONNECT":
            return response(status="405 No Tunnels")
        if request.path.rstrip("/").endswith("/v2"):
            return response(b"{}")
        if "/blobs/uploads/" in request.path:
            return response(status="202 Accepted", Location="/v2/here")
        data = self.blobs.get(last, self.manifest if "/manifests/" in request.path and ":" not in last else None)
        if data is None:
            return response(status="404 Not Found")
        if request.headers.get("range"):
            start = int(request.headers["range"].removeprefix("bytes=").partition("-")[0])
            return response(data[start:], "206 Partial Content",
                            Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        return response(data if request.method == "GET" else b"", Content_Type=self.media_type)


@contextlib.contextmanager
def serve(answers: Mapping[str, Answer] | None = None, *, config: bytes = b"", tar: bytes = TAR,
          layer: tuple[bytes, str] = (BLOB, LAYER), manifest: bytes = b"",
          media_type: str = MANIFEST) -> Iterator[Server]:
    """On a free port of 127.0.0.1, until the block ends. Its image is `any/name:any-tag`."""
    config = config or config_of(tar)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = Server(f"127.0.0.1:{listener.getsockname()[1]}", dict(answers or {}),
                    manifest or manifest_of(config, layer), media_type, {})
    for data in (config, layer[0], server.manifest):
        server.add(data)
    thread = threading.Thread(target=_accept, args=(listener, server), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _accept(listener: socket.socket, server: Server) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(sock, server), daemon=True).start()


def _serve(sock: socket.socket, server: Server) -> None:
    with sock, contextlib.suppress(OSError, ValueError):
        sock.settimeout(60)
        stream = sock.makefile("rb")
        first = stream.peek(1)
        if first[:1] == b"\x16":  # a TLS handshake
            server.answers.get("TLS", sends(b""))(sock, Request("TLS", "", {}, b""))
            return
        method, path, _ = stream.readline().decode().split(" ", 2)
        headers = {}
        while (line := stream.readline().strip()):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        request = Request(method, path, headers, stream.read(int(headers.get("content-length", 0))))
        server.requests.append(request)
        server.answer(sock, request)
