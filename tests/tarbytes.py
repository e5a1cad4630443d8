"""Tars byte by byte, for tests of the reader: every field can lie. No code of the package is used."""


FIELDS = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12),
          "major": (329, 8), "minor": (337, 8)}
END = bytes(1024)


def header(name: bytes = b"f", kind: bytes = b"0", *, link: bytes = b"", magic: bytes = b"ustar\x0000",
           prefix: bytes = b"", raw: dict[int, bytes] | None = None, checksum: bytes | None = None,
           **numbers: int | bytes) -> bytes:
    """One block. numbers: those of FIELDS, bytes being taken as they are. raw: offset → bytes."""
    block = bytearray(512)
    block[0:len(name)] = name[:100]
    for field, (offset, width) in FIELDS.items():
        value = numbers.get(field, 0o644 if field == "mode" else 0)
        data = value if isinstance(value, bytes) else b"%0*o\0" % (width - 1, value)
        block[offset:offset + width] = data.ljust(width, b"\0")[:width]
    block[156:157] = kind
    block[157:157 + len(link)] = link[:100]
    block[257:257 + len(magic)] = magic
    block[345:345 + len(prefix)] = prefix[:155]
    for offset, data in (raw or {}).items():
        block[offset:offset + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = checksum if checksum is not None else b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: bytes = b"f", data: bytes = b"", **more: object) -> bytes:
    return header(name, size=len(data), **more) + padded(data)  # type: ignore[arg-type]


def folder(name: bytes, **more: object) -> bytes:
    return header(name, b"5", mode=0o755, **more)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target)


def hard_link(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    data = b"".join(record(key, value) for key, value in records)
    return header(b"PaxHeaders/x", kind, size=len(data)) + padded(data)


def raw_pax(data: bytes) -> bytes:
    return header(b"PaxHeaders/x", b"x", size=len(data)) + padded(data)


def gnu_long(name: bytes, kind: bytes = b"L") -> bytes:
    return header(b"././@LongLink", kind, magic=b"ustar  \0", size=len(name) + 1) + padded(name + b"\0")


def base256(value: int, width: int) -> bytes:
    return bytes([0x80 if value >= 0 else 0xff]) + value.to_bytes(width - 1, "big", signed=value < 0)
