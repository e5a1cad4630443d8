"""Servers of files and of git repositories on 127.0.0.1, for tests of what is fetched."""

import base64
import hashlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODIFIED = "Tue, 15 Nov 1994 12:45:26 GMT"


@dataclass
class Web:
    """files: path → body. sent: the path of every body that went out. moved: path → where it is now.

    longer: path → bytes that the server promises beyond those it has. modified: Last-Modified of all.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    etags: bool = True
    moved: dict[str, str] = field(default_factory=lambda: {"/moved": "/a/file.txt"})
    longer: dict[str, int] = field(default_factory=dict)
    modified: str = MODIFIED


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port on which it answers, each request in a thread of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serve_web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in found.moved:
                self.send_response(302)
                self.send_header("Location", found.moved[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = found.files.get(path)
            tag = f'"{hashlib.sha256(body + found.modified.encode()).hexdigest()}"' if body is not None else ""
            known = body is not None and found.etags and self.headers.get("If-None-Match") == tag
            self.send_response(404 if body is None else 304 if known else 200)
            if body is not None:
                self.send_header("Last-Modified", found.modified)
                if found.etags:
                    self.send_header("ETag", tag)
            self.send_header("Content-Length", "0" if known else str(len(body or b"") + found.longer.get(path, 0)))
            self.end_headers()
            if body is not None and not known:
                found.sent.append(path)
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as port:
        found = Web(f"http://127.0.0.1:{port}")
        yield found


@dataclass
class Guarded:
    """files: path → body, for whoever shows `wanted`; moved: path → URL; asked: (path, header)."""

    port: int
    wanted: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def opened_by(self, user: str, password: str) -> str:
        """Asks for them from now on; the URL that has them."""
        self.wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return self.url.replace("//", f"//{user}:{password}@")

    def shown(self) -> set[str | None]:
        return {header for _, header in self.asked}


@contextmanager
def guarded() -> Iterator[Guarded]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found.asked.append((path, self.headers.get("Authorization")))
            body = found.files.get(path, b"")
            known = found.wanted in ("", self.headers.get("Authorization"))
            there = 200 if path in found.files else 404
            self.send_response(302 if path in found.moved else there if known else 401)
            if not known:
                self.send_header("WWW-Authenticate", 'Basic realm="guarded"')
            if path in found.moved:
                self.send_header("Location", found.moved[path])
            self.send_header("Content-Length", str(len(body) if known else 0))
            self.end_headers()
            self.wfile.write(body if known else b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as port:
        found = Guarded(port)
        yield found


def git(folder: Path, *arguments: str) -> str:
    given = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "protocol.file.allow=always"]
    return subprocess.run(["git", *given, *arguments], cwd=folder, check=True, capture_output=True,
                          text=True).stdout.strip()


def repository(work: Path) -> Path:
    """Two commits, a tag on the first, a branch "side" there."""
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for name, text in (("top", "one"), ("sub/script", "#!")):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(text)
    (work / "sub/script").chmod(0o755)
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "1")
    git(work, "tag", "-a", "-m", "t", "v1")
    git(work, "branch", "side")
    (work / "top").write_text("second")
    git(work, "commit", "-q", "-am", "2")
    return work


@contextmanager
def serve_git(folder: Path) -> Iterator[str]:
    """The URL of a git daemon for the repositories in `folder`: URL/NAME, and URL/NAME.git too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    exec_path = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    daemon = subprocess.Popen([f"{exec_path}/git-daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all",
                               f"--base-path={folder}", str(folder)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline, "git daemon does not listen"
            time.sleep(0.05)
        yield f"git://127.0.0.1:{port}"
    finally:
        daemon.terminate()
        daemon.wait()
