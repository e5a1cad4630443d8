"""Compression of layers, out and in.

    compress    uncompressed tar ──▶ gzip or zstd, the same bytes for any number of threads; digest in the same pass
    inflated    any compressed stream ──▶ a stream that never yields more than asked for, so that a bomb is bounded

Out: the tar is cut in fixed blocks, each compressed by itself: a member of gzip (RFC 1952 §2.2) or a frame of zstd
(RFC 8878 §3.1), and a stream is any number of those. gzip is made by libdeflate where its wheel `deflate` is
installed, else by zlib: three times slower, and other bytes, so a push from there has other digests. A block that
gzip could not make smaller, by two samples of it, is stored as it is. docs/decisions/0041 has the numbers.
"""

import errno
import hashlib
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from mmap import mmap
from typing import Any, Protocol

from ..errors import UnsafeArchive
from ..oci.digest import Digest
from ..threads import Crew, Job
from .header import BLOCK, byte_sum

NONE, GZIP, BZIP2, XZ, ZSTD = "none", "gzip", "bzip2", "xz", "zstd"
DEFAULT_LEVELS = {NONE: 0, GZIP: 2, ZSTD: 3}

_MAGICS = ((b"\x1f\x8b\x08", GZIP), (b"BZh", BZIP2), (b"\xfd7zXZ\x00", XZ), (b"\x28\xb5\x2f\xfd", ZSTD))
_CUT = {GZIP: 1 << 20, ZSTD: 4 << 20}  # bytes of input in one block: part of the format, never to be tuned
_SAMPLE = 40 << 10  # bytes; more than deflate's window, so that repetitions show. Part of the format too
_ZSTD_MAX_WINDOW = 1 << 27
_ZSTD_SLICE = 1 << 10
_XZ_MEMORY = 1 << 28  # bytes: enough for xz -9 with room to spare
_READ = 1 << 16
_ROOM = 4 << 20  # bytes of address space: twice what libdeflate takes for a block at any level, output included


Buffer = bytes | bytearray | memoryview


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


# Out ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

def compress(src_fd: int, sink: Callable[[Buffer], object], kind: str, *, level: int | None = None,
             jobs: int = 1) -> tuple[Digest, int]:
    """Compress all of `src_fd` (from its start, its position unmoved) into `sink`.

    kind: "gzip", "zstd" or "none". level: 0–9 for gzip (default 2), 1–19 for zstd (default 3). jobs: threads; they
    do not change a byte. → digest and number of the bytes given to `sink`. Errors: ValueError, and OSError of
    `src_fd` or `sink`.
    """
    if kind not in DEFAULT_LEVELS:
        raise ValueError(f"layers cannot be compressed with {kind!r}")
    chosen = DEFAULT_LEVELS[kind] if level is None else level
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(src_fd, kind, chosen, jobs):
        digest.update(piece)
        size += len(piece)
        sink(piece)
    return Digest.of_raw(digest.digest()), size


def _pieces(src_fd: int, kind: str, level: int, jobs: int) -> Iterator[Buffer]:
    blocks = _Blocks(src_fd, _CUT.get(kind, 1 << 20))
    if kind == NONE:
        yield from map(blocks.read, blocks.offsets())
        return
    pack = _gzip_packer(level) if kind == GZIP else _zstd_packer(level)
    if not blocks.length:
        yield pack(b"")
        return

    def packed(offset: int) -> Buffer:
        block = blocks.read(offset)
        try:
            return pack(block)
        finally:
            blocks.give_back(block)

    yield from _in_order(packed, blocks.offsets(), jobs)


class _Blocks:
    """A file in pieces of `size` bytes, for several threads. A new buffer for each would cost as much as reading."""

    def __init__(self, fd: int, size: int) -> None:
        self.length = os.fstat(fd).st_size
        self._fd = fd
        self._size = size
        self._free: list[bytearray] = []

    def offsets(self) -> range:
        return range(0, self.length, self._size)

    def read(self, offset: int) -> memoryview:
        """Errors: OSError; EIO where the file has become shorter."""
        buffer = self._free.pop() if self._free else bytearray(self._size)
        block = memoryview(buffer)[:min(self._size, self.length - offset)]
        done = 0
        while done < len(block):
            got = os.preadv(self._fd, [block[done:]], offset + done)
            if not got:
                raise OSError(errno.EIO, "the file became shorter while it was read")
            done += got
        return block

    def give_back(self, block: memoryview) -> None:
        """Nobody looks at it any more."""
        buffer = block.obj
        block.release()
        self._free.append(buffer)  # type: ignore[arg-type]


def _in_order(pack: Callable[[int], Buffer], offsets: range, jobs: int) -> Iterator[Buffer]:
    """pack(offset) for each, in order; `jobs` of them are being packed while the caller writes."""
    if jobs <= 1:
        yield from map(pack, offsets)
        return
    waiting: deque[Job[Buffer]] = deque()
    with Crew(jobs) as crew:
        for offset in offsets:
            waiting.append(crew.submit(partial(pack, offset)))
            if len(waiting) > 2 * jobs:
                yield crew.result(waiting.popleft())
        while waiting:
            yield crew.result(waiting.popleft())


def _gzip_packer(level: int) -> Callable[[Buffer], Buffer]:
    try:
        import deflate
    except ImportError:
        return partial(_gzip_member, lambda block, level: zlib.compress(block, level, wbits=31), level)
    return partial(_gzip_member, partial(_with_room, deflate.gzip_compress), level)


def _with_room(pack: Callable[[Buffer, int], Buffer], block: Buffer, level: int) -> Buffer:
    """`pack`, which does not look whether it got the memory for its compressor (deflate 0.9) and dies where it did not.
    Errors: MemoryError."""
    try:
        mmap(-1, _ROOM).close()
    except OSError as error:
        raise MemoryError("no memory to compress a block") from error
    return pack(block, level)


def _gzip_member(pack: Callable[[Buffer, int], Buffer], level: int, block: Buffer) -> Buffer:
    """Levels 7 to 9 take the time to try each block whole."""
    if len(block) >= 8 * _SAMPLE and level < 7 and all(
            len(pack(block[at:at + _SAMPLE], 1)) > _SAMPLE * 0.98 for at in (len(block) // 4, len(block) // 4 * 3)):
        level = 0
    return pack(block, level)


def _zstd_packer(level: int) -> Callable[[Buffer], Buffer]:
    import zstandard

    # A compressor is not for two threads at once, and costs little beside 4 MiB of work.
    return lambda block: zstandard.ZstdCompressor(level, write_checksum=True).compress(block)


# In ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

def sniff(head: bytes) -> str:
    """The kind of compression, from the first bytes of a file (6 are enough); "none" for anything unknown."""
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    if head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:  # a skippable frame, RFC 8878 §3.1.2
        return ZSTD
    return NONE


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with `head` is a tar, compressed or not, as ADD has to know.

    moby's rule: what it inflates to begins with a block whose checksum is right, and that is not all zeros.
    head: as much as is needed to inflate 512 bytes; a bzip2 block may be 1 MiB.
    """
    try:
        block = inflated(_Bytes(head)).read_exactly(BLOCK)
    except UnsafeArchive:
        return False
    return len(block) == BLOCK and any(block) and has_checksum(block)


def has_checksum(block: bytes) -> bool:
    """Whether the checksum of a tar header is that of its bytes, unsigned or, as some old tars had it, signed."""
    digits = block[148:156].strip(b" \0").partition(b"\0")[0]
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        return False
    told = int(digits, 8)
    found = byte_sum(block[:148] + b"        " + block[156:])
    return told == found or told == found - 256 * sum(byte > 127 for byte in block[:148] + block[156:])


def inflated(stream: Readable, kind: str | None = None) -> "Inflated":
    """`stream` without its compression. kind: as `sniff` names it; None to look at the first bytes.

    Errors: ValueError for an unknown kind; see `Inflated.read`.
    """
    head = b""
    if kind is None:
        while len(head) < 6 and (more := stream.read(_READ)):
            head += more
        kind = sniff(head)
    source = _Ahead(head, stream)
    if kind == NONE:
        return Inflated(kind, source.read, ())
    if kind == ZSTD:
        import zstandard

        return Inflated(kind, _Members(source, _Zstd).read, (zstandard.ZstdError, EOFError))
    if kind == GZIP:
        inflate, damage = _gzip_inflater()
        return Inflated(kind, _Members(source, lambda: _Zlib(inflate(31))).read, (*damage, EOFError))
    if kind == BZIP2:
        import bz2

        return Inflated(kind, _Members(source, bz2.BZ2Decompressor).read, (OSError, EOFError))
    if kind == XZ:
        import lzma

        members = _Members(source, lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY))
        return Inflated(kind, members.read, (lzma.LZMAError, EOFError))
    raise ValueError(f"unknown compression {kind!r}")


def _gzip_inflater() -> tuple[Callable[[int], "zlib._Decompress"], tuple[type[Exception], ...]]:
    """What makes a decompressor for these window bits, and what it raises. ISA-L's is twice as fast as zlib's; the
    bytes of an inflated stream are what RFC 1951 says, whoever inflates it."""
    try:
        from isal import igzip_lib, isal_zlib
    except ImportError:
        return zlib.decompressobj, (zlib.error,)
    damage: Any = igzip_lib.IsalError
    make: Any = isal_zlib.decompressobj
    return make, (damage, zlib.error)


class Inflated:
    """A readable stream of inflated bytes.

    Errors of `read`: UnsafeArchive for damaged or cut off data, and whatever the stream below raises.
    """

    def __init__(self, kind: str, read: Callable[[int], bytes], damage: tuple[type[Exception], ...]) -> None:
        self.kind = kind
        self._read = read
        self._damage = damage

    def read(self, size: int, /) -> bytes:
        """At least one byte and at most `size`; none at the end only."""
        try:
            return self._read(size)
        except self._damage as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # bz2 says OSError for damage, without a number; this one is of the stream below
            raise UnsafeArchive(f"cannot inflate the {self.kind} stream: {error}") from error

    def read_exactly(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        data = self.read(size)
        while len(data) < size and (more := self.read(size - len(data))):
            data += more
        return data


class _Ahead:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int = _READ, /) -> bytes:
        if not self._head:
            return self._stream.read(size)
        data, self._head = self._head[:size], self._head[size:]
        return data


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data


class _Decoder(Protocol):
    """What bz2 and lzma call a decompressor."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zlib:
    """zlib's object with the manners of those two."""

    def __init__(self, decoder: "zlib._Decompress") -> None:
        self._decoder = decoder

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


class _Members:
    """Members of gzip, frames of zstd, streams of bzip2 or xz, one after another; zeros after the last are padding."""

    def __init__(self, source: _Ahead, new: Callable[[], _Decoder]) -> None:
        self._source = source
        self._new = new
        self._decoder: _Decoder | None = new()
        self._input = b""

    def read(self, size: int) -> bytes:
        while self._decoder is not None:
            if self._decoder.eof:
                self._next_member()
                continue
            if self._decoder.needs_input and not self._input:
                self._input = self._source.read(_READ)
                if not self._input:
                    raise EOFError("it is cut off")
            data, self._input = self._input, b""
            if out := self._decoder.decompress(data, size):
                return out
        return b""

    def _next_member(self) -> None:
        assert self._decoder is not None
        rest = self._decoder.unused_data.lstrip(b"\0")
        while not rest:
            more = self._source.read(_READ)
            if not more:
                self._decoder = None
                return
            rest = more.lstrip(b"\0")
        self._input, self._decoder = rest, self._new()


class _Zstd:
    """zstandard's object with those manners. It knows no limit for its output, so its input comes in small slices:
    4 bytes inflate to 128 KiB at most (RFC 8878 §3.1.1.2), a slice to 32 MiB."""

    def __init__(self) -> None:
        import zstandard

        self._decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj()
        self._input = self._output = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._decoder.eof and not self._output

    @property
    def needs_input(self) -> bool:
        return not self._input and not self._output

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data + bytes(self._input)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._input = memoryview(bytes(self._input) + data)
        while not self._output and self._input and not self._decoder.eof:
            data, self._input = bytes(self._input[:_ZSTD_SLICE]), self._input[_ZSTD_SLICE:]
            self._output = memoryview(self._decoder.decompress(data))
        out, self._output = bytes(self._output[:max_length]), self._output[max_length:]
        return out
