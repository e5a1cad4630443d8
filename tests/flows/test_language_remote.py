"""ADD of URLs and of git repositories, from servers on this machine."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.test_build import build, members, ran
from tests.servers import Web, git, serve_git, serve_web
from tests.servers import repository as sample


@pytest.fixture
def web() -> Iterator[Web]:
    with serve_web() as server:
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(URL of a git daemon's folder, its "work" repository)."""
    work = sample(tmp_path / "work")
    with serve_git(tmp_path) as url:
        yield url, work


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
    assert (found["head/top"].size, found["tag/top"].size, found["commit/top"].size) == (6, 3, 3)


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
