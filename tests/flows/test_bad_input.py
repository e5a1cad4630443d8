"""What a context, an archive or a file may hold that is meant badly, or is never to be looked at."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.test_build import build, context, members


@pytest.fixture
def shut(user: Person) -> Iterator[Path]:
    """A folder of the context with files in it, which nobody but root can open."""
    folder = user.write("c/shut/below/f", "1").parent.parent
    folder.chmod(0)
    yield folder
    folder.chmod(0o755)


@pytest.mark.parametrize(("text", "said", "code"), [
    ("FROM scratch AS a\nCOPY --from=a x /\n", 'circular dependency detected on stage: "a"', 3),
    ("FROM scratch AS a\nCOPY --from=b x /\nFROM a AS b\nCOPY x /\n", "needs to be defined before", 3),
    ("FROM busybox AS a\nRUN --mount=from=b,target=/m true\nFROM a AS b\n", "needs to be defined before", 3),
    ("FROM scratch\nCOPY --from=1 x /\nFROM scratch\nCOPY y /\n", "needs to be defined before", 3),
    ("FROM scratch\nCOPY --from=7 x /\nFROM scratch\n", "invalid stage index 7", 3),
    ("FROM scratch AS unused\nCOPY --from=9 x /\nFROM scratch\nCOPY x /\n", "invalid stage index 9", 3),
    ("FROM scratch AS unused\nCOPY --from=$X x /\nFROM scratch\nCOPY x /\n", "not supported for --from", 3),
    ("FROM scratch AS unused\nCOPY --from=Nope x /\nFROM scratch\nCOPY x /\n", '"Nope" is neither a stage', 7),
    ("FROM No/Name AS unused\nFROM scratch\nCOPY x /\n", '"No/Name" is neither a stage', 7),
    ("FROM scratch AS a\nCOPY --from=b x /\nFROM scratch AS b\nCOPY --from=a x /\nFROM scratch\nCOPY x /\n",
     'circular dependency detected on stage: "a"', 3),
    ("FROM busybox AS a\nRUN --mount=from=a,target=/m true\nFROM scratch\nCOPY x /\n", 'on stage: "a"', 3),
    ("FROM busybox\nRUN --mount=type=secret,id=s,required true\n", "secret s", 5),
    ("FROM busybox\nRUN --mount=type=ssh,required true\n", "ssh", 5),
])
def test_stages_and_secrets_that_cannot_be_had(user: Person, text: str, said: str, code: int) -> None:
    target = ["--target=0"] if "--from=1 x" in text or "--from=7" in text else []
    shown = build(user, text, *target, code=code, x="1")
    assert said in shown and "iEchorfile:" in shown


def test_an_ignored_folder_is_not_opened(user: Person, shut: Path) -> None:
    for rules in ("shut", "shut\n!other/f", "*\n!x\n!iEchorfile", "**/shut", "shut/*\nshut\n!shut-not"):
        user.write("c/.dockerignore", rules + "\n")
        build(user, "FROM scratch\nCOPY . /\n", x="1")
        assert "x" in members(user) and "shut" not in members(user), rules
    user.write("c/.dockerignore", "shut\n!shut/below\n")  # now something in it may be wanted
    shown = build(user, "FROM scratch\nCOPY . /\n", code=5, x="1")
    assert "shut" in shown and "Permission denied" in shown and "exclude it" in shown
    user.write("c/.dockerignore", "")
    build(user, "FROM scratch\nCOPY x /\n", x="1")  # not where nothing is copied from it


def test_names_of_any_bytes(user: Person) -> None:
    folder = context(user, "FROM busybox\nCOPY . /all/\nCOPY [\"new\\nline\", \"/one/\"]\nRUN cat /all/*line /one/*\n")
    for name in (b"new\nline", b"\xff\xfe", "ü✓".encode(), b" blank ", b"*", b"$x", b"back\\slash"):
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "w") as sink:
            sink.write("text")
        os.chown(path, user.uid, user.gid)
    shown = user.iechor("build", "--progress=plain", "-t", "x", folder).stderr
    assert "texttext" in shown
    found = {os.fsencode(name) for name in members(user)}
    assert {b"all/new\nline", b"all/\xff\xfe", "all/ü✓".encode(), b"all/ blank ", b"all/*", b"all/$x",
            b"all/back\\slash", b"one/new\nline"} <= found


def test_links_that_leave_the_context(user: Person) -> None:
    folder = context(user, "", f="1")
    for name, target in (("passwd", "/etc/passwd"), ("up", "../secret"), ("root", "/"), ("loop", "loop"), ("ok", "f")):
        (folder / name).symlink_to(target)
    user.write("secret", "hidden")
    for source in ("passwd", "up", "../secret", "root/etc/passwd", "loop"):
        assert "iechor: iEchorfile:2: cannot" in build(user, f"FROM scratch\nCOPY {source} /\n", code=5), source
    build(user, "FROM scratch\nCOPY . /all/\nCOPY ok root/f /\n")
    found = members(user)
    assert found["all/passwd"].linkname == "/etc/passwd" and found["all/up"].linkname == "../secret"
    assert found["ok"].isfile() and found["f"].size == 1
    shown = build(user, "FROM busybox\nCOPY root /r/\nRUN ls /r\nRUN --mount=target=/m ! cat /m/passwd /m/up\n")
    assert "hidden" not in shown


def archive(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as sink:
        for member in members:
            sink.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name: str, *, link: str = "", hard: bool = False) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    if link:
        info.type, info.linkname = tarfile.LNKTYPE if hard else tarfile.SYMTYPE, link
    else:
        info.size = 1
    return info


@pytest.mark.parametrize("entries", [
    [member("../../out")], [member("a/../../out")], [member("d", link="/var/tmp"), member("d/iechor-out")],
    [member("d", link="../../../var/tmp"), member("d/iechor-out")], [member("h", link="/etc/passwd", hard=True)],
    [member("h", link="../../etc/passwd", hard=True)],
], ids=["up", "middle", "link", "relative", "hard", "hard-up"])
def test_an_archive_that_leaves_its_destination(user: Person, entries: list[tarfile.TarInfo]) -> None:
    context(user, "FROM busybox\nADD evil.tar /dest/\n")
    user.write("c/evil.tar", archive(*entries))
    done = user.iechor("build", "--progress=plain", "-t", "x", user.home / "c", code=None)
    assert done.returncode in (0, 15) and not Path("/var/tmp/iechor-out").exists()
    if done.returncode == 0:  # what it names is inside, as in a chroot
        outside = [name for name in members(user) if not name.startswith(("bin", "etc", "dest", "dev", "home", "proc",
                                                                        "root", "sys", "tmp", "usr", "var"))]
        assert outside == []
        user.iechor("run", "--rm", "x", "sh", "-c", "! test -e /out && ! test -e /var/tmp/iechor-out")
