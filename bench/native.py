"""What each function of the layer core in C is worth, against its twin in Python and against other programs.

    python -m bench.native [FOLDER]     FOLDER: what to pack; by default 3,000 small files and 4 large ones

Numbers of one machine, best of three; files are in the page cache. A C function keeps its place by its number here.
"""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rootless_builder import _layercore, _layercore_py, layercore
from rootless_builder.layer.reader import read_index
from rootless_builder.layer.writer import write_layer
from rootless_builder.paths import ImagePath
from rootless_builder.tree.changes import Change, ChangeSet, Put
from rootless_builder.tree.node import Directory, File, HostFile, Meta, Symlink

CORES = {"C": _layercore, "Python": _layercore_py}
ENTRIES = 50_000


def best(call: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def show(name: str, amount: float, unit: str, times: dict[str, float]) -> None:
    cells = "  ".join(f"{who} {amount / seconds:>9,.0f} {unit}" for who, seconds in times.items())
    print(f"{name:<28}{cells}   C is worth {times['Python'] / times['C']:.1f}×")


def make(top: Path) -> None:
    for number in range(3000):
        folder = top / f"d{number % 100}" / f"e{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(os.urandom(200 + number * 13 % 9000))
    for number in range(4):
        (top / f"large-{number}").write_bytes(os.urandom(1 << 20) * 32)


def listing(top: Path, root: int) -> tuple[ChangeSet, list[bytes], int]:
    """As a COPY of the whole folder would have it; its regular files, and their bytes."""
    changes: list[Change] = []
    files, size = [], 0
    for folder, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.relpath(os.path.join(folder, name), top)
            info = os.lstat(os.path.join(folder, name))
            meta = Meta(info.st_mode & 0o7777, 0, 0, info.st_mtime_ns)
            if os.path.islink(os.path.join(folder, name)):
                changes.append(Put(ImagePath(path), Symlink(meta, os.readlink(os.path.join(folder, name)))))
            elif name in folders:
                changes.append(Put(ImagePath(path), Directory(meta)))
            elif os.path.isfile(os.path.join(folder, name)):
                encoded = os.fsencode(path)
                changes.append(Put(ImagePath(path), File(meta, HostFile(root, encoded), info.st_size)))
                files.append(encoded)
                size += info.st_size
    return ChangeSet.of(changes), files, size


def digests() -> None:
    data = os.urandom(1 << 20) * 128
    for kernel in _layercore.KERNELS:
        seconds = best(lambda kernel=kernel: _layercore.sha256(data, kernel))  # type: ignore[misc]
        print(f"SHA-256, {kernel:<19}C {len(data) / seconds / 1e6:>9,.0f} MB/s")
    print(f"SHA-256, hashlib              {len(data) / best(lambda: hashlib.sha256(data)) / 1e6:>9,.0f} MB/s")


def scans(root: int) -> None:
    amount = len(_layercore.scan(root))
    show("scan", amount, "paths/s", {who: best(lambda core=core: core.scan(root))  # type: ignore[misc]
                                     for who, core in CORES.items()})
    show("scan, scan, diff", 2 * amount, "paths/s", {
        who: best(lambda core=core: core.diff(core.scan(root), core.scan(root)))  # type: ignore[misc]
        for who, core in CORES.items()})


def packing(top: Path, root: int) -> None:
    changes, files, size = listing(top, root)
    show(f"hash_files, {len(files)} files", size / 1e6, "MB/s", {
        who: best(lambda core=core: core.hash_files(root, files)) for who, core in CORES.items()})  # type: ignore[misc]
    times, chosen = {}, layercore.TarSink
    with tempfile.TemporaryFile() as out:
        def pack() -> None:
            os.ftruncate(out.fileno(), 0)
            os.lseek(out.fileno(), 0, os.SEEK_SET)
            write_layer(changes, out.fileno())

        for who, core in CORES.items():
            layercore.TarSink = core.TarSink  # type: ignore[misc, assignment]
            times[who] = best(pack)
        layercore.TarSink = chosen  # type: ignore[misc]

        def with_tarfile() -> None:
            out.seek(0)
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
                tar.add(top, "")
            out.seek(0)
            hashlib.file_digest(out, "sha256")

        show(f"write_layer, {len(changes)} paths", size / 1e6, "MB/s", times)
        seconds = best(with_tarfile)
        print(f"{'tarfile and hashlib':<28}{'':<22}  Python {size / 1e6 / seconds:>9,.0f} MB/s   "
              f"C is worth {seconds / times['C']:.1f}×")


def headers() -> None:
    """Reading a tar of many small files: to the index of its files, as a pull does."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "small.tar")
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for number in range(ENTRIES):
                info = tarfile.TarInfo(f"usr/d{number // 100:03}/file-{number % 100:02}.txt")
                info.size, info.mtime = 1000, 1_700_000_000.25
                tar.addfile(info, io.BytesIO(bytes(1000)))
        times, chosen = {}, (layercore.read_headers, layercore.arrange)
        for who, core in CORES.items():
            layercore.read_headers, layercore.arrange = core.read_headers, core.arrange  # type: ignore[misc, assignment]
            times[who] = best(lambda: read_index(path.open("rb")))
        layercore.read_headers, layercore.arrange = chosen  # type: ignore[misc]
        show(f"read_index, {ENTRIES} entries", ENTRIES, "entries/s", times)

        def with_tarfile() -> None:
            with tarfile.open(path) as tar:
                tar.getmembers()

        others: dict[str, Callable[[], object]] = {"tarfile": with_tarfile}
        for program in filter(shutil.which, ("tar", "bsdtar")):
            others[f"{program} -t"] = lambda program=program: subprocess.run(  # type: ignore[misc]
                [program, "-tf", path], stdout=subprocess.DEVNULL, check=True)
        for who, call in others.items():
            seconds = best(call)
            print(f"{who:<28}{'':<24}         {ENTRIES / seconds:>9,.0f} entries/s   "
                  f"C is worth {seconds / times['C']:.1f}×")


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        top = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        if len(sys.argv) == 1:
            make(top)
        root = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        digests()
        scans(root)
        packing(top, root)
        headers()


if __name__ == "__main__":
    main()
