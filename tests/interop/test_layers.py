"""Other programs read the layers we write, and we read theirs, down to the last attribute. Needs root, as they do."""

import hashlib
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from rootless_builder.layer.compress import compress, inflated
from rootless_builder.layer.content import bind
from rootless_builder.layer.reader import read_layer
from rootless_builder.layer.writer import write_layer
from rootless_builder.paths import ROOT, encode
from rootless_builder.tree.changes import Change, ChangeSet, Put
from rootless_builder.tree.node import Device, Directory, File, Node, Symlink
from rootless_builder.tree.tree import Tree
from tests.layersample import full_changes, plain_changes, read_back

pytestmark = pytest.mark.interop
Listing = dict[bytes, dict[str, Any]]


def run(*command: object, **more: Any) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="surrogateescape",
                          env={**os.environ, "LC_ALL": "C.UTF-8"}, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Two ways to the same listing ──────────────────────────────────────────────────────────────────────────────────────

def on_disk(top: Path) -> Listing:
    """What is below a folder of this machine, itself included."""
    found: Listing = {}
    first: dict[int, bytes] = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for path in [folder, *(os.path.join(folder, name) for name in files),
                     *(os.path.join(folder, name) for name in folders if os.path.islink(os.path.join(folder, name)))]:
            name = os.path.relpath(path, os.fsencode(top)) if path != os.fsencode(top) else b""
            found[name] = _of_disk(path, name, first)
    return found


def _of_disk(path: bytes, name: bytes, first: dict[int, bytes]) -> dict[str, Any]:
    info = os.lstat(path)
    told: dict[str, Any] = {"type": stat.S_IFMT(info.st_mode), "owner": (info.st_uid, info.st_gid),
                            "mtime": info.st_mtime_ns, "mode": stat.S_IMODE(info.st_mode)}
    names = os.listxattr(path, follow_symlinks=False)
    told["xattrs"] = {key: os.getxattr(path, key, follow_symlinks=False) for key in names
                      if key.startswith(("user.", "security.capability"))}
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            told["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        told["links"] = info.st_nlink
    elif stat.S_ISLNK(info.st_mode):
        told["target"] = os.readlink(path)
    elif not stat.S_ISDIR(info.st_mode):
        told["device"] = (os.major(info.st_rdev), os.minor(info.st_rdev))
    return told


def of_tree(tree: Tree) -> Listing:
    nodes = list(tree.walk())
    counts: dict[int, int] = {}
    for _, node in nodes:
        counts[id(node)] = counts.get(id(node), 0) + 1
    return {encode(path): _of_node(node, counts[id(node)]) for path, node in nodes}


def file_type(node: Node) -> int:
    """The type bits of st_mode: S_IFREG, S_IFDIR, …"""
    if isinstance(node, Device):
        return node.kind
    return stat.S_IFREG if isinstance(node, File) else stat.S_IFDIR if isinstance(node, Directory) else stat.S_IFLNK


def _of_node(node: Node, links: int) -> dict[str, Any]:
    meta = node.meta
    told: dict[str, Any] = {"type": file_type(node), "owner": (meta.uid, meta.gid), "mtime": meta.mtime,
                            "mode": meta.mode, "xattrs": dict(meta.xattrs)}
    if isinstance(node, File):
        told |= {"sha256": hashlib.sha256(read_back(node)).hexdigest(), "links": links}
    elif isinstance(node, Symlink):
        told["target"] = encode(node.target)
    elif isinstance(node, Device):
        told["device"] = (node.major, node.minor)
    return told


def without(listing: Listing, *keys: str, only: Iterable[int] = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)) -> Listing:
    kinds = set(only)
    return {path: {key: value for key, value in told.items() if key not in keys or told["type"] not in kinds}
            for path, told in listing.items()}


def same(found: Listing, wanted: Listing) -> None:
    assert found.keys() == wanted.keys()
    for path, told in wanted.items():
        assert found[path] == told, path


# What we write ─────────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.fixture
def layer(root: int, place: Path) -> Path:
    """A tar with one of everything."""
    fd = os.open(place / "layer.tar", os.O_WRONLY | os.O_CREAT)
    write_layer(full_changes(root, place / "source"), fd)
    os.close(fd)
    return place / "layer.tar"


def as_archive(layer: Path) -> Listing:
    """The layer as a program sees it that knows nothing of deletions."""
    with open(layer, "rb") as stream:
        changes = bind(read_layer(stream, whiteouts=False), lambda: os.open(layer, os.O_RDONLY))
    return of_tree(Tree.empty().apply(changes))


def as_layer(layer: Path) -> Listing:
    with open(layer, "rb") as stream:
        changes = bind(read_layer(stream), lambda: os.open(layer, os.O_RDONLY))
    return of_tree(Tree.empty().apply(changes))


def implied(listing: Listing) -> set[bytes]:
    """Folders that the layer does not have, of which each program makes what it likes."""
    return {b"srv", b"var", b"var/log", *(path for path in listing if path.startswith(b"component") and
                                           listing[path]["type"] == stat.S_IFDIR)}


def drop(listing: Listing, paths: set[bytes]) -> Listing:
    return {path: told for path, told in listing.items() if path not in paths}


def test_gnu_tar_unpacks_all_of_it(layer: Path, place: Path) -> None:
    (place / "out").mkdir()
    said = subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", layer, "-C", place / "out"],
                          capture_output=True, text=True)
    assert said.returncode == 0
    assert said.stderr in ("", "tar: old: implausibly old time stamp 1969-12-31 00:00:00.25\n")
    wanted = as_archive(layer)
    same(drop(on_disk(place / "out"), implied(wanted)), drop(wanted, implied(wanted)))


def test_bsdtar_unpacks_all_of_it(layer: Path, place: Path) -> None:
    (place / "out").mkdir()
    said = subprocess.run(["bsdtar", "--xattrs", "-xpf", layer, "-C", place / "out"], capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert (said.returncode, said.stderr) == (0, "")
    found, wanted = on_disk(place / "out"), as_archive(layer)
    for listing in (found, wanted):
        listing[b"old"].pop("mtime")  # it takes -86400.25 for -86400 + 0.25
    assert found[b""].pop("mtime") > wanted[b""].pop("mtime")  # it unpacks into the root after it has set its time
    same(drop(found, implied(wanted)), drop(wanted, implied(wanted)))


def write_image(place: Path, layers: list[Path], media_type: str = "application/vnd.oci.image.layer.v1.tar",
                diff_ids: list[str] | None = None) -> Path:
    """An OCI image layout, its one image called `tag`; none of our code."""
    layout = place / "layout"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    stored = [put(path.read_bytes(), media_type) for path in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
        "type": "layers", "diff_ids": diff_ids or [blob["digest"] for blob in stored]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
                "layers": stored}
    entry = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "tag"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return layout


def lower(place: Path) -> Path:
    """A layer below ours, made by GNU tar: what ours removes, and a neighbour that stays."""
    top = place / "lower"
    for path in ("etc/motd/deep/x", "etc/stays", "usr/gone", "usr/sticky/old", "var/log/gone/x", "var/log/stays",
                 "srv/a/b", "owners/old"):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(path)
    run("tar", "-C", top, "-cf", place / "lower.tar", ".")
    return place / "lower.tar"


def both(*layers: Path) -> Listing:
    tree = Tree.empty()
    for path in layers:
        with open(path, "rb") as stream:
            tree = tree.apply(bind(read_layer(stream), lambda path=path: os.open(path, os.O_RDONLY)))  # type: ignore[misc]
    return of_tree(tree)


def test_umoci_unpacks_it_over_another_layer(layer: Path, place: Path) -> None:
    layers = [lower(place), layer]
    layout = write_image(place, layers)
    run("umoci", "unpack", "--image", f"{layout}:tag", place / "bundle")
    wanted = both(*layers)
    assert b"usr/sticky/old" not in wanted
    assert b"var/log/stays" in wanted
    unmade = {path for path in wanted if path.startswith(b"component") and wanted[path]["type"] == stat.S_IFDIR}
    # An opaque folder that a layer does not put, or whose content it removes, gets a new time from umoci.
    touched = {b"", b"srv", b"var/log", b"usr", b"owners"}
    found = on_disk(place / "bundle" / "rootfs")
    assert wanted[b"attrs"]["xattrs"].pop("user.empty") == b""  # it drops attributes without a value
    same(drop(found, unmade | touched), drop(wanted, unmade | touched))
    same(without({path: found[path] for path in touched}, "mtime"),
         without({path: wanted[path] for path in touched}, "mtime"))


def podman(place: Path, *arguments: object) -> str:
    return run("podman", "--root", place / "podman", "--runroot", place / "podman-run", "--storage-driver", "vfs",
               "--cgroup-manager", "cgroupfs", *arguments)


def test_podman_stores_it_over_another_layer_and_gives_the_same_bytes_back(layer: Path, place: Path) -> None:
    """Its store keeps a layer as files and a recipe (tar-split) and must make the same tar of them again."""
    layers = [lower(place), layer]
    layout = write_image(place, layers)
    image = podman(place, "pull", "-q", f"oci:{layout}:tag").strip()
    mounted = Path(podman(place, "image", "mount", image).strip())
    wanted = both(*layers)
    found = on_disk(mounted)
    assert wanted[b"attrs"]["xattrs"].pop("user.empty") == b""  # it drops attributes without a value
    unmade = {path for path in wanted if path.startswith(b"component") and wanted[path]["type"] == stat.S_IFDIR}
    touched = {b"", b"srv", b"var/log", b"usr", b"owners", b"usr/sticky"}
    # Times within a second, and the links of a file, are lost in its store; a socket of its own is not ours.
    same(drop(without(found, "mtime", "links"), unmade), drop(without(wanted, "mtime", "links"), unmade))
    for path in wanted.keys() - unmade - touched:
        if wanted[path]["type"] == stat.S_IFREG and path != b"old":  # no times before the epoch there
            assert found[path]["mtime"] // 10**9 == wanted[path]["mtime"] // 10**9, path
    podman(place, "image", "unmount", image)
    podman(place, "push", "-q", "--format", "oci", image, f"oci:{place / 'again'}:tag")
    index = json.loads((place / "again" / "index.json").read_text())
    blob = place / "again" / "blobs" / "sha256"
    manifest = json.loads((blob / index["manifests"][0]["digest"].partition(":")[2]).read_text())
    config = json.loads((blob / manifest["config"]["digest"].partition(":")[2]).read_text())
    assert config["rootfs"]["diff_ids"] == [
        f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in layers]
    with open(blob / manifest["layers"][1]["digest"].partition(":")[2], "rb") as stream:
        assert inflated(stream).read_exactly(1 << 30) == layer.read_bytes()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_skopeo_inflates_what_we_compressed(kind: str, layer: Path, place: Path) -> None:
    packed = place / "packed"
    fd = os.open(layer, os.O_RDONLY)
    with open(packed, "wb") as out:
        compress(fd, out.write, kind, jobs=2)
    os.close(fd)
    diff_id = hashlib.sha256(layer.read_bytes()).hexdigest()
    layout = write_image(place, [packed], f"application/vnd.oci.image.layer.v1.tar+{kind}", [f"sha256:{diff_id}"])
    run("skopeo", "copy", "-q", "--dest-decompress", f"oci:{layout}:tag", f"dir:{place / 'dir'}")
    assert (place / "dir" / diff_id).read_bytes() == layer.read_bytes()
    if kind == "gzip":  # this umoci knows no zstd
        run("umoci", "unpack", "--image", f"{layout}:tag", place / "bundle")
        assert (place / "bundle" / "rootfs" / "usr" / "tool").read_bytes() == b"from the host\n" * 100


# What they write ───────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.fixture
def source(root: int, place: Path) -> Path:
    """A folder that GNU tar unpacked from our layer, without what older formats cannot hold."""
    changes: list[Change] = [*plain_changes(root, place / "source")]
    fd = os.open(place / "plain.tar", os.O_WRONLY | os.O_CREAT)
    write_layer(ChangeSet.of(changes), fd)
    os.close(fd)
    (place / "tree").mkdir()
    run("tar", "-xpf", place / "plain.tar", "-C", place / "tree")
    with open(place / "tree" / "sparse", "wb") as file:
        file.truncate(70 << 20)
        for number in range(30):
            file.seek(number * 2_000_000 + 65536)
            file.write(b"data %d" % number)
    os.mknod(place / "tree" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(place / "tree" / "pipe")
    os.chown(place / "tree" / "etc", 70000, 2_000_000)
    os.setxattr(place / "tree" / "etc" / "motd", "user.note", b"\0binary\n")
    return place / "tree"


def read_archive(path: Path) -> Listing:
    with open(path, "rb") as stream:
        kind = inflated(stream).kind
    inner = path
    if kind != "none":
        inner = path.with_suffix(".plain")
        with open(path, "rb") as stream:
            inner.write_bytes(inflated(stream).read_exactly(1 << 30))
    return as_archive(inner)


def check_against_disk(archive: Path, source: Path, *lost: str) -> None:
    """lost: what this format cannot hold."""
    found, wanted = read_archive(archive), on_disk(source)
    if "fractions" in lost:
        for told in (*found.values(), *wanted.values()):
            told["mtime"] = told["mtime"] // 10**9
    same(without(found, *lost), without(wanted, *lost))


@pytest.mark.parametrize(("flags", "lost"), [
    (["--format=pax", "--xattrs"], []),
    (["--format=pax", "--xattrs", "--sparse"], []),
    (["--format=pax", "--xattrs", "--sparse", "--sparse-version=0.0"], []),
    (["--format=pax", "--xattrs", "--sparse", "--sparse-version=0.1"], []),
    (["--format=posix", "--xattrs", "--numeric-owner", "-z"], []),
    (["--format=gnu"], ["xattrs", "fractions"]),
    (["--format=gnu", "--sparse", "-J"], ["xattrs", "fractions"]),
    (["--format=oldgnu", "--sparse", "-j"], ["xattrs", "fractions"]),
    (["--format=gnu", "--zstd"], ["xattrs", "fractions"]),
], ids=" ".join)  # type: ignore[arg-type]
def test_archives_of_gnu_tar(flags: list[str], lost: list[str], source: Path, place: Path) -> None:
    run("tar", *flags, "-C", source, "-cf", place / "out.tar", ".")
    check_against_disk(place / "out.tar", source, *lost)


def shortened(source: Path) -> Path:
    """What ustar and V7 cannot hold, away."""
    for path in source.iterdir():
        if len(os.fsencode(path.name)) > 60:
            run("rm", "-rf", path)
    for name in ("usr/dangling", "old"):
        (source / name).unlink()
    return source


@pytest.mark.parametrize("format", ["ustar", "v7"])
def test_older_archives_of_gnu_tar(format: str, source: Path, place: Path) -> None:
    shortened(source)
    if format == "v7":  # it knows neither devices nor large owners
        (source / "null").unlink()
        (source / "pipe").unlink()
    os.chown(source / "etc", 70000, 70000)
    run("tar", f"--format={format}", "-C", source, "-cf", place / "out.tar", ".")
    check_against_disk(place / "out.tar", source, "xattrs", "fractions")


@pytest.mark.parametrize(("format", "lost"), [("pax", []), ("gnutar", ["xattrs", "fractions"])])
def test_archives_of_bsdtar(format: str, lost: list[str], source: Path, place: Path) -> None:
    (source / "old").unlink()  # this bsdtar writes wrong times before the epoch
    run("bsdtar", f"--format={format}", "--xattrs", "-C", source, "-cf", place / "out.tar", ".")
    check_against_disk(place / "out.tar", source, *lost)


@pytest.mark.parametrize(("format", "lost"), [(tarfile.PAX_FORMAT, ["xattrs"]),
                                              (tarfile.GNU_FORMAT, ["xattrs", "fractions"])], ids=["pax", "gnu"])
def test_archives_of_python(format: int, lost: list[str], source: Path, place: Path) -> None:
    with tarfile.open(place / "out.tar", "w", format=format) as tar:
        tar.add(source, ".")
    found, wanted = read_archive(place / "out.tar"), on_disk(source)
    for told in (*found.values(), *wanted.values()):  # a float of Python cannot hold nanoseconds
        told["mtime"] = int(told["mtime"] / 10**9) if "fractions" in lost else round(told["mtime"] / 10**9, 5)
    same(without(found, *lost), without(wanted, *lost))


def test_layers_of_umoci(source: Path, place: Path) -> None:
    """Two layers of umoci: a tree, then deletions and changes."""
    image = f"{place / 'layout'}:tag"
    run("umoci", "init", "--layout", place / "layout")
    run("umoci", "new", "--image", image)
    run("umoci", "unpack", "--image", image, place / "one")
    run("cp", "-a", f"{source}/.", place / "one" / "rootfs")
    run("umoci", "repack", "--image", image, place / "one")
    run("umoci", "unpack", "--image", image, place / "two")
    rootfs = place / "two" / "rootfs"
    run("rm", "-rf", rootfs / "etc", rootfs / "pipe")
    (rootfs / "etc").write_text("a file now")
    os.chmod(rootfs / "usr", 0o700)
    (rootfs / "new").symlink_to("usr")
    run("umoci", "repack", "--image", image, place / "two")
    found = tree_of_layout(place / "layout", place)
    wanted = on_disk(rootfs)
    # Go writes whole seconds where it can; umoci itself puts the folder's time right only in its own unpacking.
    same(without(drop(found, {b""}), "mtime", "links"), without(drop(wanted, {b""}), "mtime", "links"))
    assert found[b"usr/tool"]["links"] == found[b"usr/tool-again"]["links"] == 2


def tree_of_layout(layout: Path, place: Path) -> Listing:
    index = json.loads((layout / "index.json").read_text())
    blobs = layout / "blobs" / "sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"].partition(":")[2]).read_text())
    tree = Tree.empty()
    for number, entry in enumerate(manifest["layers"]):
        plain = place / f"layer-{number}.tar"
        with open(blobs / entry["digest"].partition(":")[2], "rb") as stream:
            plain.write_bytes(inflated(stream).read_exactly(1 << 30))
        with open(plain, "rb") as stream:
            changes = bind(read_layer(stream), lambda plain=plain: os.open(plain, os.O_RDONLY))  # type: ignore[misc]
        tree = tree.apply(changes)
    return of_tree(tree)


def test_layers_of_podman_build(source: Path, place: Path) -> None:
    """What buildah commits: Go's archive/tar with whole seconds, deletions of a RUN-less build by a second COPY."""
    (place / "Containerfile").write_text("FROM scratch\nCOPY tree /\nCOPY tree/etc /usr/sticky/\n")
    podman(place, "build", "-q", "--layers", "-t", "made", "-f", place / "Containerfile", place)
    podman(place, "push", "-q", "--format", "oci", "made", f"oci:{place / 'layout'}:tag")
    found = tree_of_layout(place / "layout", place)
    wanted = on_disk(source)
    lost = ("mtime", "links", "owner", "xattrs", "mode")
    for path, told in without(wanted, *lost).items():
        if told["type"] in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
            assert without(found, *lost)[path] == told, path
    assert found[b"usr/sticky/motd"]["sha256"] == wanted[b"etc/motd"]["sha256"]


def test_what_others_wrote_can_be_written_again(source: Path, place: Path) -> None:
    """Read, write, read: nothing is lost on the way."""
    run("tar", "--format=pax", "--xattrs", "--sparse", "-C", source, "-cf", place / "out.tar", ".")
    with open(place / "out.tar", "rb") as stream:
        changes = bind(read_layer(stream), lambda: os.open(place / "out.tar", os.O_RDONLY))
    assert any(isinstance(change, Put) and isinstance(change.node, Directory) and change.path == ROOT
               for change in changes)
    fd = os.open(place / "again.tar", os.O_WRONLY | os.O_CREAT)
    write_layer(changes, fd)
    os.close(fd)
    same(as_archive(place / "again.tar"), on_disk(source))
