"""`iechor check`: is every byte of the store what its name says, and is everything there that something names?

    blobs      the bytes of each have the digest that is its name
    images     manifest, config and layers are there, of the size that was promised; a compressed layer inflates to
               the tar that the config names
    names      each leads to an image
    derived    indexes of layers, cache records, compressed pairs, index.json: whatever of it is damaged can go
    modes      can the user read it? Where not, nothing else is looked at

A missing layer of a cache record is no damage: the step is a miss. Nor is what a killed process left behind: it is
told, and goes with the next prune. Reads only; other processes may work on the store meanwhile.
"""

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import IechorError, StoreError, UnsafeArchive
from ..layer import index
from ..layer.reader import read_index
from ..oci.descriptor import Descriptor, compression_of
from ..oci.digest import Digest, InvalidDigest
from ..values import dataclass, field
from .buildcache import step_of
from .filesystem import stale_for
from .images import Image, LayerRef, parse_record
from .layout import PARTIAL, is_marked
from .names import read_record
from .owner import abandoned

if TYPE_CHECKING:
    from .store import Store


Kind = Literal["blob", "image", "name", "derived", "mode"]
_PATIENCE = 5  # looks at index.json, which another process may be about to write anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One thing that is wrong. path: of the file at fault, or where the missing one would be.

    what: the cause, as the end of a sentence. kind: "derived" can be made again, "mode" changed; the others may cost
    an image.
    """

    kind: Kind
    path: Path
    what: str


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What was looked at and what was found. bytes: of blobs read. left: files of processes that are gone."""

    damages: list[Damage] = field(default_factory=list)
    blobs: int = 0
    bytes: int = 0
    images: int = 0
    steps: int = 0
    left: int = 0

    closed: bool = False  # there are folders or files that cannot be read, and nothing else was looked at

    def damaged(self, path: Path) -> bool:
        return any(one.path == path for one in self.damages)


def verify(store: "Store", *, quick: bool = False) -> Verdict:
    """quick: sizes instead of digests. Errors: StoreError (a store that cannot be read at all)."""
    verdict = Verdict()
    verdict.damages += _modes(store)
    if verdict.damages:
        verdict.closed = True
        return verdict
    for check in (_blobs, _images, _names, _indexes, _steps, _pairs, _layout):
        verdict.damages += check(store, verdict, quick)
    verdict.left = sum(1 for _ in leftovers(store))
    return verdict


def _modes(store: "Store") -> Iterator[Damage]:
    """Folders and files of the user's own that the user cannot read: a copy or a chmod gone wrong."""
    for top in {store.layout.root, store.layout.own}:
        yield from _mode(top, 0o700)
        for folder, folders, files in os.walk(top):
            for needed, names in ((0o700, folders), (0o400, files)):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        yield from _mode(Path(folder, name), needed)


def _mode(path: Path, needed: int) -> Iterator[Damage]:
    status = path.lstat()
    if status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode) and status.st_mode & needed != needed:
        yield Damage(kind="mode", path=path, what=f"its mode is {stat.S_IMODE(status.st_mode):04o}: its owner cannot "
                                                  "read it")


def leftovers(store: "Store") -> Iterator[Path]:
    """Temporary files and leases of processes that are gone, and blobs that a killed prune left on their way out.

    Not downloads that the next pull resumes: prune removes those."""
    try:
        now = store.layout.now()
    except StoreError:
        return  # a store that can only be read
    for folder in (store.layout.tmp, store.layout.leases):
        for path in _files(folder):
            with contextlib.suppress(FileNotFoundError):
                if not path.name.startswith(PARTIAL) and abandoned(path.name, now - path.lstat().st_mtime_ns):
                    yield path
    if store.leases.in_use().since is None and not stale_for(store.layout.root):  # else their time may not have come
        yield from _files(store.layout.trash)


def _blobs(store: "Store", verdict: Verdict, quick: bool) -> Iterator[Damage]:
    for path in (*_files(store.layout.blobs / "sha256"), *_folders(store.layout.blobs / "sha256")):
        with contextlib.suppress(InvalidDigest, FileNotFoundError):  # not a blob; pruned meanwhile
            digest = Digest("sha256", path.name)
            verdict.blobs += 1
            verdict.bytes += path.lstat().st_size
            try:
                if not path.is_file() or path.is_symlink():
                    yield Damage(kind="blob", path=path, what="it is not a file")
                elif not quick and _sha256(path) != digest.hex:
                    yield Damage(kind="blob", path=path, what="its bytes do not have this digest")
            except FileNotFoundError:
                continue
            except OSError as error:
                yield Damage(kind="blob", path=path, what=f"it cannot be read: {error.strerror}")


def _sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _images(store: "Store", verdict: Verdict, quick: bool) -> Iterator[Damage]:
    inflated: set[tuple[Digest, Digest]] = set()
    for path in _files(store.layout.images):
        verdict.images += 1
        found = list(_image(store, path, verdict, inflated, quick))
        if found and path.exists():  # an image that is being removed loses its record first
            yield from (one for one in found if one.kind == "derived")
            yield from [one for one in found if one.kind == "image"][:1]


def of_image(store: "Store", path: Path) -> list[Damage]:
    """What is wrong with the image of this record, its layers read to the end."""
    return list(_image(store, path, Verdict(), set(), False))


def readable(path: Path) -> bool:
    """Whether the record of an image is one."""
    try:
        record = read_record(path)
        return record is not None and bool(parse_record(record))
    except StoreError:
        return False


def _image(store: "Store", path: Path, verdict: Verdict, inflated: set[tuple[Digest, Digest]],
           quick: bool) -> Iterator[Damage]:
    try:
        image = store.images.recorded(path)
    except IechorError as error:
        yield Damage(kind="image", path=path, what=error.message)
        return
    if image is None:
        return
    for part in (image.manifest.config, *image.manifest.layers):
        blob = store.layout.blob(part.digest)
        if verdict.damaged(blob):
            yield Damage(kind="image", path=path, what=f"its blob {part.digest} is damaged")
        elif not store.blobs.has(part.digest, part.size):
            size = store.blobs.size(part.digest)
            yield Damage(kind="image", path=path, what=f"its blob {part.digest} " + (
                "is missing" if size is None else f"has {size} bytes instead of {part.size}"))
    if not quick:
        yield from _layers(store, image, path, inflated)


def _layers(store: "Store", image: Image, path: Path, inflated: set[tuple[Digest, Digest]]) -> Iterator[Damage]:
    """Does each layer hold the tar that the config names, and its index what the tar holds?"""
    for layer in image.layers:
        pair = (layer.diff_id, layer.blob.digest)
        if pair in inflated:
            continue
        inflated.add(pair)
        if compression_of(layer.blob.media_type) == "none" and layer.diff_id != layer.blob.digest:
            yield Damage(kind="image", path=path, what=f"its layer {layer.blob.digest} is not {layer.diff_id}")
            continue
        try:
            yield from _layer(store, layer)
        except (StoreError, UnsafeArchive) as error:
            yield Damage(kind="image", path=path, what=error.message)


def _layer(store: "Store", layer: LayerRef) -> Iterator[Damage]:
    """Errors: StoreError, UnsafeArchive."""
    with store.trees.stream(layer) as stream:
        packed = read_index(stream)
        stream.finish()
    path = store.layout.tree(layer.diff_id)
    with contextlib.suppress(FileNotFoundError):
        if not index.same(path.read_bytes(), packed):
            yield Damage(kind="derived", path=path, what="it is not the index of this layer's tar")


def _names(store: "Store", verdict: Verdict, quick: bool) -> Iterator[Damage]:
    for path in _files(store.layout.refs):
        try:
            record = read_record(path)
            if record is None:
                continue
            manifest = Digest.parse(record["manifest"]["digest"])
        except (StoreError, InvalidDigest, KeyError, TypeError):
            yield Damage(kind="name", path=path, what="it cannot be read")
            continue
        known = store.layout.images / manifest.hex
        if not known.exists() and path.exists():
            yield Damage(kind="name", path=path, what=f"it names {manifest}, which is no image here")


def _indexes(store: "Store", verdict: Verdict, quick: bool) -> Iterator[Damage]:
    for shard in _folders(store.layout.trees):
        for path in _files(shard):
            with contextlib.suppress(FileNotFoundError):
                try:
                    index.load(path.read_bytes(), _nothing)
                except StoreError as error:
                    yield Damage(kind="derived", path=path, what=error.message)


def _nothing() -> int:
    return -1


def _steps(store: "Store", verdict: Verdict, quick: bool) -> Iterator[Damage]:
    """Of the build cache, and what each was made from."""
    for shard in _folders(store.layout.cache):
        for path in _files(shard) if shard != store.layout.inputs else ():
            try:
                verdict.steps += step_of(path) is not None
            except StoreError as error:
                yield Damage(kind="derived", path=path, what=error.message)
    for shard in _folders(store.layout.inputs):
        yield from _unreadable(_files(shard), lambda record: record["inputs"])


def _pairs(store: "Store", verdict: Verdict, quick: bool) -> Iterator[Damage]:
    yield from _unreadable(_files(store.layout.compressed), lambda record: Descriptor.from_json(record["blob"]))


def _unreadable(paths: Iterable[Path], parse: Callable[[dict[str, Any]], object]) -> Iterator[Damage]:
    for path in paths:
        try:
            record = read_record(path)
            if record is not None:
                parse(record)
        except (StoreError, UnsafeArchive, KeyError, TypeError, AttributeError):
            yield Damage(kind="derived", path=path, what="it cannot be read")


def _layout(store: "Store", verdict: Verdict, quick: bool) -> Iterator[Damage]:
    """The two files by which other programs know an OCI image layout."""
    if not is_marked(store.layout):
        yield Damage(kind="derived", path=store.layout.marker, what="it does not say what image-layout.md wants")
    for _ in range(_PATIENCE):
        if store.images.index_is_right():
            return
        time.sleep(0.05)
    yield Damage(kind="derived", path=store.layout.index, what="it does not list the images that are here")


def _files(folder: Path) -> list[Path]:
    """Errors: StoreError."""
    try:
        return sorted(path for path in folder.iterdir()  # no name of ours begins with a dot
                      if not path.name.startswith(".") and (path.is_symlink() or not path.is_dir()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot read the store: {error.strerror} ({folder})") from error


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
