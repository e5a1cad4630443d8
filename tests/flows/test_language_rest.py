"""What buildah and BuildKit read beyond the plain language: guarded sources, local images, stages in order, .in."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person, _person
from tests.flows.running import USERS
from tests.flows.test_build import build, members, ran
from tests.servers import Guarded, git, guarded, repository

SECRET = "s3cret-of-the-test"


@pytest.fixture
def web() -> Iterator[Guarded]:
    with guarded() as server:
        yield server


def kept(user: Person) -> str:
    """All that the build left below the user's home, as one text."""
    return "".join(path.read_bytes().decode("latin-1") for path in user.home.rglob("*")
                   if path.is_file() and path.name != "token")


@pytest.mark.parametrize(("name", "wanted"), [("HTTP_AUTH_TOKEN_127.0.0.1", f"Bearer {SECRET}"),
                                              ("HTTP_AUTH_HEADER_127.0.0.1", SECRET)])
def test_a_secret_opens_a_url(plain_user: Person, web: Guarded, name: str, wanted: str) -> None:
    web.wanted, web.files = wanted, {"/f": b"guarded"}
    token = plain_user.home / "token"
    token.write_text(SECRET + "\n")
    token.chmod(0o644)
    text = f"FROM scratch\nADD {web.url}/f /\n"
    refused = build(plain_user, text, code=5)
    assert "the server answers 401" in refused and "--secret id=HTTP_AUTH_TOKEN_127.0.0.1" in refused
    assert "the server answers 401" in build(plain_user, text, f"--secret=id={name}x,src={token}", code=5)
    shown = build(plain_user, text, f"--secret=id={name},src={token}")
    assert members(plain_user)["f"].size == 7
    assert SECRET not in shown + kept(plain_user)
    token.write_text("two\nlines")
    assert f"cannot use the secret {name}" in build(plain_user, text, f"--secret=id={name},src={token}", code=5)


def test_a_secret_opens_a_url_context(plain_user: Person, web: Guarded) -> None:
    web.wanted, web.files = f"Bearer {SECRET}", {"/iEchorfile": b"FROM scratch\nLABEL a=b\n"}
    plain_user.iechor("build", "--secret=id=HTTP_AUTH_TOKEN_127.0.0.1,env=T", f"{web.url}/iEchorfile",
                      env={"T": SECRET})
    assert web.shown() == {f"Bearer {SECRET}"}


def test_a_secret_stays_with_its_host(plain_user: Person, web: Guarded) -> None:
    with guarded() as other:
        other.files = {"/f": b"open"}
        web.moved = {"/f": f"{other.url}/f"}
        text = f"FROM scratch\nADD {web.url}/f /\n"
        plain_user.home.joinpath("token").write_text(SECRET)
        plain_user.home.joinpath("token").chmod(0o644)
        build(plain_user, text, f"--secret=id=HTTP_AUTH_HEADER_127.0.0.1,src={plain_user.home}/token")
        assert web.shown() == {SECRET} and other.shown() == {None}


@pytest.mark.parametrize(("name", "wanted"), [
    ("GIT_AUTH_TOKEN", "basic " + base64.b64encode(f"x-access-token:{SECRET}".encode()).decode()),
    ("GIT_AUTH_HEADER.127.0.0.1:{port}", f"Bearer {SECRET}"), ("GIT_AUTH_HEADER.elsewhere", "")])
def test_a_secret_opens_a_repository(plain_user: Person, web: Guarded, tmp_path: Path, name: str, wanted: str) -> None:
    work = repository(tmp_path / "work")
    git(tmp_path, "clone", "-q", "--bare", "work", "bare")
    git(tmp_path / "bare", "update-server-info")
    web.files = {f"/w.git/{path.relative_to(tmp_path / 'bare')}": path.read_bytes()
                 for path in (tmp_path / "bare").rglob("*") if path.is_file()}
    web.wanted = wanted or "Bearer another"
    token = plain_user.home / "token"
    token.write_text(f"Bearer {SECRET}" if "HEADER" in name else SECRET)
    token.chmod(0o644)
    shown = build(plain_user, f"FROM scratch\nADD --keep-git-dir=true {web.url}/w.git /w\n",
                  f"--secret=id={name.format(port=web.port)},src={token}", code=0 if wanted else 5)
    assert web.shown() <= {wanted or None} and SECRET not in shown + kept(plain_user)
    if wanted:
        assert {"w/top", "w/sub/script", "w/.git/HEAD"} <= set(members(plain_user))
    else:
        assert "cannot ask http://127.0.0.1" in shown
    assert git(work, "rev-parse", "HEAD")


def test_a_base_in_a_folder_of_skopeo(plain_user: Person, shared: Path, busybox: str) -> None:
    folder = plain_user.home / "dir"
    for kind in ("oci", "v2s2"):
        subprocess.run(["skopeo", "copy", "-q", f"--format={kind}", f"oci:{shared}/busybox", f"dir:{folder}-{kind}"],
                       check=True)
        assert "ran" in build(plain_user, f"FROM dir:{folder}-{kind}\nRUN echo r''an\n", "--no-cache")
        assert "bin/busybox" in members(plain_user)
    assert "docker://dir:/none" in build(plain_user, "FROM dir:/none\n", code=7)
    subprocess.run(["cp", "-r", f"{folder}-oci", f"{folder}-bad"], check=True)
    largest = max(Path(f"{folder}-bad").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"x")
    text = plain_user.write("F", f"FROM dir:{folder}-bad\n")
    refused = plain_user.iechor("build", "-f", text, plain_user.home, code=None,
                                env={"IECHOR_HOME": f"{plain_user.home}/another"})
    assert refused.returncode == 15 and largest.name in refused.stderr


AFTER = """\
FROM busybox AS first
RUN cp /in/archive /out/archive
FROM busybox AS unneeded
RUN false
FROM --after={0} oci-archive:{1}/out/archive
LABEL late=yes
"""


def test_a_stage_behind_the_one_that_makes_its_base(user: Person) -> None:
    user.iechor("pull", "busybox")
    user.iechor("save", "--format", "oci-archive", "-o", user.home / "archive", "busybox")
    user.write("out/x", "")
    mounts = (f"--volume={user.home}/out:/out", f"--volume={user.home}:/in:ro")
    asked = build(user, AFTER.format("first", user.home), "--check", *mounts)
    assert "cannot read" not in asked
    shown = build(user, AFTER.format("FIRST", user.home), *mounts)
    assert ran(shown) == ["RUN"] and (user.home / "out/archive").exists()
    assert ran(build(user, AFTER.format("0", user.home), *mounts)) == []
    refused = build(user, AFTER.format("frist", user.home), code=3)
    assert 'there is no stage "frist" above this one' in refused and "Did you mean first?" in refused
    assert "--after names no stage" in build(user, "FROM --after= scratch\n", code=3)


def test_a_file_for_the_preprocessor(plain_user: Person) -> None:
    shelf = plain_user.write("shelf/more.inc", "LABEL more=yes\n").parent
    plain_user.write("c/lines.inc", 'LABEL lines="http://x//y"\n')
    file = plain_user.write("c/iEchorfile.in", "#ifndef BASE\n#error no base\n#endif\nFROM BASE\n# a note of mine\n"
                                               '#include "lines.inc"\n#include "more.inc"\nLABEL linux=KIND\n')
    words = ("build", "-t", "x", "-f", file, f"--cpp-flag=-I{shelf}", plain_user.home / "c")
    refused = plain_user.iechor(*words, env={"BUILDAH_CPPFLAGS": "-DKIND='a b' -DBASE=scratch"}, code=3).stderr
    assert "iEchorfile.in (after cpp):" in refused and "LABEL linux=a b" in refused
    shown = plain_user.iechor(*words, "--cpp-flag=-DBASE=scratch", env={"BUILDAH_CPPFLAGS": "-DKIND='\"a b\"'"})
    assert "1 lines that begin with #" in shown.stderr
    labels = json.loads(plain_user.iechor("inspect", "x").stdout)[0]["Config"]["Labels"]
    assert labels == {"lines": "http://x//y", "more": "yes", "linux": "a b"}
    assert "#error no base" in plain_user.iechor(*words, code=5).stderr
    assert "no warnings" in plain_user.iechor(*words, "--cpp-flag=-DBASE=scratch", "--check").stdout


@pytest.mark.parametrize("line", ["/etc/hostname", "../shelf/more.inc", "link.inc", "/proc/self/environ"])
def test_the_preprocessor_reads_the_context_alone(plain_user: Person, line: str) -> None:
    plain_user.write("shelf/more.inc", "LABEL more=yes\n")
    file = plain_user.write("c/iEchorfile.in", f'FROM scratch\n#include "{line}"\n')
    (plain_user.home / "c/link.inc").symlink_to("../shelf/more.inc")
    assert "which is not in the context" in plain_user.iechor("build", "-f", file, file.parent, code=5).stderr


def test_no_preprocessor(plain_user: Person) -> None:
    file = plain_user.write("c/iEchorfile.in", "FROM scratch\n")
    (plain_user.home / "empty").mkdir()
    shown = plain_user.iechor("build", "-f", file, file.parent, env={"PATH": f"{plain_user.home}/empty"}, code=5)
    assert "cpp is not installed" in shown.stderr and "install cpp" in shown.stderr


@pytest.mark.parametrize("userns", ["fakeroot", "subuid", "host"])
def test_a_volume_whose_changes_are_thrown_away(shared: Path, busybox: str, userns: str) -> None:
    for person in _person(USERS[userns], userns):
        old = person.write("v/d/old", "earlier\n")
        person.write("v/away", "x")
        text = (f"FROM oci:{shared}/busybox\nRUN cat /v/d/old && echo af''ter > /v/d/old && cat /v/d/old\\\n"
                " && rm /v/away && touch /v/e && chown 5:6 /v/d/old && stat -c '%u-%g' /v/d/old\n"
                "RUN ls /v && cat /v/d/old\n")
        shown = build(person, text, f"--volume={old.parent.parent}:/v:O,z")
        assert [shown.count(word) for word in (" earlier", " after", " 5-6", " away\n")] == [2, 1, 1, 1]
        assert old.read_text() == "earlier\n" and {path.name for path in old.parent.parent.iterdir()} == {"d", "away"}
        assert not [name for name in members(person) if name.startswith("v/")]
        assert "O goes by itself" in build(person, "FROM scratch\n", f"--volume={old.parent}:/v:O,U", code=4)


@pytest.mark.parametrize("userns", ["fakeroot", "subuid", "host"])
def test_a_volume_that_is_the_users_of_the_run(shared: Path, busybox: str, userns: str) -> None:
    for person in _person(USERS[userns], userns):
        file = person.write("v/d/f", "here")
        text = (f"FROM oci:{shared}/busybox\nRUN mkdir /home/app/d && test $(stat -c %u /v/d/f) = 0\nUSER app\n"
                'RUN test "$(stat -c %u:%g /v /v/d /v/d/f | uniq)" = $(id -u):$(id -g) && echo more >> /v/d/f\n'
                'USER 7:8\nRUN test "$(stat -c %u:%g /v/d/f)" = 7:8 && chmod 600 /v/d/f && cat /v/d/f\n')
        assert " heremore" in build(person, text, f"--volume={file.parent.parent}:/v:U,z")
        assert file.read_text() == "heremore\n"
        assert (file.stat().st_uid == person.uid) is (userns == "fakeroot")
        text = f"FROM oci:{shared}/busybox\nUSER 7:8\nRUN test $(stat -c %u /f) = 7 && ! touch /f 2>/dev/null\n"
        build(person, text, f"--volume={file}:/f:ro,U")
        assert "U with ro alone" in build(person, text, f"--volume={file}:/f:U,noexec", code=4)
