"""Where the time of a pull and of a push goes, part by part: CPU seconds of this process, best of three.

    python -m bench.packing [TAR]     TAR: an uncompressed tar; by default one of 3,000 files made here

A pull takes as long as the slowest of its threads: the network with its digest, inflating, or the digest of the tar
with the reading of its headers.
"""

import gzip
import hashlib
import io
import os
import resource
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rootless_builder.layer import compress, index
from rootless_builder.layer.readahead import ReadAhead
from rootless_builder.layer.reader import read_layer

from .workloads import mixed_files

_CHUNK = 1 << 18


class Hashed:
    """A stream that is hashed on its way."""

    def __init__(self, source: compress.Readable) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int = _CHUNK, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        return data


def cost(call: Callable[[], object]) -> tuple[float, float]:
    """(CPU, wall) seconds."""
    found = []
    for _ in range(3):
        usage, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        call()
        now = resource.getrusage(resource.RUSAGE_SELF)
        found.append((now.ru_utime + now.ru_stime - usage.ru_utime - usage.ru_stime, time.perf_counter() - began))
    return min(found)


def show(name: str, size: int, call: Callable[[], object]) -> None:
    cpu, wall = cost(call)
    print(f"{name:<46}{cpu:7.3f} s CPU {wall:7.3f} s  {size / cpu / 1e6:7,.0f} MB/s CPU", flush=True)


def made(folder: Path) -> bytes:
    mixed_files(folder, 3000, 30, 25_000)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(folder, "data")
    return out.getvalue()


def inflate(packed: bytes, kind: str) -> None:
    stream = compress.inflated(io.BytesIO(packed), kind)
    while stream.read(1 << 20):
        pass


def pull(packed: bytes, *, threads: bool) -> None:
    """What is done with the bytes of a blob, but for the network and the disk."""
    if not threads:
        changes = read_layer(Hashed(compress.inflated(Hashed(io.BytesIO(packed)), "gzip")))
    else:
        with (ReadAhead(Hashed(io.BytesIO(packed)), piece=_CHUNK) as arriving,
              ReadAhead(compress.inflated(arriving, "gzip")) as tar):
            changes = read_layer(Hashed(tar))
    index.dump(changes)


def inflating(tar: bytes, packed: bytes) -> None:
    size = len(tar)
    show("pull: digest of the compressed bytes", size, lambda: hashlib.sha256(packed).digest())
    show("pull: inflating", size, lambda: inflate(packed, "gzip"))
    show("      with zlib", size, lambda: zlib.decompress(packed, 31))
    show("pull: digest of the tar", size, lambda: hashlib.sha256(tar).digest())
    changes = read_layer(io.BytesIO(tar))
    seconds, _ = cost(lambda: read_layer(io.BytesIO(tar)))
    print(f"{'pull: headers':<46}{seconds:7.3f} s CPU, {seconds / len(changes) * 1e6:.1f} µs for each")
    show("pull: index written", size, lambda: index.dump(changes))
    show("pull: all of it, one after the other", size, lambda: pull(packed, threads=False))
    show("pull: all of it, in threads", size, lambda: pull(packed, threads=True))


def deflating(tar: bytes) -> None:
    fd = os.memfd_create("tar")
    with open(fd, "wb") as whole:
        whole.write(tar)
        whole.flush()
        for kind, level, jobs in (("gzip", 1, 1), ("gzip", 2, 1), ("gzip", 2, 2), ("gzip", 6, 1), ("zstd", 3, 1)):
            _, size = compress.compress(fd, len, kind, level=level)
            show(f"push: {kind} {level}, {jobs} threads, to {size / len(tar):.1%}", len(tar),
                 partial(compress.compress, fd, len, kind, level=level, jobs=jobs))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else made(Path(folder))
    inflating(tar, gzip.compress(tar, 6))
    deflating(tar)


if __name__ == "__main__":
    main()
