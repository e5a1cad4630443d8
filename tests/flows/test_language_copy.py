"""COPY and ADD with every flag, as BuildKit has them: what lands in the image, and what is cached."""

import tarfile
from pathlib import Path

from tests.conftest import Person
from tests.flows.test_build import build, context, members, ran


def modes(found: dict[str, tarfile.TarInfo]) -> dict[str, int]:
    return {name: entry.mode for name, entry in found.items()}


def test_chmod_in_symbols(user: Person) -> None:
    place = context(user, "FROM scratch\nCOPY --chmod=u=rwX,go=rX . /a/\nCOPY --chmod=go-w,+t d /b\nARG M=a+x\n"
                          "COPY --chmod=${M} d/plain /c/\n", **{"d/plain": "", "d/run": "", ".iechorignore": "iE*\n.*"})
    for name, mode in (("d", 0o700), ("d/plain", 0o620), ("d/run", 0o710)):
        (place / name).chmod(mode)
    user.iechor("build", "-t", "x", place)
    found = modes(members(user))
    assert (found["a/d"], found["a/d/plain"], found["a/d/run"]) == (0o755, 0o644, 0o755)
    assert (found["b"], found["b/plain"], found["c"], found["c/plain"]) == (0o755, 0o1600, 0o755, 0o731)


def test_exclude_is_relative_to_the_source_and_counts_in_the_key(user: Person) -> None:
    text = "FROM scratch\nCOPY --exclude=*.log --exclude=deep/* --exclude=!deep/kept d /d\n"
    files = {"d/a.txt": "a", "d/b.log": "b", "d/s/c.log": "c", "d/deep/x": "x", "d/deep/kept": "k"}
    build(user, text, **files)
    found = members(user)
    assert set(found) == {"d", "d/a.txt", "d/s", "d/s/c.log", "d/deep", "d/deep/kept"}
    assert ran(build(user, text, **{**files, "d/b.log": "other", "d/deep/x": "other"})) == []
    assert ran(build(user, text, **{**files, "d/a.txt": "other"})) == ["COPY"]


def test_parents_keep_the_folders_from_the_pivot_on(user: Person) -> None:
    files = {"x/y/a.txt": "1", "x/y/b.txt": "2", "x/z/c.txt": "3", "x/other": "4"}
    build(user, "FROM scratch\nCOPY --parents x/y/a.txt x/z /one/\nCOPY --parents x/./y/*.txt /two\n"
                "COPY --parents **/c.txt /three/\n", **files)
    assert set(members(user)) == {
        "one", "one/x", "one/x/y", "one/x/y/a.txt", "one/x/z", "one/x/z/c.txt",
        "two", "two/y", "two/y/a.txt", "two/y/b.txt", "three", "three/x", "three/x/z", "three/x/z/c.txt"}
    shown = build(user, "FROM scratch\nCOPY --parents x/y/none.txt /one/\n", code=5, **files)
    assert '"/x/y/none.txt" is not in the build context' in shown


def test_link_follows_no_symlink_and_does_not_depend_on_what_is_below(user: Person) -> None:
    text = ("FROM busybox\nRUN mkdir /real && ln -s /real /lnk && echo %s > /real/old\n"
            "COPY --link --chown=7:8 f /lnk/sub/\n")
    build(user, text % "one", f="f")
    found = members(user)
    assert found["lnk"].isdir() and (found["lnk/sub/f"].uid, found["lnk/sub/f"].gid) == (7, 8)
    assert "real/sub/f" not in found
    assert user.iechor("run", "--rm", "x", "ls", "-l", "/lnk/sub", "/real").stdout.count(" f\n") == 1
    assert ran(build(user, text % "two", f="f")) == ["RUN"]
    plain = text.replace("--link ", "")
    build(user, plain % "one", f="f")
    assert members(user)["real/sub/f"].isfile()


def test_steps_after_a_linked_copy_depend_on_all_before_them(user: Person) -> None:
    text = "FROM busybox\nRUN echo %s > /v\nCOPY --link f /f\nRUN cat /v /f > /both\n"
    build(user, text % "one", f="f")
    assert ran(build(user, text % "two", f="f")) == ["RUN", "RUN"]
    assert user.iechor("run", "--rm", "x", "cat", "/both").stdout == "two\nf"


def archive(path: Path, **files: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name in files:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o640
            tar.addfile(entry)
    return path


def test_unpack_is_asked_for_or_refused(user: Person) -> None:
    place = context(user, "FROM scratch\nADD t.tgz /yes/\nADD --unpack=false t.tgz /no/\n"
                          "ADD --chmod=777 t.tgz /mode/\nADD --unpack --chown=3 t.tgz /chown/\n")
    archive(place / "t.tgz", inner="")
    (place / "t.tgz").chmod(0o644)
    user.iechor("build", "-t", "x", place)
    found = members(user)
    assert {"yes/inner", "no/t.tgz"} <= set(found) and "no/inner" not in found
    assert found["mode/inner"].mode == 0o640 and found["chown/inner"].uid == 3
