"""`iechor build --output` of every type, as the plain user: what other tools read of it, and what is left behind."""

import base64
import hashlib
import json
import os
import stat
import subprocess
import tarfile

import pytest

from tests import images
from tests.conftest import Person
from tests.registry_server import Registry, skopeo

RUN = """\
FROM busybox
COPY --chown=33:44 --chmod=640 a /srv/a
RUN mkdir -p /d/e && echo hi > /d/e/f && chown 33:44 /d/e/f && ln /d/e/f /d/g && ln -s /etc/passwd /d/link \\
    && mkfifo /d/fifo && mknod /d/null c 1 3 && chmod 4755 /d/g && chmod 500 /d/e
"""
COPIED = "FROM scratch\nCOPY a b/\nLABEL of=test\n"


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    plain_user.mirror(registry)
    plain_user.write("ctx/a", "content of a\n")
    return plain_user


def file(user: Person, text: str) -> str:
    user.write("ctx/iEchorfile", text)
    return "ctx"


def kept(user: Person) -> list[str]:
    """But for the base."""
    names = user.iechor("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    return [name for name in names if name != "busybox:latest"]


def listing(tar: str) -> dict[str, list[str]]:
    """path → [mode, owner, …] as GNU tar tells it."""
    shown = subprocess.run(["tar", "-tvf", tar, "--numeric-owner"], capture_output=True, text=True, check=True).stdout
    return {fields[5]: fields for fields in map(str.split, shown.splitlines())}


def test_a_tar_has_every_owner_mode_and_device(user: Person) -> None:
    context = file(user, RUN)
    user.iechor("build", "-o", "type=tar,dest=out.tar", context)
    found = listing(str(user.home / "out.tar"))
    assert found["srv/a"][:2] == ["-rw-r-----", "33/44"]
    assert found["d/e/f"][:2] == ["-rwsr-xr-x", "33/44"] and found["d/e/"][0] == "dr-x------"
    assert found["d/g"][0][0] == "h" and found["d/g"][-1] == "d/e/f"
    assert found["d/null"][:3] == ["crw-r--r--", "0/0", "1,3"] and found["d/fifo"][0] == "prw-r--r--"
    assert found["d/link"][-1] == "/etc/passwd" and "./" not in found
    assert kept(user) == [], "an image without a name that went elsewhere does not fill the store"


def test_standard_output_is_the_tar_and_nothing_else(user: Person) -> None:
    context = file(user, COPIED)
    with (user.home / "piped.tar").open("wb") as sink:
        process = user.start(*user.command("build", "-q", "-o", "-", context), stdout=sink)
        assert process.wait(60) == 0
    assert list(listing(str(user.home / "piped.tar"))) == ["b/", "b/a"]


def test_a_folder_has_modes_links_and_no_devices(user: Person) -> None:
    context = file(user, RUN)
    told = user.iechor("build", "-o", "out", context).stderr
    out = user.home / "out"
    assert "1 device node (/d/null) left out" in told and "(/d/e/f) without the set-user-id" in told
    assert stat.S_IMODE((out / "d/e").stat().st_mode) == 0o500 and stat.S_IMODE((out / "srv/a").stat().st_mode) == 0o640
    assert (out / "d/g").samefile(out / "d/e/f") and stat.S_IMODE((out / "d/g").stat().st_mode) == 0o755
    assert os.readlink(out / "d/link") == "/etc/passwd" and stat.S_ISFIFO((out / "d/fifo").stat().st_mode)
    assert {path.lstat().st_uid for path in out.rglob("*")} == {user.uid}
    assert not (out / "d/null").exists() and stat.S_IMODE(out.stat().st_mode) == 0o755


def test_a_folder_is_added_to_or_made_the_same_and_never_left(user: Person) -> None:
    context = file(user, "FROM scratch\nCOPY --chmod=500 a /in/a\nCOPY a /was-a-folder\nCOPY a /other/a\n")
    outside = user.write("outside/a", "precious\n")
    user.write("out/in/mine", "mine\n", mode=0o400)
    user.write("out/was-a-folder/x", "")
    (user.home / "out/was-a-folder").chmod(0)
    for name, target in (("out/other", user.home / "outside"), ("out/in/a", outside)):
        (user.home / name).symlink_to(target)
        os.lchown(user.home / name, user.uid, user.gid)
    user.iechor("build", "-o", "out", context)
    assert outside.read_text() == "precious\n", "a symlink below the folder is replaced, never followed"
    assert not (user.home / "out/other").is_symlink() and (user.home / "out/other/a").read_text() == "content of a\n"
    assert (user.home / "out/in/a").read_text() == "content of a\n" and (user.home / "out/in/mine").exists()
    assert (user.home / "out/was-a-folder").is_file()
    user.iechor("build", "-o", "type=local,dest=out,mode=delete", context)
    assert sorted(str(path.relative_to(user.home / "out")) for path in (user.home / "out").rglob("*")) == [
        "in", "in/a", "other", "other/a", "was-a-folder"]


def test_a_folder_that_cannot_be_written_is_as_it_was(user: Person) -> None:
    context = file(user, COPIED)
    for name, text in (("there/a", "old\n"), ("file", "")):
        user.write(name, text)
    (user.home / "there").chmod(0o500)
    for dest in ("there", "file", "/proc/nothing", "type=tar,dest=none/x.tar", "type=oci,dest=there",
                 "type=oci,tar=false,dest=there", "type=tar,dest=there/x.tar"):
        done = user.iechor("build", "-o", dest, context, code=2)
        assert "cannot write" in done.stderr and "[" not in done.stderr, "it is said before anything is built"
    assert os.listdir(user.home / "there") == ["a"]


@pytest.mark.parametrize("attributes,media_type", [
    ("", "application/vnd.oci.image.layer.v1.tar+gzip"),
    (",compression=zstd,compression-level=1,force-compression=true",
     "application/vnd.oci.image.layer.v1.tar+zstd"),
    (",compression=uncompressed,force-compression=true", "application/vnd.oci.image.layer.v1.tar"),
    (",oci-mediatypes=false", "application/vnd.docker.image.rootfs.diff.tar.gzip")])
def test_an_oci_archive_for_skopeo(user: Person, attributes: str, media_type: str) -> None:
    context = file(user, "FROM busybox\nCOPY a /a\n")
    user.iechor("build", "-o", f"type=oci,dest=x.tar,name=app:1,annotation.org.x=y{attributes}",
                "--annotation=manifest-descriptor:org.z=1",
                "--metadata-file", "meta.json", "--iidfile", "iid", context)
    raw = skopeo("inspect", "--raw", f"oci-archive:{user.home}/x.tar")
    manifest, meta = json.loads(raw), json.loads((user.home / "meta.json").read_text())
    assert {layer["mediaType"] for layer in manifest["layers"]} == {media_type}
    assert manifest["annotations"] == {"org.x": "y"}
    assert meta["containerimage.descriptor"]["annotations"] == {"org.z": "1"}
    with tarfile.open(user.home / "x.tar") as archive:
        [described] = json.load(archive.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
    assert described["annotations"]["org.z"] == "1" and described["annotations"]["org.opencontainers.image.ref.name"]
    assert meta["containerimage.digest"] == f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"
    assert meta["containerimage.descriptor"]["size"] == len(raw) and meta["image.name"] == "docker.io/library/app:1"
    assert meta["containerimage.config.digest"] == manifest["config"]["digest"] == (user.home / "iid").read_text()
    assert len(json.loads(skopeo("inspect", f"oci-archive:{user.home}/x.tar"))["Layers"]) == 2
    skopeo("copy", "-q", f"oci-archive:{user.home}/x.tar", f"dir:{user.home}/copied")  # every blob has its digest


@pytest.mark.parametrize("options", [
    ["--build-arg=BUILDKIT_MULTI_PLATFORM=1"],
    ["--annotation=index:org.i=1", "--annotation=index-descriptor:org.d=2"]])
def test_one_platform_as_one_of_several(user: Person, registry: Registry, options: list[str]) -> None:
    name = f"{registry.host}/outputs/index:1"
    user.iechor("build", "-t", name, "--push", "-o", "type=oci,dest=x.tar", "--metadata-file=m",
                "--annotation=manifest-descriptor:org.m=3", *options, file(user, COPIED))
    raw = skopeo("inspect", "--raw", f"docker://{name}", *registry.skopeo_flags())
    assert raw == skopeo("inspect", "--raw", f"oci-archive:{user.home}/x.tar"), "one digest everywhere"
    told, meta = json.loads(raw), json.loads((user.home / "m").read_text())
    [manifest] = told["manifests"]
    assert manifest["platform"] == {"architecture": images.ARCHITECTURE, "os": "linux"}
    assert manifest["annotations"] == {"org.m": "3"}
    assert meta["containerimage.digest"] == f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"
    annotated = len(options) == 2
    assert told.get("annotations") == ({"org.i": "1"} if annotated else None)
    assert meta["containerimage.descriptor"].get("annotations") == ({"org.d": "2"} if annotated else None)
    assert "platform" not in meta["containerimage.descriptor"]
    for place in (("pull", name), ("load", "-i", "x.tar")):
        before = user.iechor("rmi", name).stdout
        user.iechor(*place)
        assert kept(user) == [name], before


def test_files_of_one_platform_as_of_several(user: Person) -> None:
    several, folder = "--build-arg=BUILDKIT_MULTI_PLATFORM=1", f"linux_{images.ARCHITECTURE}"
    user.iechor("build", several, "-o", "out", "-o", "type=tar,dest=x.tar", file(user, COPIED))
    assert os.listdir(user.home / "out") == [folder] and (user.home / "out" / folder / "b/a").is_file()
    assert sorted(listing(str(user.home / "x.tar"))) == [f"{folder}/", f"{folder}/b/", f"{folder}/b/a"]
    user.iechor("build", several, "-o", "type=local,dest=flat,platform-split=false", "ctx")
    assert os.listdir(user.home / "flat") == ["b"]


def test_a_docker_archive_for_docker_podman_and_us(user: Person) -> None:
    context = file(user, "FROM busybox\nCOPY a /a\n")
    user.iechor("build", "-t", "app:1", "-t", "registry.example/team/app:2", "-o", "type=docker,dest=x.tar", context)
    told = json.loads(skopeo("inspect", "--config", f"docker-archive:{user.home}/x.tar:app:1"))
    assert len(told["rootfs"]["diff_ids"]) == 2
    listed = subprocess.run(["tar", "-xOf", str(user.home / "x.tar"), "manifest.json"], capture_output=True, text=True,
                            check=True)
    assert json.loads(listed.stdout)[0]["RepoTags"] == ["app:1", "registry.example/team/app:2"]
    index = json.loads(subprocess.run(["tar", "-xOf", str(user.home / "x.tar"), "index.json"], capture_output=True,
                                      text=True, check=True).stdout)
    assert index["manifests"][0]["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    before = user.iechor("images", "-q", "--no-trunc", "app").stdout
    user.iechor("rmi", "app:1", "registry.example/team/app:2")
    user.iechor("load", "-i", "x.tar")
    assert sorted(kept(user)) == ["app:1", "registry.example/team/app:2"]
    assert user.iechor("images", "-q", "--no-trunc", "app").stdout == before, "the image id is the same in the archive"


def test_a_layout_folder_takes_more_images(user: Person) -> None:
    user.iechor("build", "-o", "type=oci,tar=false,dest=oci,name=app:1", file(user, COPIED))
    user.iechor("build", "-o", "type=oci,tar=false,dest=oci,name=app:2", file(user, COPIED + "LABEL other=1\n"))
    user.iechor("build", "-o", "type=oci,tar=false,dest=oci,name=app:1", file(user, COPIED + "LABEL third=1\n"))
    labels = [json.loads(skopeo("inspect", f"oci:{user.home}/oci:{tag}"))["Labels"] for tag in ("1", "2")]
    assert labels == [{"of": "test", "third": "1"}, {"of": "test", "other": "1"}]
    assert len(json.loads((user.home / "oci/index.json").read_text())["manifests"]) == 2
    subprocess.run(["umoci", "stat", "--image", f"{user.home}/oci:2"], check=True, capture_output=True)


def test_several_outputs_and_a_push_at_once(user: Person, registry: Registry) -> None:
    name = f"{registry.host}/outputs/app:1"
    user.iechor("build", "-t", name, "-o", "out", "-o", "type=oci,dest=x.tar", "--push", "--metadata-file", "m",
                file(user, COPIED))
    meta = json.loads((user.home / "m").read_text())
    raw = skopeo("inspect", "--raw", f"docker://{name}", *registry.skopeo_flags())
    assert meta["containerimage.digest"] == f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"
    assert raw == skopeo("inspect", "--raw", f"oci-archive:{user.home}/x.tar"), "one digest everywhere"
    assert meta["image.name"] == name and (user.home / "out/b/a").exists() and kept(user) == [name]


def test_a_push_by_digest_sets_no_tag(user: Person, registry: Registry) -> None:
    name = f"{registry.host}/outputs/bare"
    user.iechor("build", "-o", f"type=image,name={name},push-by-digest=true,name-canonical=true,push=true",
                "--metadata-file", "m", file(user, COPIED))
    digest = json.loads((user.home / "m").read_text())["containerimage.digest"]
    skopeo("inspect", "--raw", f"docker://{name}@{digest}", *registry.skopeo_flags())
    puts = [one.path for one in registry.requests() if one.method == "PUT" and "/outputs/bare/manifests/" in one.path]
    assert puts == [f"/v2/outputs/bare/manifests/{digest}"]
    assert user.iechor("inspect", f"{name}@{digest}").stdout


def test_a_push_that_fails_leaves_the_image_and_says_so(user: Person) -> None:
    done = user.iechor("build", "-t", "127.0.0.1:1/app:1", "--push", "--iidfile", "iid", file(user, COPIED), code=8)
    assert "cannot push 127.0.0.1:1/app:1" in done.stderr and "was built and is in the store" in done.stderr
    assert kept(user) == ["127.0.0.1:1/app:1"] and (user.home / "iid").read_text().startswith("sha256:")
    done = user.iechor("build", "--push", file(user, COPIED), code=2)
    assert "it has no name" in done.stderr


def test_cacheonly_leaves_the_steps_and_no_image(user: Person) -> None:
    context = file(user, COPIED)
    user.iechor("build", "-t", "x", "-o", "type=cacheonly", context)
    assert kept(user) == []
    user.iechor("prune", "-f")
    assert "CACHED" in user.iechor("build", "-t", "x", context).stderr and kept(user) == ["x:latest"]


def test_with_a_name_the_image_stays_whatever_else_is_written(user: Person) -> None:
    user.iechor("build", "-t", "x", "-o", "out", file(user, COPIED))
    assert kept(user) == ["x:latest"]
    user.iechor("build", "-o", "out", "-o", "type=docker,name=y", file(user, COPIED))
    assert sorted(kept(user)) == ["x:latest", "y:latest"]


def test_an_archive_that_somebody_reads_no_further_is_no_error_of_ours(user: Person) -> None:
    user.write("ctx/big", os.urandom(1 << 20))
    words = " ".join(user.command("build", "-o", "-", file(user, "FROM scratch\nCOPY big /\n")))
    done = user.run("sh", "-c", f"{words} | head -c 100 >/dev/null")
    assert done.returncode == 0 and "Traceback" not in done.stderr and "bug" not in done.stderr


def test_a_full_disk_leaves_what_was_there(user: Person) -> None:
    context = file(user, "FROM scratch\nCOPY big /dir/\n")
    user.write("ctx/big", os.urandom(3 << 20))
    disk = user.write("small/.keep", "").parent
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,uid={user.uid},mode=755", "tmpfs", disk], check=True)
    try:
        (disk / "there").mkdir()
        (disk / "there/old").write_text("old")
        (disk / "old.tar").write_text("old")
        for path in (disk / "there", disk / "there/old", disk / "old.tar"):
            os.chown(path, user.uid, user.gid)
        for output in ("small/there", "small/new", "type=tar,dest=small/old.tar", "type=oci,dest=small/new.tar",
                       "type=oci,tar=false,dest=small/layout"):
            done = user.iechor("build", "-o", output, context, code=13)
            assert "cannot write the output small" in done.stderr and "hint: free some space" in done.stderr
        left = {str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file()}
        whole = {path for path in left if path.startswith("layout/blobs/sha256/") or path == "layout/oci-layout"}
        assert left - whole == {"there/old", "old.tar"}, "nothing half-written"
        assert all(path.rpartition("/")[2] in ("oci-layout", hashlib.sha256((disk / path).read_bytes()).hexdigest())
                   for path in whole)
        assert (disk / "old.tar").read_text() == "old" and not (disk / "layout/index.json").exists()
        (disk / "old.tar").unlink()
        user.iechor("build", "-o", "type=oci,tar=false,dest=small/layout", file(user, COPIED))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_metadata_tells_warnings_to_those_who_ask_as_of_docker(user: Person) -> None:
    context = file(user, "from scratch\nCOPY a /a\n")
    user.iechor("build", "--metadata-file", "m", context)
    assert "buildx.build.warnings" not in json.loads((user.home / "m").read_text())
    user.iechor("build", "--metadata-file", "m", context, env={"BUILDX_METADATA_WARNINGS": "1"})
    [warning] = json.loads((user.home / "m").read_text())["buildx.build.warnings"]
    assert base64.b64decode(warning["short"]).startswith(b"ConsistentInstructionCasing: ")
    assert warning["range"] == [{"start": {"line": 1}, "end": {"line": 1}}]
