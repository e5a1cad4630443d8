"""Node → the bytes that stand before its content in a tar: one ustar block, and a PAX header only where needed.

    [PAX header: block typed "x", records, padding]   [ustar block]
     only for what the ustar block cannot hold         always

No sparse formats: the bytes of a hole are written out. Go's archive/tar reads GNU's formats, but tar-split does not
give them back, so docker and podman could not push such a layer again; the sink leaves holes in its file instead.

The same node gives the same bytes everywhere: no user or group names, no access or change times, records in
byte order. POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; names as raw bytes.
"""

import stat
from zlib import adler32

from ..errors import UnsupportedError
from ..paths import ImagePath, encode
from ..tree.node import Device, Directory, File, Node, Symlink

BLOCK = 512
SECOND = 1_000_000_000

REGULAR, HARD_LINK, SYMLINK, DIRECTORY = b"0", b"1", b"2", b"5"
_DEVICE_TYPES = {stat.S_IFCHR: b"3", stat.S_IFBLK: b"4", stat.S_IFIFO: b"6"}

_MAX_OCTAL_7 = 0o7777777
_MAX_OCTAL_11 = 0o77777777777
_NUMBERS = b"%07o\0%07o\0%07o\0%011o\0%011o\0"
_AFTER_LINK = b"ustar\x0000" + bytes(64)
_NO_DEVICE = b"0000000\x000000000\x00"
_PAX_NAME = b"././@PaxHeader"
_XATTR = b"SCHILY.xattr."


def byte_sum(block: bytes) -> int:
    """The sum of a block's 512 bytes. Two halves, since Adler-32 counts modulo 65521 and 256 × 255 is below that."""
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def padded(size: int) -> int:
    """`size` bytes in whole blocks."""
    return (size + BLOCK - 1) // BLOCK * BLOCK


def node_header(path: ImagePath, node: Node, *, link: ImagePath | None = None) -> bytes:
    """Everything that stands before the content of `node`. link: the earlier path that this hard link repeats.

    Errors: UnsupportedError for an extended attribute that no tar can name.
    """
    name, size, target, device = encode(path), 0, b"", _NO_DEVICE
    if link is not None:
        kind, target = HARD_LINK, encode(link)
    elif isinstance(node, File):
        kind, size = REGULAR, node.size
    elif isinstance(node, Directory):
        kind, name = DIRECTORY, name + b"/" if name else b"./"
    elif isinstance(node, Symlink):
        kind, target = SYMLINK, encode(node.target)
    else:
        kind, device = _DEVICE_TYPES[node.kind], _device(node)
    meta = node.meta
    records = _xattr_records(path, node) if meta.xattrs and link is None else {}
    return _assemble(name, (meta.mode, meta.uid, meta.gid, size, meta.mtime), kind, target, device, records)


def whiteout_header(path: ImagePath) -> bytes:
    """An empty file of nobody in particular; what counts is its name."""
    return _assemble(encode(path), (0, 0, 0, 0, 0), REGULAR, b"", _NO_DEVICE, {})


def _assemble(name: bytes, numbers: tuple[int, int, int, int, int], kind: bytes, target: bytes, device: bytes,
              records: dict[bytes, bytes]) -> bytes:
    mode, uid, gid, size, mtime = numbers
    seconds, fraction = divmod(mtime, SECOND)
    prefix = b""
    if len(name) > 100:
        prefix, name = _split(name, records)
    if len(target) > 100:
        records[b"linkpath"], target = target, target[:100]
    if fraction or not 0 <= seconds <= _MAX_OCTAL_11:
        records[b"mtime"], seconds = _decimal(mtime), max(0, min(seconds, _MAX_OCTAL_11))
    if uid > _MAX_OCTAL_7:
        records[b"uid"], uid = b"%d" % uid, 0
    if gid > _MAX_OCTAL_7:
        records[b"gid"], gid = b"%d" % gid, 0
    if size > _MAX_OCTAL_11:
        records[b"size"], size = b"%d" % size, 0
    block = _block(name, (mode, uid, gid, size, seconds), kind, target, device, prefix)
    return _pax(records) + block if records else block


def _block(name: bytes, numbers: tuple[int, int, int, int, int], kind: bytes, target: bytes, device: bytes,
           prefix: bytes) -> bytes:
    head = name.ljust(100, b"\0") + _NUMBERS % numbers
    tail = kind + target.ljust(100, b"\0") + _AFTER_LINK + device + prefix.ljust(167, b"\0")
    return head + b"%06o\0 " % byte_sum(head + b"        " + tail) + tail


def _pax(records: dict[bytes, bytes]) -> bytes:
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    block = _block(_PAX_NAME, (0o644, 0, 0, len(data), 0), b"x", b"", _NO_DEVICE, b"")
    return block + data.ljust(padded(len(data)), b"\0")


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(b"%d" % len(rest))
    length = len(rest) + len(b"%d" % length)  # its own digits count, and may have grown by one
    return b"%d" % length + rest


def _split(name: bytes, records: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """(prefix, name) of a path too long for the name field; what does not fit goes to the records."""
    cut = name.rfind(b"/", 0, min(156, len(name) - 1))
    if cut > 0 and len(name) - cut - 1 <= 100:
        return name[:cut], name[cut + 1:]
    records[b"path"] = name
    return b"", name[:100]


def _decimal(mtime: int) -> bytes:
    seconds, fraction = divmod(abs(mtime), SECOND)
    text = f"{'-' if mtime < 0 else ''}{seconds}"
    return (f"{text}.{fraction:09}".rstrip("0") if fraction else text).encode()


def _device(node: Device) -> bytes:
    return b"%07o\0%07o\0" % (node.major, node.minor)


def _xattr_records(path: ImagePath, node: Node) -> dict[bytes, bytes]:
    records = {}
    for name, value in node.meta.xattrs:
        if "=" in name:
            raise UnsupportedError(f"cannot put /{path} in a layer: no tar can hold the extended attribute {name!r}",
                                   hint="remove that attribute with setfattr -x")
        records[_XATTR + encode(name)] = value
    return records
