import bz2
import gzip
import hashlib
import io
import lzma
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from rootless_builder.errors import UnsafeArchive
from rootless_builder.layer.compress import compress, inflated, is_tar, sniff
from tests.tarbytes import END, file, header

DATA = b"".join(b"%d lines of text compress well\n" % number for number in range(150_000)) + os.urandom(1 << 20)
FEW = DATA[-(1 << 20) - 200_000:][:300_000]
PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress,
           "zstd": zstandard.ZstdCompressor().compress, "none": bytes}


@pytest.fixture
def source() -> Iterator[int]:
    fd = os.memfd_create("source")
    os.pwrite(fd, DATA, 0)
    yield fd
    os.close(fd)


def packed(fd: int, kind: str, **more: int) -> bytes:
    out = io.BytesIO()
    digest, size = compress(fd, out.write, kind, **more)  # type: ignore[arg-type]
    assert digest.hex == hashlib.sha256(out.getvalue()).hexdigest()
    assert size == len(out.getvalue())
    return out.getvalue()


def unpacked(data: bytes, kind: str | None = None) -> bytes:
    stream = inflated(io.BytesIO(data), kind)
    out = b""
    while more := stream.read(100_000):
        assert len(more) <= 100_000
        out += more
    return out


# Out

@pytest.mark.parametrize("kind", ["gzip", "zstd", "none"])
def test_the_number_of_threads_does_not_show(kind: str, source: int) -> None:
    one = packed(source, kind)
    assert one == packed(source, kind, jobs=2) == packed(source, kind, jobs=7)
    assert sniff(one) == kind
    assert unpacked(one) == DATA
    assert os.lseek(source, 0, os.SEEK_CUR) == 0


UNZSTD = ("import sys, zstandard; sys.stdout.buffer.write("
          "zstandard.ZstdDecompressor().stream_reader(sys.stdin.buffer, read_across_frames=True).read())")


@pytest.mark.parametrize(("kind", "command"), [("gzip", ["gzip", "-dc"]), ("zstd", [sys.executable, "-c", UNZSTD])])
def test_other_programs_inflate_it(kind: str, command: list[str], source: int) -> None:
    assert subprocess.run(command, input=packed(source, kind), capture_output=True, check=True).stdout == DATA


@pytest.mark.parametrize("kind", ["gzip", "zstd", "none"])
def test_nothing_compresses_to_a_valid_stream(kind: str) -> None:
    fd = os.memfd_create("empty")
    assert unpacked(packed(fd, kind), kind) == b""
    os.close(fd)


def test_a_gzip_stream_tells_nothing_of_where_it_was_made(source: int) -> None:
    """No time and no name, RFC 1952 §2.3.1."""
    head = packed(source, "gzip")[:10]
    assert head[3:8] == bytes(5)


def test_levels(source: int) -> None:
    assert len(packed(source, "gzip", level=9)) < len(packed(source, "gzip", level=1))
    assert packed(source, "zstd", level=12) != packed(source, "zstd", level=1)


@pytest.mark.parametrize("native", [True, False], ids=["libdeflate", "zlib"])
def test_what_gzip_cannot_make_smaller_is_stored(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native:
        monkeypatch.setitem(sys.modules, "deflate", None)
    noise, fd = os.urandom(1 << 20), os.memfd_create("noise")
    os.pwrite(fd, noise * 2 + DATA[:1 << 20] + noise[:100], 0)
    out = packed(fd, "gzip")
    assert noise[5000:20_000] in out and out.count(noise[5000:20_000]) == 2
    assert len(out) < (2 << 20) + (1 << 19)
    assert unpacked(out) == gzip.decompress(out) == noise * 2 + DATA[:1 << 20] + noise[:100]
    os.ftruncate(fd, 0)
    os.pwrite(fd, noise[:30_000] * 70, 0)  # noise by itself, but it repeats within deflate's window
    assert len(packed(fd, "gzip")) < 200_000
    os.close(fd)


@pytest.mark.parametrize("native", [True, False], ids=["isal", "zlib"])
def test_gzip_is_inflated_with_and_without_isal(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native:
        monkeypatch.setitem(sys.modules, "isal", None)
    good = gzip.compress(DATA[:300_000]) + gzip.compress(FEW)
    assert unpacked(good) == DATA[:300_000] + FEW
    for bad in (good[:-5], good[:-6] + b"X" + good[-5:], good[:20_000] + b"damage" + good[20_006:]):
        with pytest.raises(UnsafeArchive, match="cannot inflate the gzip stream"):
            unpacked(bad)


def test_an_unknown_kind(source: int) -> None:
    with pytest.raises(ValueError, match="'xz'"):
        compress(source, io.BytesIO().write, "xz")


def test_trouble_of_the_sink_ends_it(source: int) -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        compress(source, full, "gzip", jobs=3)


# In

@pytest.mark.parametrize("kind", PACKERS)
def test_every_kind_is_found_by_its_content(kind: str) -> None:
    data = PACKERS[kind](FEW)
    assert inflated(io.BytesIO(data)).kind == kind
    assert unpacked(data) == FEW


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_members_one_after_another(kind: str) -> None:
    """gzip of pigz and estargz, zstd:chunked, concatenated files; padding at the end."""
    pack = PACKERS[kind]
    assert unpacked(pack(b"one ") + pack(b"") + pack(b"two") + bytes(700)) == b"one two"


def test_skippable_frames() -> None:
    skip = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    pack = zstandard.ZstdCompressor().compress
    assert sniff(skip) == "zstd"
    assert unpacked(skip + pack(b"one") + skip + pack(b"two") + skip) == b"onetwo"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("cut", [1, 9, 5000])
def test_a_stream_that_is_cut_off(kind: str, cut: int) -> None:
    with pytest.raises(UnsafeArchive, match=f"cannot inflate the {kind} stream"):
        unpacked(PACKERS[kind](FEW)[:-cut])


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_a_damaged_stream(kind: str) -> None:
    pack = PACKERS[kind] if kind != "zstd" else zstandard.ZstdCompressor(write_checksum=True).compress
    good = pack(FEW)
    for data in (good[:3000] + b"damage" + good[3006:], good + b"junk at the end"):
        with pytest.raises(UnsafeArchive, match=f"cannot inflate the {kind} stream"):
            unpacked(data)


def test_what_is_not_of_the_kind_it_should_be() -> None:
    for kind in ("gzip", "bzip2", "xz", "zstd"):
        with pytest.raises(UnsafeArchive):
            unpacked(b"plain text, and no compression at all" * 20, kind)


def test_errors_of_the_stream_below_pass_through() -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise ConnectionResetError(104, "Connection reset by peer")

    for kind in (*PACKERS, None):
        with pytest.raises(ConnectionResetError):
            inflated(Broken(), kind).read(10)


@pytest.mark.lean
@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_gives_no_more_than_asked_for(kind: str) -> None:
    piece = PACKERS[kind](bytes(64 << 20))
    stream = inflated(io.BytesIO(piece * 200))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(stream.read_exactly(1000)) == 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_a_zstd_window_of_gigabytes_is_refused() -> None:
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(UnsafeArchive, match="zstd"):
        unpacked(frame)


# What is a tar

@pytest.mark.parametrize("kind", PACKERS)
def test_tars_are_known_by_their_first_header(kind: str) -> None:
    tar = file(b"f", FEW[:5000]) + END
    assert is_tar(PACKERS[kind](tar))
    assert not is_tar(PACKERS[kind](b"not a tar" * 1000))


def test_old_tars_have_no_magic() -> None:
    assert is_tar(header(magic=b""))


@pytest.mark.parametrize("data", [b"", b"short", bytes(1024), gzip.compress(b""), gzip.compress(b"x" * 5000)[:12],
                                  header(checksum=b"0000000\0"), header()[:511]],
                         ids=["empty", "short", "zeros", "empty gzip", "cut gzip", "checksum", "cut header"])
def test_other_files_are_none(data: bytes) -> None:
    assert not is_tar(data)


def test_this_file_is_none() -> None:
    assert not is_tar(Path(__file__).read_bytes())


CROWDED = """
import os, re, resource, sys
from rootless_builder.layer.compress import compress
fd = os.memfd_create("source")
os.write(fd, b"text" * 10_000)
compress(fd, len, "gzip")  # all is imported
spare = [bytearray(50_000) for _ in range(20)]  # room for what comes out, but none for the compressor
del spare
size = (int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) + 1100 << 10)  # what goes in fits
resource.setrlimit(resource.RLIMIT_AS, (size, size))
try:
    compress(fd, len, "gzip")
except MemoryError as error:
    print(error)
"""


@pytest.mark.lean
def test_no_memory_for_the_compressor_is_an_error_and_no_crash() -> None:
    done = subprocess.run([sys.executable, "-c", CROWDED], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no memory to compress a block\n"), done.stderr
