"""TarSink, hash_files and SHA-256, in C and in Python: same bytes, same errors."""

import errno
import hashlib
import os
import re
import signal
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

from rootless_builder import _layercore, _layercore_py, layercore

HEADER = b"H" * 512


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def result(core: ModuleType, fill) -> tuple[bytes, bytes, int]:  # type: ignore[no-untyped-def]
    """What `fill(sink)` wrote, its digest and its length."""
    fd = os.memfd_create("out")
    sink = core.TarSink(fd)
    fill(sink)
    digest, length = sink.finish()
    data = os.pread(fd, 1 << 26, 0)
    os.close(fd)
    return data, digest, length


def test_the_surface_is_the_same() -> None:
    stub = (Path(layercore.__file__).parent / "_layercore.pyi").read_text()
    names = set(re.findall(r"^(?:def |class )?([A-Za-z_]\w*)", stub, re.MULTILINE))
    for name in names & set(layercore.__all__):
        assert hasattr(_layercore, name)
        assert hasattr(_layercore_py, name)
    for cls in ("TarSink", "Snapshot"):
        public = [{name for name in dir(getattr(module, cls)) if not name.startswith("_")}
                  for module in (_layercore, _layercore_py)]
        assert public[0] == public[1]
    assert (_layercore.ADDED, _layercore.CHANGED, _layercore.REMOVED) == (1, 2, 3)
    assert (_layercore_py.ADDED, _layercore_py.CHANGED, _layercore_py.REMOVED) == (1, 2, 3)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 262_143, 262_144, 262_145, 3_000_000])
def test_every_way_to_add_gives_the_same_bytes(core: ModuleType, root: int, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "root" / "f").write_bytes(data)
    (tmp_path / "shifted").write_bytes(b"12345" + data)
    fd = os.open(tmp_path / "shifted", os.O_RDONLY)
    wanted = HEADER + padded(data) + bytes(1024)
    for fill in (lambda sink: sink.add(HEADER, root, b"f", size),
                 lambda sink: sink.add_many(root, [(HEADER, b"f", size)]),
                 lambda sink: sink.add_range(HEADER, fd, 5, size),
                 lambda sink: sink.add_bytes(HEADER, data),
                 lambda sink: sink.add_bytes(memoryview(HEADER), bytearray(data))):
        assert result(core, fill) == (wanted, hashlib.sha256(wanted).digest(), len(wanted))
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    os.close(fd)


def test_a_long_mixed_archive(core: ModuleType, root: int, tmp_path: Path) -> None:
    wanted = b""
    entries: list[tuple[bytes, bytes | None, int]] = []
    for number in range(300):
        data = os.urandom(number * 37 % 5000)
        (tmp_path / "root" / str(number)).write_bytes(data)
        header = b"%0512d" % number
        entries.append((header, b"%d" % number, len(data)) if number % 3 else (header, None, 0))
        wanted += header + (padded(data) if number % 3 else b"")
    data, digest, length = result(core, lambda sink: (sink.add_many(root, entries), sink.add_bytes(b"", b""),
                                                      sink.add_many(-1, []), sink.add_bytes(HEADER)))
    assert data == wanted + HEADER + bytes(1024)
    assert digest == hashlib.sha256(data).digest()
    assert length == len(data)


def test_hash_only(core: ModuleType) -> None:
    sink = core.TarSink(-1)
    sink.add_bytes(HEADER, b"x" * 100_000)
    wanted = HEADER + padded(b"x" * 100_000) + bytes(1024)
    assert sink.finish() == (hashlib.sha256(wanted).digest(), len(wanted))


# Files that are not what they should be

def told(call) -> tuple[object, ...]:  # type: ignore[no-untyped-def]
    with pytest.raises((OSError, ValueError)) as caught:
        call()
    error = caught.value
    return type(error), *(getattr(error, name, None) for name in ("errno", "strerror", "filename"))


@pytest.fixture
def odd_files(root: int, tmp_path: Path) -> int:
    top = tmp_path / "root"
    (top / "d" / "e").mkdir(parents=True)
    (top / "d" / "f").write_bytes(b"1234")
    (top / "link").symlink_to("d/f")
    (top / "dlink").symlink_to("d")
    (top / "out").symlink_to("/etc")
    os.mkfifo(top / "fifo")
    return root


TROUBLE = {
    b"none": errno.ENOENT, b"none/f": errno.ENOENT, b"d/none": errno.ENOENT, b"": errno.ENOENT,
    b"link": errno.ELOOP, b"dlink/f": errno.ELOOP, b"out/passwd": errno.ELOOP, b"d/../d/f": errno.EXDEV,
    b"..": errno.EXDEV, b"d/..": errno.EXDEV, b"../x": errno.EXDEV, b"/etc/passwd": errno.EXDEV,
    b"d": errno.EINVAL, b"d/e": errno.EINVAL, b"fifo": errno.EINVAL, b"d/f/x": errno.ENOTDIR,
    b"n" * 300: errno.ENAMETOOLONG, b"n" * 300 + b"/x": errno.ENAMETOOLONG,
}


@pytest.mark.parametrize("path", TROUBLE, ids=lambda path: os.fsdecode(path)[:20] or "empty")
def test_a_file_that_cannot_be_had(core: ModuleType, odd_files: int, path: bytes) -> None:
    _, number, _, filename = told(lambda: core.hash_files(odd_files, [path]))
    assert (number, filename) == (TROUBLE[path], path)
    assert told(lambda: core.TarSink(-1).add(HEADER, odd_files, path, 4))[1:4:2] == (number, path)
    assert told(lambda: core.TarSink(-1).add_many(odd_files, [(HEADER, path, 4)]))[1:4:2] == (number, path)


@pytest.mark.parametrize("path", TROUBLE, ids=lambda path: os.fsdecode(path)[:20] or "empty")
def test_both_tell_it_in_the_same_words(odd_files: int, path: bytes) -> None:
    one, two = (told(lambda core=core: core.hash_files(odd_files, [path])) for core in (_layercore, _layercore_py))
    assert one == two


@pytest.mark.parametrize("size", [0, 3, 5, 1 << 40])
def test_a_file_of_another_size(core: ModuleType, odd_files: int, size: int) -> None:
    wanted = (OSError, errno.ESTALE, "file changed while it was read", b"d/f")
    assert told(lambda: core.TarSink(-1).add(HEADER, odd_files, b"d/f", size)) == wanted


def test_a_range_beyond_the_end(core: ModuleType, odd_files: int, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "root/d/f", os.O_RDONLY)
    wanted = (OSError, errno.ESTALE, "file changed while it was read", None)
    assert told(lambda: core.TarSink(-1).add_range(HEADER, fd, 0, 5)) == wanted
    assert told(lambda: core.TarSink(-1).add_range(HEADER, fd, 100, 1)) == wanted
    os.close(fd)


def test_numbers_and_names_that_make_no_sense(core: ModuleType, odd_files: int) -> None:
    for call in (lambda sink: sink.add(HEADER, odd_files, b"d/f", -1), lambda sink: sink.add_range(HEADER, 0, -1, 1),
                 lambda sink: sink.add_range(HEADER, 0, 0, -1), lambda sink: sink.add(HEADER, odd_files, b"d\0/f", 4)):
        with pytest.raises(ValueError):
            call(core.TarSink(-1))
    for call in (lambda sink: sink.add(HEADER, odd_files, "text", 4), lambda sink: sink.add_bytes("text"),
                 lambda sink: sink.add_many(odd_files, [(HEADER, b"d/f")]), lambda sink: sink.add(HEADER)):
        with pytest.raises((TypeError, ValueError)):
            call(core.TarSink(-1))


def test_trouble_with_the_output_names_no_file(core: ModuleType) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    sink = core.TarSink(full)
    assert told(lambda: (sink.add_bytes(HEADER, bytes(2 << 20)), sink.finish())) == \
        (OSError, errno.ENOSPC, os.strerror(errno.ENOSPC), None)
    os.close(full)
    assert told(lambda: core.TarSink(123456).finish())[1] == errno.EBADF


# Turns

def test_nothing_is_added_after_the_end(core: ModuleType) -> None:
    sink = core.TarSink(-1)
    sink.finish()
    for call in (sink.finish, lambda: sink.add_bytes(HEADER), lambda: sink.add_many(-1, [(HEADER, None, 0)])):
        with pytest.raises(RuntimeError, match="finished or has failed"):
            call()


def test_nothing_is_added_after_an_error(core: ModuleType, root: int) -> None:
    """A tar with a hole in it must never get a digest."""
    sink = core.TarSink(-1)
    with pytest.raises(FileNotFoundError):
        sink.add(HEADER, root, b"none", 1)
    with pytest.raises(RuntimeError, match="finished or has failed"):
        sink.finish()


def test_one_owner_at_a_time_and_others_run_meanwhile(core: ModuleType) -> None:
    """The writer of a full pipe waits without the interpreter, and its sink is closed to others."""
    out, into = os.pipe()
    sink = core.TarSink(into)
    thread = threading.Thread(target=sink.add_bytes, args=(HEADER, bytes(4 << 20)))
    thread.start()
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline
        try:
            sink.add_many(-1, [])
        except RuntimeError as error:
            assert str(error) == "TarSink is in use"
            break
    left = 512 + (4 << 20)
    while left > 2 << 20:  # the rest stays in the sink's buffer
        left -= len(os.read(out, 1 << 16))
    os.set_blocking(out, False)
    while thread.is_alive():
        try:
            os.read(out, 1 << 16)
        except BlockingIOError:
            time.sleep(0.001)
    thread.join()
    os.close(out)
    os.close(into)


# Digests

def test_hash_files(core: ModuleType, root: int, tmp_path: Path) -> None:
    contents = [os.urandom(size) for size in (0, 1, 63, 64, 65, 262_144, 1_000_001)]
    for number, data in enumerate(contents):
        (tmp_path / "root" / str(number)).mkdir()
        (tmp_path / "root" / str(number) / "f").write_bytes(data)
    paths = [b"%d/f" % number for number in range(len(contents))]
    assert core.hash_files(root, paths) == [hashlib.sha256(data).digest() for data in contents]
    assert core.hash_files(root, tuple(paths[:2])) == [hashlib.sha256(data).digest() for data in contents[:2]]
    assert core.hash_files(root, []) == []


def test_ctrl_c_ends_a_long_hash(core: ModuleType, root: int, tmp_path: Path) -> None:
    with open(tmp_path / "root" / "f", "wb") as file:
        file.truncate(100 << 20)
    thread = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        core.hash_files(root, [b"f"] * 1000)
    thread.join()


@pytest.mark.parametrize("kernel", _layercore.KERNELS)
def test_every_kernel_is_sha256(kernel: str) -> None:
    data = os.urandom(5000)
    for size in (*range(300), 511, 512, 513, 4095, 4096, 5000):
        assert _layercore.sha256(data[:size], kernel) == hashlib.sha256(data[:size]).digest()
    million = b"a" * 1_000_000  # FIPS 180-2, appendix B.3
    assert _layercore.sha256(million, kernel).hex() == \
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_a_kernel_that_cannot_run_is_an_error_not_a_fallback() -> None:
    assert _layercore.KERNELS[0] == _layercore.KERNEL
    assert _layercore.KERNELS[-1] == "scalar"
    with pytest.raises(ValueError, match="no SHA-256 kernel 'vax' runs here"):
        _layercore.sha256(b"", "vax")
