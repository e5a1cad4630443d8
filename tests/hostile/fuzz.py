"""Random damage to good samples, for every reader of what strangers write. From the root of the repository:

    python tests/hostile/fuzz.py tar --seconds 600 [--seed 1] [--crashes FOLDER]

A reader may return or raise an IechorError; anything else, a path that leaves the image, or more than ten seconds of
work for one input is a crash: the input is kept in FOLDER, and the exit code is 1. A seed gives the same inputs again.
What was found so far stands as bytes in test_fuzz.py.
"""

import argparse
import atexit
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import zstandard

from rootless_builder.caching import wire
from rootless_builder.errors import IechorError, UnsafeArchive
from rootless_builder.layer import index, reader
from rootless_builder.layer.compress import inflated, is_tar
from rootless_builder.oci.config import ImageConfig
from rootless_builder.oci.digest import Digest
from rootless_builder.oci.manifest import Manifest, parse_manifest
from rootless_builder.oci.platform import Platform, best
from rootless_builder.oci.reference import Reference
from rootless_builder.registry.auth import Credentials
from rootless_builder.registry.download import _range_start
from rootless_builder.registry.http import retry_after
from rootless_builder.registry.tokens import choose, parse_challenges
from rootless_builder.store.importing import import_images
from rootless_builder.store.store import Store
from rootless_builder.tree.changes import Put
from rootless_builder.tree.node import Directory
from tests.cores import CORES, reading_with
from tests.tarbytes import END, file, folder, gnu_long, hard_link, header, padded, pax, symlink

LIMITS = reader.Limits(entries=10_000, size=1 << 30)
SLOW = 10.0  # seconds of work for one input
_FLAT = "sha256:" + "a" * 64


# ---- what is read ----------------------------------------------------------------------------------------------

def read_tar(data: bytes) -> None:
    """And the two things that every user of a layer relies on. Both cores say the same, word for word."""
    (packed, refused), other = _tar_by(CORES["c"], data), _tar_by(CORES["python"], data)
    assert (packed, refused) == other
    if refused:
        raise UnsafeArchive(refused)
    changes = index.load(packed, lambda: 0)
    paths = [change.path for change in changes]
    assert all(".." not in path.split("/") and not path.startswith("/") and "\0" not in path for path in paths)
    leaves = {change.path for change in changes if isinstance(change, Put) and not isinstance(change.node, Directory)}
    for path in paths:
        while "/" in path:
            path = path.rpartition("/")[0]
            assert path not in leaves, "something lies below what is no folder"
    assert index.dump(reader.read_layer(io.BytesIO(data), limits=LIMITS)) == packed


def _tar_by(core: ModuleType, data: bytes) -> tuple[bytes, str]:
    """(the index, or why there is none)."""
    with reading_with(core):
        try:
            return reader.read_index(io.BytesIO(data), limits=LIMITS), ""
        except UnsafeArchive as error:
            return b"", error.message


def read_compressed(data: bytes) -> None:
    is_tar(data)
    stream, size = inflated(io.BytesIO(data)), 0
    while size < 1 << 24 and (piece := stream.read(1 << 16)):
        assert len(piece) <= 1 << 16
        size += len(piece)


def read_index(data: bytes) -> None:
    index.load(data, lambda: 0)


def read_manifest(data: bytes) -> None:
    for media_type in (None, "application/vnd.oci.image.index.v1+json"):
        try:
            parsed = parse_manifest(data, media_type)
        except IechorError:
            continue
        if isinstance(parsed, Manifest):
            assert parse_manifest(parsed.to_json(), None).to_json() == parsed.to_json()
        else:
            best(parsed.manifests, Platform("linux", "arm", "v7"))
            parsed.to_json()


def read_config(data: bytes) -> None:
    config = ImageConfig.from_json(data)
    again = config.to_json()
    assert ImageConfig.from_json(again).to_json() == again
    str(config.platform)


@functools.cache
def _place() -> Path:
    """A folder for those who need one, until this process ends."""
    path = tempfile.mkdtemp(prefix="iechor-fuzz-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


class _Files:
    """A layout in memory."""

    what = "it"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def open(self, path: str) -> io.BytesIO | None:
        return io.BytesIO(self._files[path]) if path in self._files else None


def read_layout(data: bytes) -> None:
    store = _place() / "store"
    with Store.open(store) as opened:
        _import(data, opened)


def _import(data: bytes, store: Store) -> None:
    for name in ("index.json", "manifest.json"):
        try:
            import_images(_Files({name: data, "layer": b"x", "config": CONFIG}), store,
                          default_registry="docker.io", platform=Platform("linux", "amd64"))
        except IechorError:
            continue


def read_records(data: bytes) -> None:
    wire.load(data)


def read_credentials(data: bytes) -> None:
    path = _place() / "auth.json"
    path.touch(0o600)
    path.write_bytes(data)
    found = Credentials(path, ()).get("registry.example", "a/b")
    if found is not None and not found.registry_token:
        found.basic()


def read_reference(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    for parse in (Digest.parse, Platform.parse, Reference.parse):
        try:
            found = parse(text)
        except IechorError:
            continue
        assert isinstance(found, Platform) or ("/../" not in f"/{found}/" and "\n" not in str(found))
        if isinstance(found, Reference):
            assert Reference.parse(str(found)) == found and Reference.parse(found.familiar()) == found


def read_http(data: bytes) -> None:
    text = data.decode("latin-1")
    challenge = choose(parse_challenges([text]))
    assert challenge is None or challenge.scheme in ("basic", "bearer")
    wait = retry_after({"Retry-After": text, "Date": "Sun, 06 Nov 1994 08:49:37 GMT"})
    assert wait is None or wait >= 0
    assert _range_start(text) >= -1


# ---- samples ---------------------------------------------------------------------------------------------------

TAR = (folder(b"d") + pax((b"path", b"d/long"), (b"mtime", b"1.5"), (b"SCHILY.xattr.user.a", b"b")) +
       file(b"x", b"data") + hard_link(b"d/l", b"d/long") + symlink(b"s", b"t") + file(b"d/.wh.gone") +
       pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"5000")) +
       header(b"sparse", size=515) + padded(b"1\n0\n3\n") + padded(b"abc") + gnu_long(b"n" * 120) +
       gnu_long(b"t" * 120, b"K") + symlink(b"s2", b"t") + header(b"dev/null", b"3", major=1, minor=3) + END)
OLD_SPARSE = header(b"o", b"S", size=10, magic=b"ustar  \0", raw={
    386: b"%011o\0%011o\0" % (0, 10), 483: b"%011o\0" % 99}) + padded(b"x" * 10) + END
DESCRIPTOR = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": _FLAT, "size": 7,
              "annotations": {"a": "b"}, "urls": ["https://x.example/y"], "data": "aGk=",
              "platform": {"os": "linux", "architecture": "arm", "variant": "v7", "os.features": ["x"]}}
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "config": DESCRIPTOR, "layers": [DESCRIPTOR, DESCRIPTOR], "subject": DESCRIPTOR,
                       "annotations": {"k": "v"}, "artifactType": "a/b"}).encode()
INDEX = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                    "manifests": [DESCRIPTOR, DESCRIPTOR]}).encode()
CONFIG = json.dumps({
    "architecture": "arm64", "os": "linux", "variant": "v8", "created": "2024-01-01T00:00:00Z", "author": "me",
    "config": {"User": "1:1", "Env": ["A=B"], "Entrypoint": ["/e"], "Cmd": None, "WorkingDir": "/w",
               "Labels": {"l": "1"}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "StopSignal": "TERM",
               "Shell": ["sh"], "OnBuild": ["RUN x"], "ArgsEscaped": True,
               "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}},
    "rootfs": {"type": "layers", "diff_ids": [_FLAT]}, "other": [1, {"x": 1.5}],
    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x", "empty_layer": True, "comment": "c"}],
}).encode()
DOCKER = json.dumps([{"Config": "config", "RepoTags": ["a/b:1"], "Layers": ["layer"]}]).encode()
AUTH = json.dumps({"auths": {"registry.example": {"auth": "YTpi", "identitytoken": "t", "registrytoken": ""},
                             "https://registry.example/v1/": {"username": "a", "password": "b"}},
                   "credHelpers": {"other.example": "none"}, "credsStore": ""}).encode()
RECORDS = json.dumps(wire.dump({})).encode()
CHALLENGES = (b'Bearer realm="https://auth.example/token",service="a \\"b\\"",scope="repository:a/b:pull,push"',
              b'Basic realm="x", Bearer realm=y', b"Wed, 21 Oct 2015 07:28:00 GMT", b"bytes 100-199/200", b"120",
              b"Wednesday, 21-Oct-15 07:28:00 -9999")
NAMES = (b"debian", b"docker.io/library/debian:12", b"localhost:5000/a/b@" + _FLAT.encode(), b"[::1]:80/a__b/c-d:T.x",
         b"linux/arm64/v8", _FLAT.encode(), b"sha512:" + b"0" * 128, b"EXAMPLE.com/x:1@" + _FLAT.encode())
PACKED = index.dump(reader.read_layer(io.BytesIO(TAR)))


# ---- damage ----------------------------------------------------------------------------------------------------

VALUES: Sequence[Any] = (
    None, True, 0, -1, 1 << 63, 1 << 200, 1.5, 1e308, "", "x", "\ud800", "\0", "../..", "a" * 5000, [], {}, [[]],
    {"": 0}, ["x", 1], "sha256:" + "0" * 64, "9" * 5000, "\x1b[2J", "application/vnd.oci.image.index.v1+json")
WORDS = (b"..", b"/", b"\0", b"\xff", b".wh.", b".wh..wh..opq", b"7777777", b"\x80" + b"\xff" * 7, b"-1", b"9" * 30,
         b"\n", b"=", b" ", b"path=", b"GNU.sparse.map=", b"ustar\0", b"{", b"[", b'"', b"\\", b",", b":", b"@",
         b"\xc3\xa9")


def damaged(sample: bytes, others: Sequence[bytes], source: random.Random) -> bytes:
    """A few bytes changed, put in, taken out, doubled, or taken from another sample."""
    data = bytearray(sample)
    for _ in range(1 << source.randrange(4)):
        at = source.randrange(len(data) + 1)
        end = min(len(data), at + 1 + source.randrange(1 << source.randrange(10)))
        match source.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << source.randrange(8)
            case 1 if at < len(data):
                data[at] = source.randrange(256)
            case 2:
                data[at:at] = source.choice(WORDS)
            case 3:
                word = source.choice(WORDS)
                data[at:at + len(word)] = word
            case 4:
                del data[at:end]
            case 5 if len(data) < 1 << 17:
                data[at:at] = data[at:end] * source.choice((1, 1, 2, 50))
            case 6:
                other = source.choice(others)
                start = source.randrange(len(other) + 1)
                data[at:at] = other[start:start + end - at]
    return bytes(data)


def damaged_tar(sample: bytes, others: Sequence[bytes], source: random.Random) -> bytes:
    """Most of the damage has to come through the checksums; blocks are moved about whole, too."""
    if source.random() < 0.3:
        blocks = [sample[at:at + 512] for at in range(0, len(sample), 512)]
        for _ in range(1 + source.randrange(3)):
            blocks.insert(source.randrange(len(blocks)), source.choice(blocks))
        sample = b"".join(blocks)
    data = bytearray(damaged(sample, others, source))
    if source.random() < 0.9:
        for at in range(0, len(data) - 511, 512):
            if data[at + 257:at + 262] == b"ustar":
                data[at + 148:at + 156] = b" " * 8
                data[at + 148:at + 156] = b"%06o\0 " % sum(data[at:at + 512])
    return bytes(data)


def damaged_json(sample: bytes, others: Sequence[bytes], source: random.Random) -> bytes:
    """Values of the document replaced, taken away and buried; now and then its bytes instead."""
    if source.random() < 0.2:
        return damaged(sample, others, source)
    document = json.loads(sample)
    for _ in range(1 + source.randrange(3)):
        document = _replaced(document, source)
    text = json.dumps(document, ensure_ascii=source.random() < 0.9)
    if source.random() < 0.02:  # buried deep, as text: the writer has a limit of its own
        depth = source.choice((10, 500, 900, 960, 990, 1000, 3000))
        text = text.replace('"a"', "[" * depth + "1" + "]" * depth + ',"a"', 1) if source.random() < 0.5 else \
            text.replace(": 7", ": " + "[" * depth + "7" + "]" * depth, 1)
    return text.encode(errors="surrogatepass")


def _replaced(value: Any, source: random.Random) -> Any:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if keys and source.random() < 0.85:
        key = source.choice(keys)
        inner = _replaced(value[key], source)
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[key] = inner
        if source.random() < 0.1:
            del copy[key]
        return copy
    return source.choice(VALUES)


Damage = Callable[[bytes, Sequence[bytes], random.Random], bytes]


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    read: Callable[[bytes], None]
    samples: tuple[bytes, ...]
    damage: Damage = damaged


TARGETS: Mapping[str, Target] = {
    "tar": Target(read_tar, (TAR, OLD_SPARSE), damaged_tar),
    "compressed": Target(read_compressed, (gzip.compress(TAR * 3), gzip.compress(b"a") + gzip.compress(TAR) + bytes(99),
                                           zstandard.ZstdCompressor(write_checksum=True).compress(TAR * 3), TAR)),
    "index": Target(read_index, (PACKED,)),
    "manifest": Target(read_manifest, (MANIFEST, INDEX), damaged_json),
    "config": Target(read_config, (CONFIG,), damaged_json),
    "layout": Target(read_layout, (INDEX, DOCKER), damaged_json),
    "records": Target(read_records, (RECORDS,), damaged_json),
    "credentials": Target(read_credentials, (AUTH,), damaged_json),
    "reference": Target(read_reference, NAMES),
    "http": Target(read_http, CHALLENGES),
}


# ---- the driver ------------------------------------------------------------------------------------------------

@dataclasses.dataclass(slots=True)
class Tally:
    """slowest: seconds of work for one input. crashes: input → what it raised."""

    executions: int = 0
    refused: int = 0
    slowest: float = 0.0
    crashes: dict[bytes, str] = dataclasses.field(default_factory=dict)


def attempt(target: Target, data: bytes, tally: Tally) -> None:
    began = time.process_time()
    try:
        target.read(data)
    except IechorError:
        tally.refused += 1
    except Exception as error:  # noqa: BLE001
        tally.crashes[data] = f"{type(error).__name__}: {error}"[:300]
    took = time.process_time() - began
    tally.executions += 1
    tally.slowest = max(tally.slowest, took)
    if took > SLOW:
        tally.crashes[data] = f"it took {took:.0f} s"


def fuzz(target: Target, seed: int, *, executions: int = 1 << 62, seconds: float = float("inf")) -> Tally:
    """Whichever ends first; or ten crashes."""
    source, tally, end = random.Random(seed), Tally(), time.monotonic() + seconds
    while tally.executions < executions and time.monotonic() < end and len(tally.crashes) < 10:
        attempt(target, target.damage(source.choice(target.samples), target.samples, source), tally)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--crashes", type=Path, default=Path("."), help="where inputs that crash are kept")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    found = 0
    for name in TARGETS if options.target == "all" else [options.target]:
        tally = fuzz(TARGETS[name], seed, seconds=options.seconds)
        print(f"{name}: {tally.executions} executions, {tally.refused} refused, {len(tally.crashes)} crashes, "
              f"slowest {tally.slowest:.2f} s, seed {seed}", flush=True)
        for data, error in tally.crashes.items():
            path = options.crashes / f"crash-{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"  {path}: {error}", flush=True)
        found += len(tally.crashes)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
