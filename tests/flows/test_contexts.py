"""Where a build context and its iEchorfile can come from: archives, URLs, git repositories, named contexts."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tests import images
from tests.conftest import Person
from tests.flows.test_build import config, members, ran
from tests.servers import Web, git, serve_git, serve_web

COPIES = "FROM scratch\nCOPY . /\n"


@pytest.fixture
def web() -> Iterator[Web]:
    with serve_web() as server:
        yield server


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[str]:
    """The URL of a git server; its repositories are in tmp_path."""
    with serve_git(tmp_path) as url:
        yield url


def tar(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def built(person: Person, context: object, *options: object, code: int = 0, **how: object) -> str:
    """What was shown. The image is called x."""
    return person.iechor("build", "--progress=plain", "-t", "x", *options, context,  # type: ignore[arg-type]
                         code=code, **how).stderr


def text_of(person: Person, path: str) -> str:
    return person.iechor("run", "--rm", "x", "cat", path).stdout


def committed(folder: Path, **files: str) -> str:
    """The files in a repository, which is made where there is none; the commit."""
    if not folder.exists():
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
    for name, text in files.items():
        place = folder / name.replace("__", "/")
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "c")
    return git(folder, "rev-parse", "HEAD")


# -- archives and URLs -------------------------------------------------------------------------------------


def test_the_url_of_an_archive_however_it_is_compressed(user: Person, web: Web) -> None:
    data = tar(iEchorfile=COPIES, a="1", d__other=COPIES + "LABEL file=other\n")
    web.files = {"/c.tar": data, "/gz": gzip.compress(data), "/xz": lzma.compress(data), "/bz2": bz2.compress(data),
                 "/zst": zstandard.compress(data)}
    first = built(user, f"{web.url}/c.tar")
    assert ran(first) == ["COPY"] and {"a", "d/other", "iEchorfile"} <= set(members(user))
    for name in ("gz", "xz", "bz2", "zst"):
        assert ran(built(user, f"{web.url}/{name}")) == [], name  # the same files, so the same layer
    built(user, f"{web.url}/gz", "--file", "d/other")
    assert config(user)["Config"]["Labels"] == {"file": "other"}  # type: ignore[index]


def test_the_url_of_a_file_is_the_build_file(user: Person, web: Web) -> None:
    web.files = {"/f": b"FROM scratch\nCOPY context /here\n"}
    built(user, f"{web.url}/f")
    assert members(user)["here"].size == len(web.files["/f"])
    assert "--file names another" in built(user, f"{web.url}/f", "-f", "other", code=2)
    web.files["/f"] = b"FROM scratch\nCOPI a /\n"
    shown = built(user, f"{web.url}/f", code=3)
    assert f"{web.url}/f:2" in shown and "COPI" in shown


def test_a_build_file_from_elsewhere_for_any_context(user: Person, web: Web) -> None:
    web.files = {"/c.tar": tar(a="1", iEchorfile="FROM nothing"), "/f": COPIES.encode() + b"LABEL from=url\n"}
    outside = user.write("elsewhere/f", COPIES + "LABEL from=path\n")
    folder = user.write("c/a", "1").parent
    for context in (f"{web.url}/c.tar", folder):
        built(user, context, "-f", f"{web.url}/f")
        assert config(user)["Config"]["Labels"] == {"from": "url"}, context  # type: ignore[index]
        built(user, context, "-f", outside)
        assert config(user)["Config"]["Labels"] == {"from": "path"}, context  # type: ignore[index]
        built(user, context, "-f", "-", input=COPIES + "LABEL from=stdin\n")
        assert config(user)["Config"]["Labels"] == {"from": "stdin"}, context  # type: ignore[index]
    assert "cannot find none in the context" in built(user, f"{web.url}/c.tar", "-f", "none", code=5)


def test_what_servers_do_wrong_is_said(user: Person, web: Web) -> None:
    web.files = {"/c.tar": tar(iEchorfile=COPIES, a="1"), "/out": tar(iEchorfile=COPIES, **{"..__x": "1"})}
    web.moved = {"/moved": "/c.tar", "/round": "/round"}
    built(user, f"{web.url}/moved")
    assert "the server answers 404" in built(user, f"{web.url}/none.tar", code=5)
    assert "redirects without end" in built(user, f"{web.url}/round", code=5)
    web.longer = {"/c.tar": 7}
    assert "broke off" in built(user, f"{web.url}/c.tar?new", code=5)
    assert "no connection" in built(user, "http://127.0.0.1:9/c.tar", code=5)
    assert built(user, f"{web.url}/out", code=15)
    assert not (user.home / "x").exists()
    web.files["/half"] = gzip.compress(tar(iEchorfile=COPIES, a="1" * 5000))[:-40]
    assert built(user, f"{web.url}/half", code=15)


def test_an_archive_is_cached_by_what_is_copied(user: Person) -> None:
    def archive(when: int, **files: str) -> Path:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as sink:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(text), when
                sink.addfile(info, io.BytesIO(text.encode()))
        return user.write("c.tar", buffer.getvalue())

    file = "FROM scratch\nCOPY a /\n"
    assert ran(built(user, archive(1, iEchorfile=file, a="1"))) == ["COPY"]
    assert ran(built(user, archive(2, iEchorfile=file, a="1", b="2"))) == []
    assert ran(built(user, archive(2, iEchorfile=file, a="2"))) == ["COPY"]


def test_ignore_files_are_for_folders_and_ignorefile_for_all(user: Person, repositories: str, tmp_path: Path) -> None:
    files = {"iEchorfile": COPIES, "a": "1", "b": "2", ".dockerignore": "a\n"}
    committed(tmp_path / "r.git", **files)
    user.write("c.tar", tar(**files))
    ignoring = user.write("ignoring", "b\niEchorfile\n")
    for context in (f"{repositories}/r.git", user.home / "c.tar"):
        shown = built(user, context)
        assert {"a", "b"} <= set(members(user)) and ".dockerignore of the context is not applied" in shown, context
        built(user, context, "--ignorefile", ignoring)
        assert set(members(user)) == {"a", ".dockerignore"}, context
    folder = user.write("c/iEchorfile", COPIES).parent
    for name, text in {**files, "x.iEchorfile": COPIES, "x.iEchorfile.dockerignore": "b\n*.dockerignore\n"}.items():
        user.write(f"c/{name}", text)
    built(user, folder)
    assert {"b"} == {"a", "b"} & set(members(user))
    built(user, folder, "-f", folder / "x.iEchorfile")
    assert {"a"} == {"a", "b"} & set(members(user))
    built(user, folder, "--ignorefile", ignoring)
    assert {"a"} == {"a", "b"} & set(members(user))


# -- git ---------------------------------------------------------------------------------------------------


def test_a_repository_in_both_forms(user: Person, repositories: str, tmp_path: Path) -> None:
    work = tmp_path / "r.git"
    first = committed(work, sub__iEchorfile=COPIES, sub__a="1", iEchorfile=COPIES, top="1")
    git(work, "tag", "-a", "-m", "t", "v1")
    git(work, "branch", "both")
    committed(work, sub__a="22", iEchorfile=COPIES + "LABEL now=yes\n")
    git(work, "tag", "both")
    url = f"{repositories}/r.git"
    built(user, url)
    assert config(user)["Config"]["Labels"] == {"now": "yes"}  # type: ignore[index]
    assert {"top", "sub/a"} <= set(members(user)) and ".git" not in members(user)
    for asked in ("#v1:sub", "?ref=v1&subdir=sub", f"#{first}:/sub/../sub", f"?branch=both&checksum={first[:12]}#:sub",
                  "#both:sub", f"?fetch-by-commit=true&commit={first}&subdir=sub"):
        shown = built(user, url + asked)
        assert set(members(user)) == {"iEchorfile", "a"} and members(user)["a"].size == 1, asked
        assert asked == "#v1:sub" or ran(shown) == [], asked
    built(user, url + "#main:sub")
    assert members(user)["a"].size == 2


def test_what_is_kept_of_a_repository(user: Person, repositories: str, tmp_path: Path) -> None:
    inner = committed(tmp_path / "inner", i="1")
    outer = tmp_path / "outer"
    committed(outer, iEchorfile=COPIES)
    git(outer, "submodule", "--quiet", "add", f"{repositories}/inner", "inner")
    git(outer, "commit", "-q", "-m", "2")
    url = f"{repositories}/outer"
    built(user, url)
    assert "inner/i" in members(user) and inner and not any(".git/" in name for name in members(user))
    built(user, f"{url}?submodules=false", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1")
    assert "inner/i" not in members(user) and ".git/HEAD" in members(user)
    seconds = int(git(outer, "show", "-s", "--format=%ct"))
    built(user, f"{url}?mtime=commit", "--no-cache")
    assert members(user)["iEchorfile"].mtime == seconds


def test_what_is_wrong_with_a_repository(user: Person, repositories: str, tmp_path: Path) -> None:
    work = tmp_path / "r.git"
    commit = committed(work, iEchorfile=COPIES, a="1")
    (work / "out").symlink_to("/etc")
    (work / "round").symlink_to("round")
    committed(work, b="1")
    url = f"{repositories}/r.git"
    for asked, said, code in (
            ("#none", "no such branch, tag or commit", 5), (f"?checksum={commit}", "expected checksum to match", 5),
            ("#:none", "has no folder none", 5), ("#:out", "has no folder out", 5),
            ("#:round", "symlinks have no end", 5), ("?what=1", 'unexpected query "what"', 2),
            ("?checksum=xyz", "invalid checksum", 2), (f"#{'0' * 40}", "cannot fetch", 5),
            ("#--upload-pack=touch /var/tmp/iechor-owned", "no such branch", 5)):
        assert said in built(user, url + asked, code=code), asked
    assert "cannot ask" in built(user, f"{repositories}/none.git", code=5)


def test_no_context_makes_git_do_more_than_fetch(user: Person, repositories: str, tmp_path: Path) -> None:
    owned = user.home / "owned"
    for hostile in (f"ext::sh -c 'touch {owned}'", f"file://{tmp_path}", f"git+file://{tmp_path}",
                    f"--upload-pack=touch {owned}"):
        assert "cannot read the build context" in built(user, "--", hostile, code=5), hostile
    assert built(user, f"ssh://-oProxyCommand=touch%20{owned}/x", code=5)
    assert built(user, f"git@-oProxyCommand=touch.{owned.name}:x", code=5)
    work = tmp_path / "r.git"
    committed(work, iEchorfile=COPIES)
    for trick in (str(tmp_path / "r.git"), f"file://{tmp_path}/r.git", f"ext::sh -c 'touch {owned}'", f"-u./{owned}"):
        (work / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = {trick}\n')
        git(work, "update-index", "--add", "--cacheinfo", f"160000,{git(work, 'rev-parse', 'HEAD')},m")
        git(work, "add", ".gitmodules")
        git(work, "commit", "-q", "--allow-empty", "-m", "trick")
        assert "cannot fetch the submodules" in built(user, f"{repositories}/r.git", code=5), trick
    assert not owned.exists()


def test_a_password_is_not_told(user: Person, web: Web) -> None:
    place = web.url.partition("://")[2]
    assert "hunter2" not in built(user, f"http://me:hunter2@{place}/none.tar", code=5)
    assert "hunter2" not in built(user, f"http://me:hunter2@{place}/none.git", code=5)


# -- named contexts ----------------------------------------------------------------------------------------


def test_named_contexts_of_every_kind(user: Person, web: Web, repositories: str, tmp_path: Path, shared: Path) -> None:
    committed(tmp_path / "r.git", sub__g="1")
    web.files = {"/c.tar": tar(a="1"), "/r.tar": tar(t="1")}
    folder = user.write("d/f", "1").parent
    user.write("d/skipped", "1")
    user.write("d/.dockerignore", "skipped\n")
    user.write("r.tar", web.files["/r.tar"])
    layout = shared / "named"
    if not layout.exists():
        images.layout(layout, tar(o="1"), {"Env": ["A=b"]})
        index = json.loads((layout / "index.json").read_text())
        index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
        (layout / "index.json").write_text(json.dumps(index))
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    text = ("FROM oci\nCOPY --from=git /sub/g /\nCOPY --from=url context /\nCOPY --from=dir . /dir/\n"
            "COPY --from=tar t /\nCOPY --from=image /etc/passwd /\nCOPY --from=digest o /o2\nCOPY --from=none / /\n")
    user.write("c/iEchorfile", text)
    given = {"oci": f"oci-layout://{layout}:v1", "digest": f"oci-layout://{layout}@{digest}",
             "git": f"{repositories}/r.git", "url": f"{web.url}/c.tar", "dir": folder, "tar": user.home / "r.tar",
             "image": "docker-image://busybox", "none": "docker-image://scratch"}
    built(user, user.home / "c", *(f"--build-context={name}={value}" for name, value in given.items()))
    assert {"o", "o2", "g", "t", "passwd", "dir/f", "context"} <= set(members(user))
    assert "dir/skipped" not in members(user) and "A=b" in config(user)["Config"]["Env"]  # type: ignore[index]
    for value, said, code in (("target:base", 'no stage "base" above', 3), ("alpine", "docker-image://alpine", 5),
                              ("oci-layout:///none", "there is no such folder", 7), ("./no", "No such file", 5),
                              ("s3://x", "no such kind of URL", 5)):
        assert said in built(user, user.home / "c", f"--build-context=oci={value}", code=code), value


STAGES = """\
FROM nowhere.invalid/none AS base
RUN false
FROM base AS made
COPY own /own
FROM made
COPY --from=base f /copied
RUN --mount=from=base,target=/m cat /m/f > /mounted
"""


def test_a_named_context_stands_in_for_a_stage(user: Person) -> None:
    folder = user.write("d/f", "from the context").parent
    user.write("c/iEchorfile", STAGES.replace("FROM made", "FROM busybox").replace("FROM base", "FROM busybox"))
    user.write("c/own", "1")
    built(user, user.home / "c", f"--build-context=base={folder}")
    assert text_of(user, "/copied") == "from the context" == text_of(user, "/mounted")
    user.write("c/iEchorfile", STAGES)
    built(user, user.home / "c", "--build-context=base=docker-image://busybox", f"--build-context=MADE={folder}",
          "--target=made")
    assert set(members(user)) == {"f"}
    checked = user.iechor("build", "--check", "--build-context=base=docker-image://busybox", user.home / "c")
    assert "no warnings" in checked.stdout


def test_a_layout_given_as_a_plain_folder_is_noticed(user: Person) -> None:
    layout = images.layout(user.home / "layout", tar(o="1"), {})
    user.write("c/iEchorfile", "FROM base\n")
    said = built(user, user.home / "c", f"--build-context=base={layout}")
    assert f"--build-context base=oci-layout://{layout}" in said
    assert "holds an OCI image" not in built(user, user.home / "c", f"--build-context=base=oci-layout://{layout}")


TARGETS = """\
FROM busybox AS first
RUN echo 1 > /f
FROM nowhere.invalid/none AS other
RUN false
FROM nowhere.invalid/image
COPY --from=other f /copied
COPY --from=docker.io/library/alpine:latest f /again
RUN --mount=from=alpine,target=/m cat /m/f > /mounted
"""


def test_a_stage_of_the_file_stands_in_for_another_and_for_images(user: Person) -> None:
    place = user.write("c/iEchorfile", TARGETS).parent
    names = ("other", "nowhere.invalid/image", "alpine")
    given = [f"--build-context={name}=target:First" for name in names]
    built(user, place, *given)
    for path in ("/f", "/copied", "/again", "/mounted"):
        assert text_of(user, path) == "1\n", path
    assert "no warnings" in user.iechor("build", "--check", *given, place).stdout
    built(user, place, *given, "--target=other", "--no-cache-filter=first")
    assert "f" in members(user)


def test_a_stage_that_cannot_stand_in(user: Person) -> None:
    place = user.write("c/iEchorfile", "FROM busybox AS base\nCOPY --from=x f /\nFROM base AS later\n").parent
    for stage, said in (("bass", 'no stage "bass"'), ("later", "needs to be defined before"),
                        ("base", "circular dependency")):
        shown = built(user, place, f"--build-context=x=target:{stage}", "--target=base", code=3)
        assert said in shown and "iEchorfile:2" in shown, stage
    shown = built(user, place, "--build-context=busybox=target:later", code=3)
    assert 'no stage "later" above' in shown and "iEchorfile:1" in shown


def test_a_stage_that_is_stood_in_for_is_not_checked(user: Person) -> None:
    user.write("c/iEchorfile", "FROM busybox AS base\nARG A\nWORKDIR rel\nRUN --mount=type=secret,id=s x $Q\n"
                               "FROM base\nWORKDIR also\n")
    found = json.loads(user.iechor("build", "--call=check,format=json", user.home / "c", code=3).stdout)
    assert [one["location"]["ranges"][0]["start"]["line"] for one in found["warnings"]] == [3]
    named = "--build-context=base=docker-image://busybox"
    found = json.loads(user.iechor("build", "--call=check,format=json", named, user.home / "c", code=3).stdout)
    assert [one["location"]["ranges"][0]["start"]["line"] for one in found["warnings"]] == [6]
    outline = json.loads(user.iechor("build", "--call=outline,format=json", user.home / "c").stdout)
    assert "secrets" in outline and outline["args"]
    outline = json.loads(user.iechor("build", "--call=outline,format=json", named, user.home / "c").stdout)
    assert "secrets" not in outline and "args" not in outline


def test_questions_about_a_remote_context(user: Person, web: Web) -> None:
    web.files = {"/c.tar": tar(iEchorfile=COPIES.replace("scratch", "scratch AS one"))}
    asked = user.iechor("build", "--call=targets", f"{web.url}/c.tar").stdout
    assert "one (default)" in asked
