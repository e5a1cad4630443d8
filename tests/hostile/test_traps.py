"""Layouts, contexts and images that lay traps: pipes and devices where files should be, symlinks where a container
mounts, attributes that are none. Nothing hangs, nothing of the host's is read or written, and an error names its cause.
"""

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rootless_builder.errors import UnsafeArchive
from tests.conftest import Person
from tests.hostile.hostile_server import LAYER, MANIFEST, TAR, config_of, described, digest_of, manifest_of
from tests.hostile.test_images import loaded, untouched, victim, write_layout
from tests.registry_server import Registry
from tests.tarbytes import END, file, folder, header, padded, pax, symlink

UNSAFE = UnsafeArchive.exit_code
SECRET = "the host's own words"
__all__ = ["victim"]  # the fixture


# ---- folders ---------------------------------------------------------------------------------------------------

def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def device(path: Path) -> None:
    path.unlink()
    os.mknod(path, 0o20666, os.makedev(1, 5))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


TRAPS: dict[str, Callable[[Path], None]] = {
    "pipe": pipe, "endless": endless, "folder": a_folder, "loop": loop, "device": device}
PARTS = ("oci-layout", "index.json", "manifest", "config", "layer")
WAYS = {"load": ["load", "-i", "trap"], "from": ["build", "-q", "c"],
        "cache": ["build", "-q", "--cache-from=type=local,src=trap", "d"]}


def trap(person: Person, part: str) -> Path:
    """A good layout, and the file of it that the trap is laid at."""
    blob, config = gzip.compress(TAR, 1, mtime=0), config_of(TAR)
    manifest = manifest_of(config, (blob, LAYER))
    layout = write_layout(person.home / "trap", described(manifest, MANIFEST), manifest, config, blob)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    blobs = {"manifest": manifest, "config": config, "layer": blob}
    person.write("c/iEchorfile", f"FROM oci:{layout}\nCOPY iEchorfile /\n")
    person.write("d/iEchorfile", "FROM scratch\nCOPY iEchorfile /\n")
    return layout / "blobs/sha256" / digest_of(blobs[part])[7:] if part in blobs else layout / part


@pytest.mark.parametrize("part", PARTS)
def test_a_layout_with_something_else_in_the_place_of_a_file(plain_user: Person, part: str) -> None:
    for kind, lay in TRAPS.items():
        shutil.rmtree(plain_user.home / "trap", ignore_errors=True)
        place = trap(plain_user, part)
        lay(place)
        for way, words in WAYS.items():
            done = plain_user.iechor(*words, code=None, timeout=60)
            if part == "oci-layout" or way == "cache":  # a layout without a version is of old; a cache may be no use
                continue
            assert done.returncode != 0 and "cannot" in done.stderr, (kind, way, done.stderr)


# ---- contexts --------------------------------------------------------------------------------------------------

def context_of(*members: tuple[str, bytes, str]) -> bytes:
    """(name, type, link target or content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, data = kind, text.encode() if kind == tarfile.REGTYPE else b""
            info.linkname = text if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


REG, SYM, LNK, DIR, FIFO, CHR = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE,
                                 tarfile.CHRTYPE)
COPIES = "FROM scratch\nCOPY . /\n"
FILES = {
    "a symlink to the host": [("iEchorfile", SYM, "{secret}")],
    "a symlink that climbs to the host": [("iEchorfile", SYM, "../../../../../../../../..{secret}")],
    "a symlink to itself": [("iEchorfile", SYM, "iEchorfile")],
    "a hard link to the host": [("iEchorfile", LNK, "{secret}")],
    "a folder": [("iEchorfile", DIR, "")],
    "a pipe": [("iEchorfile", FIFO, "")],
    "a device": [("iEchorfile", CHR, "")],
    "an ignore file of the host's": [("iEchorfile", REG, COPIES), (".iechorignore", SYM, "{secret}"), ("a", REG, "a")],
    "an ignore file that is a pipe": [("iEchorfile", REG, COPIES), (".iechorignore", FIFO, "")],
}


@pytest.mark.parametrize("case", FILES)
def test_a_context_whose_build_file_is_none(plain_user: Person, case: str) -> None:
    secret = plain_user.write("secret", f"RUN {SECRET}\n")
    data = context_of(*((name, kind, text.format(secret=secret)) for name, kind, text in FILES[case]))
    plain_user.write("context.tar", data)
    for words in (["sh", "-c", '"$@" - < context.tar', "sh", *plain_user.command("build", "-q")],
                  plain_user.command("build", "-q", "context.tar")):
        done = plain_user.run(*words, timeout=60)
        assert "Traceback" not in done.stderr and "this is a bug" not in done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert done.returncode != 0 or "ignore" in case, done.stderr


def test_a_pipe_in_a_context_does_not_hold_us(plain_user: Person) -> None:
    plain_user.write("c/iEchorfile", "FROM scratch\nCOPY a /\n")
    plain_user.write("c/a", "a")
    pipe(plain_user.home / "c/a")
    plain_user.iechor("build", "-q", "c", code=None, timeout=60)


def test_a_sparse_build_file_of_a_terabyte(plain_user: Person) -> None:
    plain_user.write("context.tar", pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
                                        (b"GNU.sparse.realsize", b"%d" % 10 ** 12)) +
                     header(b"iEchorfile", size=512) + padded(b"0\n") + END)
    done = plain_user.iechor("build", "-q", "context.tar", code=None, timeout=60)
    assert done.returncode != 0 and "a file of 1000000000000 bytes" in done.stderr, done.stderr


# ---- images ----------------------------------------------------------------------------------------------------

@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Iterator[Person]:
    plain_user.mirror(registry)
    yield plain_user


def with_busybox(*tars: bytes) -> list[bytes]:
    program = file(b"bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
    return [program + symlink(b"bin/sh", b"busybox") + symlink(b"bin/cat", b"busybox") + END, *tars]


MOUNTED = ("etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/shm", "run/secrets", "proc/self", "sys/fs", "tmp", "w",
           "c", "etc/passwd", "etc/group")


@pytest.mark.parametrize("climbs", [False, True], ids=["absolute", "climbs"])
def test_symlinks_in_all_places_where_something_is_mounted_or_read(user: Person, victim: Path, climbs: bool) -> None:
    """Each of them leads to a folder of the host's; in the image it leads to a folder of the image's, if anywhere."""
    target = (b"../" * 12 if climbs else b"") + bytes(victim).lstrip(b"/" if climbs else b"")
    links = [symlink(path.encode(), target + (b"/mine" if path.startswith("etc") else b"")) for path in MOUNTED
             if not path.startswith(("proc", "sys", "dev"))]
    for more in (b"", symlink(b"proc", target) + symlink(b"sys", target) + symlink(b"dev", target),
                 symlink(b"etc", target) + symlink(b"run", target) + symlink(b"bin2", target)):
        kept = [] if b"etc" in more and b"proc" not in more else links
        image = loaded(user, *with_busybox(b"".join(kept) + more + END))
        user.write("s", "hush")
        user.write("b/iEchorfile", f"""FROM {image}
WORKDIR /w/deeper
COPY iEchorfile /c/copied
RUN --mount=type=secret,id=s --mount=type=cache,target=/c/cache --mount=type=tmpfs,target=/tmp/t \\
    --mount=type=bind,target=/w/ctx echo theirs > /tmp/mine; echo theirs > /c/mine; echo theirs > /c/cache/mine; exit 0
USER mine
RUN exit 0
""")
        done = user.iechor("build", "--progress=plain", "--no-cache", "--secret=id=s,src=s", "b", code=None)
        assert untouched(victim), done.stderr
        done = user.iechor("run", "--rm", image, "sh", "-c", "echo theirs > /tmp/mine", code=None)
        assert untouched(victim), done.stderr


GARBAGE = {
    "an ACL of nothing": (b"system.posix_acl_access", b""), "an ACL of words": (b"system.posix_acl_access", b"rwx"),
    "an ACL that ends early": (b"system.posix_acl_access", b"\2\0\0\0\1\0\7"),
    "an ACL of thousands": (b"system.posix_acl_access", b"\2\0\0\0" + b"\2\0\7\0\1\0\0\0" * 1200),
    "a default ACL of words": (b"system.posix_acl_default", b"rwx"),
    "capabilities of no revision": (b"security.capability", b"\xff" * 20),
    "capabilities that end early": (b"security.capability", b"\1\0"),
    "capabilities without end": (b"security.capability", b"\1\0\0\2" + b"\xff" * 4000),
    "a name without a namespace": (b"x", b"y"), "a name of the longest": (b"user." + b"n" * 250, b"y"),
    "a value of the longest": (b"user.x", b"v" * 65536), "overlay's own": (b"user.overlay.redirect", b"/../../etc"),
    "overlay's root": (b"trusted.overlay.opaque", b"y"), "a name of bytes": (b"user.\xff\x1b[2J", b"y"),
}


def test_attributes_that_are_none(user: Person) -> None:
    """On a program and a folder each; a command starts, copies and changes them under the supervisor, and it lives."""
    tar = b""
    for number, (name, value) in enumerate(GARBAGE.values()):
        path = b"x/%d" % number
        tar += pax((b"SCHILY.xattr." + name, value))
        tar += folder(path) if b"default" in name else file(path, b"#!/bin/sh\n", mode=0o755)
    image = loaded(user, *with_busybox(tar + END))
    user.write("b/iEchorfile", f"""FROM {image}
RUN for f in /x/*; do /bin/busybox chmod 751 $f; /bin/busybox chown 5:6 $f; $f; /bin/busybox cp -a $f $f-copy; \\
    /bin/busybox touch $f; echo x >> $f; /bin/busybox mkdir -p $f/inner; /bin/busybox mv $f-copy $f-moved; done; \\
    /bin/busybox ls -ln /x; exit 0
RUN /bin/busybox stat -c '%n %u:%g %a' /x/0
""")
    done = user.iechor("build", "--progress=plain", "b", code=None)
    assert done.returncode == 0 and "/x/0 5:6 751" in done.stderr or done.returncode == UNSAFE, done.stderr
    assert "supervisor" not in done.stderr, done.stderr
