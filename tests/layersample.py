"""A layer with one of everything, for golden digests and for other programs to read."""

import os
import stat
from pathlib import Path

from rootless_builder.paths import ImagePath, decode
from rootless_builder.tree.changes import Change, ChangeSet, Opaque, Put, Remove
from rootless_builder.tree.node import Device, Directory, File, HostFile, Inline, Meta, Node, Symlink

DAY = 86400 * 1_000_000_000
LONG = "/".join(["component-" + "x" * 80] * 3)
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_bind_service=ep of a v2 xattr


def put(path: str | bytes, node: Node) -> Put:
    return Put(ImagePath(decode(path) if isinstance(path, bytes) else path), node)


def meta(mode: int, uid: int = 0, gid: int = 0, mtime: int = 19000 * DAY, **xattrs: bytes) -> Meta:
    named = sorted((name.replace("_", ".", 1), value) for name, value in xattrs.items())
    return Meta(mode, uid, gid, mtime, tuple(named))


def text(data: bytes, **more: object) -> File:
    return File(meta(0o644, **more), Inline(data), len(data))  # type: ignore[arg-type]


def plain_changes(root: int, folder: Path) -> list[Change]:
    """What any program can unpack anywhere: files, folders, links. root: a descriptor of `folder`, filled here."""
    (folder / "host.txt").write_bytes(b"from the host\n" * 100)
    host = File(meta(0o755, mtime=19001 * DAY + 123_456_789), HostFile(root, b"host.txt"), 1400)
    return [
        put("", Directory(meta(0o755))),
        put("etc", Directory(meta(0o755))),
        put("etc/motd", text(b"hello\n")),
        put("etc/empty", text(b"")),
        put("etc/block", text(b"x" * 512)),
        put("etc/block1", text(b"x" * 513)),
        put("usr", Directory(meta(0o755))),
        put("usr/tool", host),
        put("usr/tool-again", host),
        put("usr/link", Symlink(meta(0o777), "../etc/motd")),
        put("usr/dangling", Symlink(meta(0o777), "/no/such/" + "place" * 30)),
        put("usr/sticky", Directory(meta(0o1777))),
        put("usr/suid", text(b"#!\n").with_meta(meta(0o4755))),
        put("grüße-Ελλάδα", text("ä".encode())),
        put(b"latin-\xe4\xff", text(b"not UTF-8 in its name")),
        put(LONG, text(b"far down")),
        put(LONG + "-" + "é" * 60, text(b"farther down")),
        put("old", text(b"from before the epoch", mtime=-DAY - 250_000_000)),
    ]


def full_changes(root: int, folder: Path) -> ChangeSet:
    """Those, and what only root or only an image can have."""
    with open(folder / "sparse", "wb") as file:
        file.truncate(5 << 20)
        file.seek(2 << 20)
        file.write(b"in the middle")
    sparse = File(meta(0o600), HostFile(root, b"sparse"), 5 << 20)
    with open(folder / "holes", "wb") as file:
        file.truncate(2 << 20)
    return ChangeSet.of([
        *plain_changes(root, folder),
        put("dev", Directory(meta(0o755))),
        put("dev/null", Device(meta(0o666), stat.S_IFCHR, 1, 3)),
        put("dev/loop9", Device(meta(0o660, gid=6), stat.S_IFBLK, 7, 9)),
        put("dev/big", Device(meta(0o600), stat.S_IFCHR, 4095, 1048575)),
        put("dev/pipe", Device(meta(0o640), stat.S_IFIFO)),
        put("owners", Directory(meta(0o2775, 1000, 1000))),
        put("owners/cluster", text(b"many ids", uid=445605, gid=4204350)),
        put("owners/nobody", text(b"as many as there are", uid=4294967294, gid=65534)),
        put("caps", text(b"ELF", security_capability=CAPABILITY)),
        put("attrs", Directory(meta(0o755, user_note="naïve\n=\0".encode(), user_empty=b""))),
        put("sparse", sparse),
        put("holes", File(meta(0o600), HostFile(root, b"holes"), 2 << 20)),
        Remove(ImagePath("usr/gone")),
        Remove(ImagePath("var/log/gone")),
        Remove(ImagePath("etc/motd")),
        Remove(ImagePath("owners")),
        Opaque(ImagePath("usr/sticky")),
        Opaque(ImagePath("srv")),
    ])


def read_back(node: File) -> bytes:
    """The bytes of a file, wherever they are."""
    fd, offset = node.content.open()
    try:
        data = b""
        while len(data) < node.size and (more := os.pread(fd, node.size - len(data), offset + len(data))):
            data += more
        return data
    finally:
        os.close(fd)
