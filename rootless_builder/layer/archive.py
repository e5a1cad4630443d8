"""The tar format, read from a stream that may lie. What the entries mean for an image is reader.py's to say.

    archive = entry* end         end = two blocks of zeros, or the end of the stream between entries
    entry   = extension* header content padding
    extension: "x" records of pax · "g" global records, passed over as Go's archive/tar does · "L", "K" GNU long names

Understood: V7, ustar, pax (POSIX.1-2017), GNU, star's prefix; numbers in octal or base 256; sparse files of GNU, old
and pax 0.0, 0.1, 1.0. Where programs differ in what they see in an archive, this follows Go's archive/tar, since
that is what docker, containerd, podman, skopeo and umoci see.

Ordinary entries are read by the layer core, many in one call (native/tarread.h). Each that it leaves is read here, and
every refusal is this module's.
"""

from collections.abc import Iterator

from .. import layercore
from ..values import dataclass
from .compress import Readable, has_checksum
from .content import Extent
from .entry import OLD_SPARSE, REGULAR, Entry, Extensions, decimal, number, parse_header, refuse
from .header import BLOCK, padded
from .index import Rows

_EXTENSIONS = b"xgLK"
_VOLUME_LABEL = b"V"
_MAX_EXTENSION = 1 << 20  # bytes of all extensions of one entry, or of its sparse map; Go's limits too
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond these an archive is refused. entries: files and folders, implied ones too. size: bytes, both of the
    stream and of all files taken together (sparse ones in full)."""

    entries: int = 1 << 22
    size: int = 1 << 43


class TarReader:
    """Iterates over the entries of `stream`, which is read to its very end: one by one, or as rows of the core's.

    Errors: UnsafeArchive.
    """

    def __init__(self, stream: Readable, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._files = 0  # bytes of all files
        self._buffer = b""
        self._at = 0  # in the buffer
        self._passed = 0  # bytes of the stream that came before the buffer

    def __iter__(self) -> Iterator[Entry | Rows]:
        extensions = Extensions()
        while True:
            if not extensions.size:
                yield from self._rows()
            block = self._header(extensions)
            if block is None:
                break
            kind = block[156:157]
            if kind in _EXTENSIONS:
                self._extend(extensions, kind, number(block[124:136]))
            elif kind != _VOLUME_LABEL:
                entry = parse_header(block, extensions)
                self._place(entry, block, extensions)
                yield entry
                self._skip(padded(entry.stored), spare=padded(entry.stored) - entry.stored)
                extensions = Extensions()
        self._drain()

    def _rows(self) -> Iterator[Rows]:
        """What the core takes of the buffer."""
        if self._at == len(self._buffer):
            self._passed += self._at
            self._buffer, self._at = self._stream.read(_CHUNK), 0
        *rows, self._files, end, spare = layercore.read_headers(self._buffer, self._at, self._passed, self._limits.size,
                                                                self._files)
        if end > self._at:
            yield Rows(*rows)
            self._skip(end - self._at, spare=spare)

    def _header(self, extensions: Extensions) -> bytes | None:
        block = self._take(BLOCK, at_end=True)
        if block and any(block):
            if not has_checksum(block):
                raise refuse(f"no header at byte {self._position() - BLOCK}")
            return block
        if extensions.size:
            raise refuse("its last header describes nothing")
        if block and any(self._take(BLOCK, at_end=True)):
            raise refuse(f"a lone block of zeros before byte {self._position() - BLOCK}")
        return None

    def _extend(self, extensions: Extensions, kind: bytes, size: int) -> None:
        extensions.size += BLOCK + size
        if size < 0 or extensions.size > _MAX_EXTENSION:
            raise refuse(f"a header of {size} bytes")
        extensions.take(kind, self._take(size))
        self._skip(padded(size) - size)

    def _place(self, entry: Entry, block: bytes, extensions: Extensions) -> None:
        """Where its content is. Reads a sparse file's map."""
        parts: list[int] | None = None
        start, stored, version = self._position(), entry.size, extensions.sparse_version()
        if entry.kind == OLD_SPARSE:
            entry.kind = REGULAR
            parts, entry.size = self._old_sparse_map(block), number(block[483:495])
            start = self._position()
        elif entry.kind == REGULAR and version:
            parts = extensions.sparse_map() if version == 1 else self._sparse_map(stored)
            entry.size = extensions.sparse_size()
            stored -= self._position() - start
            start = self._position()
        entry.offset, entry.stored = start, stored
        if entry.size < 0:
            raise refuse(f"{entry.name!r} has the size {entry.size}")
        if parts is not None:
            entry.extents = _extents(entry, parts)
        self._files += entry.size
        if self._files > self._limits.size or start + stored > self._limits.size:
            raise refuse(f"with {entry.name!r} it is larger than {self._limits.size} bytes")

    def _old_sparse_map(self, block: bytes) -> list[int]:
        """Four parts in the header, then 21 in each block that follows it, of 12 bytes for each number."""
        table, more = block[386:482], block[482]
        while more:
            extension = self._take(BLOCK)
            table, more = table + extension[:504], extension[504]
            if len(table) > _MAX_EXTENSION:
                raise refuse("a sparse map without end")
        parts = []
        for at in range(0, len(table), 24):
            if not table[at]:
                break
            parts += [number(table[at:at + 12]), number(table[at + 12:at + 24])]
        return parts

    def _sparse_map(self, stored: int) -> list[int]:
        """Format 1.0: how many parts, then their numbers, in decimal, one a line, in whole blocks before the data."""
        data, wanted = b"", 1
        while data.count(b"\n") < wanted:
            if len(data) + BLOCK > min(stored, _MAX_EXTENSION):
                raise refuse("a sparse map without end")
            data += self._take(BLOCK)
            if wanted == 1 and b"\n" in data:
                wanted += 2 * decimal(data.partition(b"\n")[0])
        return [decimal(line) for line in data.split(b"\n", wanted)[1:wanted]]

    # The stream

    def _position(self) -> int:
        return self._passed + self._at

    def _take(self, size: int, *, at_end: bool = False) -> bytes:
        """Exactly `size` bytes; none at all only at the end of the stream, where that is allowed."""
        data = self._buffer[self._at:self._at + size]
        if len(data) == size:
            self._at += size
            return data
        self._passed += self._at
        self._at = 0
        parts, have = [data], len(data)
        while have < size:
            more = self._stream.read(_CHUNK)
            if not more:
                if at_end and not have:
                    return b""
                raise refuse("it is cut off")
            parts.append(more)
            have += len(more)
        self._buffer, self._at = b"".join(parts), size
        return self._buffer[:size]

    def _skip(self, size: int, *, spare: int = 0) -> None:
        """spare: how many of the bytes may be missing at the end of the stream (umoci does not pad its last file)."""
        left = size - (len(self._buffer) - self._at)
        if left <= 0:
            self._at += size
            return
        self._passed += len(self._buffer)
        self._buffer, self._at = b"", 0
        while left:
            more = len(self._stream.read(min(left, _CHUNK)))
            if not more and left <= spare:
                return
            if not more:
                raise refuse("it is cut off")
            self._passed += more
            left -= more

    def _drain(self) -> None:
        """What follows the end of an archive is no part of it, but is part of a layer's digest."""
        position, more = self._passed + len(self._buffer), b"-"
        while more:
            if position > self._limits.size:
                raise refuse(f"it is larger than {self._limits.size} bytes")
            more = self._stream.read(_CHUNK)
            position += len(more)


def _extents(entry: Entry, parts: list[int]) -> tuple[Extent, ...]:
    """The parts of a sparse file, checked: ascending, within the file, and as much as is stored."""
    extents: list[Extent] = []
    end, offset = 0, entry.offset
    for start, length in zip(parts[::2], parts[1::2], strict=False):
        if start < end or length < 0 or start + length > entry.size:
            raise refuse(f"the sparse map of {entry.name!r} contradicts itself")
        end = start + length
        if length:
            extents.append((offset, start, length))
        offset += length
    if len(parts) % 2 or offset - entry.offset != entry.stored:
        raise refuse(f"the sparse map of {entry.name!r} contradicts its size")
    return tuple(extents)
