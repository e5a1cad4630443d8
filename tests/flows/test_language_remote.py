"""ADD of URLs and of git repositories, from servers on this machine."""

import hashlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.running import until
from tests.flows.test_build import build, members, ran
from tests.registry_server import Registry

MODIFIED = "Tue, 15 Nov 1994 12:45:26 GMT"


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    plain_user.mirror(registry)
    return plain_user


@dataclass
class Web:
    """files: path → body. sent: the path of every body that went out."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    etags: bool = True


@pytest.fixture
def web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/a/file.txt")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = found.files.get(path)
            tag = f'"{hashlib.sha256(body).hexdigest()}"' if body is not None else ""
            known = body is not None and found.etags and self.headers.get("If-None-Match") == tag
            self.send_response(404 if body is None else 304 if known else 200)
            if body is not None:
                self.send_header("Last-Modified", MODIFIED)
                if found.etags:
                    self.send_header("ETag", tag)
            self.send_header("Content-Length", "0" if known else str(len(body or b"")))
            self.end_headers()
            if body is not None and not known:
                found.sent.append(path)
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Web(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def test_a_url_becomes_a_file_of_root_with_the_servers_time(user: Person, web: Web) -> None:
    web.files = {"/a/file.txt": b"hello", "/": b"index"}
    build(user, f"FROM scratch\nADD {web.url}/a/file.txt?x=1 /d/\nADD {web.url}/a/file.txt /named\n"
                f"ADD --chmod=u+x --chown=5 {web.url}/moved {web.url}/ /e/\n")
    found = members(user)
    assert (found["d/file.txt"].mode, found["d/file.txt"].mtime, found["d/file.txt"].uid) == (0o600, 784903526, 0)
    assert found["named"].size == 5
    assert (found["e/moved"].mode, found["e/moved"].uid, found["e/__unnamed__"].size) == (0o700, 5, 5)


@pytest.mark.parametrize("etags", [True, False])
def test_a_url_is_cached_by_what_it_answers(user: Person, web: Web, etags: bool) -> None:
    web.etags = etags
    web.files = {"/f": b"one"}
    text = f"FROM scratch\nADD {web.url}/f /\n"
    assert ran(build(user, text)) == ["ADD"]
    assert ran(build(user, text)) == []
    assert web.sent == ["/f"] * (1 if etags else 2)
    assert ran(build(user, text, "--no-cache")) == ["ADD"]
    web.files["/f"] = b"two"
    assert ran(build(user, text)) == ["ADD"]


def test_a_checksum_is_verified_and_asks_nobody_once_known(user: Person, web: Web) -> None:
    web.files = {"/f": b"one"}
    right = hashlib.sha256(b"one").hexdigest()
    text = f"FROM scratch\nADD --checksum=sha256:%s {web.url}/f /\n"
    assert "digest mismatch" in build(user, text % ("0" * 64), code=5)
    build(user, text % right)
    web.files.clear()
    assert ran(build(user, text % right)) == []
    assert "the server answers 404" in build(user, f"FROM scratch\nADD {web.url}/f /\n", code=5)


def git(folder: Path, *arguments: str) -> str:
    given = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "protocol.file.allow=always"]
    return subprocess.run(["git", *given, *arguments], cwd=folder, check=True, capture_output=True,
                          text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(URL of a git daemon's folder, its "work" repository): two commits, a tag on the first, a branch "side"."""
    work = tmp_path / "work"
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
    (work / "top").write_text("two")
    git(work, "commit", "-q", "-am", "2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    exec_path = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    daemon = subprocess.Popen([f"{exec_path}/git-daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all",
                               f"--base-path={tmp_path}", str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield f"git://127.0.0.1:{port}", work
    finally:
        daemon.terminate()
        daemon.wait()


def test_a_repository_at_a_branch_a_tag_and_a_commit(user: Person, repository: tuple[str, Path]) -> None:
    url, work = repository
    first = git(work, "rev-parse", "v1^{}")
    build(user, f"FROM scratch\nADD {url}/work /head\nADD {url}/work#v1 /tag/\nADD {url}/work#side:sub /side\n"
                f"ADD --keep-git-dir {url}/work?ref={first} /commit\nADD --chown=6 --exclude=top {url}/work /own\n")
    found = members(user)
    assert {"head/top", "head/sub/script", "tag/top", "side/script", "commit/.git/HEAD"} <= set(found)
    assert "head/.git" not in found and "own/top" not in found and found["own/sub/script"].uid == 6
    assert (found["head/top"].mode, found["head/sub/script"].mode, found["head/top"].uid) == (0o644, 0o755, 0)
    user.iechor("save", "-o", user.home / "y.tar", "x")
    assert (found["head/top"].size, found["tag/top"].size) == (3, 3)


def test_a_repository_is_cached_by_its_commit(user: Person, repository: tuple[str, Path]) -> None:
    url, work = repository
    text = f"FROM scratch\nADD {url}/work#main /r\n"
    assert ran(build(user, text)) == ["ADD"]
    assert ran(build(user, text)) == []
    assert ran(build(user, f"FROM scratch\nADD {url}/work /r\n")) == []
    (work / "top").write_text("three")
    git(work, "commit", "-q", "-am", "3")
    assert ran(build(user, text)) == ["ADD"]


def test_what_is_wrong_with_a_repository_is_said(user: Person, repository: tuple[str, Path]) -> None:
    url, work = repository
    first = git(work, "rev-parse", "v1^{}")
    text = f"FROM scratch\nADD %s {url}/%s /r\n"
    build(user, text % (f"--checksum={first[:10]}", "work#v1"))
    assert "expected checksum to match" in build(user, text % (f"--checksum={first[:10]}", "work"), code=5)
    assert "no such branch, tag or commit" in build(user, text % ("", "work#none"), code=5)
    assert "has no folder nothing" in build(user, text % ("", "work#:nothing"), code=5)
    shown = build(user, text % ("", "nowhere"), code=5)
    assert "cannot ask" in shown and "iEchorfile:2" in shown


def test_submodules_come_along_unless_refused(user: Person, repository: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = repository
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q", "-b", "main")
    git(outer, "submodule", "--quiet", "add", f"{url}/work", "inner")
    git(outer, "commit", "-q", "-m", "1")
    build(user, f"FROM scratch\nADD {url}/outer /a\nADD {url}/outer?submodules=false /b\n")
    found = members(user)
    assert "a/inner/top" in found and "b/inner/top" not in found and "a/inner/.git" not in found
