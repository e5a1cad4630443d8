"""type=oci,tar=false: an image into an OCI layout folder, which may hold others already (image-layout.md).

    blobs/sha256/HEX ──▶ each under a temporary name, then renamed; one that is there is left as it is
    index.json       ──▶ last, whole: the entries of others stay, those of the same name go

The caches that `--cache-to type=local` writes (caching/exports.py) are such folders too.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import IechorError, StoreError, UsageError
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.manifest import LAYOUT, MANIFEST_LIMIT, Index, blob_path
from ..oci.reference import Reference
from ..store.images import Image
from ..store.names import REF_NAME
from ..store.packing import Packing
from ..tree.node import File, Inline, Meta
from ..values import dataclass, replace
from .archive import entries_of, index_entry, tag_of
from .files import STDOUT, explained
from .output import Exported, Exporting
from .packed import PackedImage, packed_image


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOutput:
    dest: str
    packing: Packing
    names: tuple[Reference, ...] = ()
    named_here: bool = False
    sends: bool = False
    to_stdout: bool = False

    def check(self) -> None:
        """Errors: UsageError."""
        self.packing.check()
        if self.dest == STDOUT:
            raise UsageError("cannot write a folder to standard output", hint="leave tar=false out")
        with explained(self.dest):
            check_folder(Path(self.dest))

    def export(self, image: Image, world: Exporting) -> Exported:
        """Errors: DiskFull, UsageError, StoreError."""
        folder = Path(os.path.abspath(self.dest))
        with packed_image(image, world.store, self.packing, jobs=world.settings.jobs) as found, explained(self.dest):
            add_to_layout(folder, found.blobs, [index_entry(image, name, tag_of)
                                                for name, image in entries_of(found, self.names)])
            return Exported(manifest=found.descriptor, names=tuple(map(str, self.names)))


def write_folder(images: Sequence[tuple[Reference | None, PackedImage]], folder: Path) -> None:
    """Images under their whole names. Errors: StoreError, UsageError, DiskFull."""
    with explained(str(folder)):
        for name, found in images:
            add_to_layout(folder, found.blobs, [index_entry(found, name, str)])


def check_folder(folder: Path) -> None:
    """Errors: UsageError, where `folder` is neither a layout nor empty nor absent; OSError."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"cannot write an image layout to {folder}: it is not a folder", hint="name a folder")
    if not (folder / "oci-layout").is_file() and any(folder.iterdir()):
        raise UsageError(f"cannot write an image layout to {folder}: it holds other files", hint="name a new folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write an image layout to {folder}: it is not writable for you",
                         hint="name a place that is yours")


def add_to_layout(folder: Path, blobs: Mapping[Digest, File], entries: Sequence[Descriptor]) -> None:
    """The blobs, then the entries. Errors: OSError, UsageError, StoreError (an index.json that cannot be read)."""
    check_folder(folder)
    with alone(folder):
        read_index(folder)
        add_blobs(folder, blobs)
        add_entries(folder, entries)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Makes the folder, and waits for whoever else writes to it so: the index is read, and written anew. A file system
    that has no locks goes without. Errors: OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def add_blobs(folder: Path, blobs: Mapping[Digest, File]) -> None:
    """Those that are not there. Errors: OSError, and those of reading them."""
    _write(folder / "oci-layout", inline(LAYOUT))  # first: what was left half-way can be gone on with
    for digest, file in blobs.items():
        if not holds(folder, digest, file.size):
            path = folder / blob_path(digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, file)


def holds(folder: Path, digest: Digest, size: int) -> bool:
    """Whether the blob is there. Errors: OSError."""
    path = folder / blob_path(digest)
    return path.is_file() and path.stat().st_size == size


def add_entries(folder: Path, entries: Sequence[Descriptor]) -> None:
    """To the index: each takes the place of one of the same name, or else of the same digest. Errors: OSError,
    StoreError."""
    index = read_index(folder)
    kept = [old for old in index.manifests if not any(_replaces(new, old) for new in entries)]
    _write(folder / "index.json", inline(replace(index, manifests=(*kept, *entries)).to_json()))


def inline(data: bytes) -> File:
    return File(Meta(0o644), Inline(data), len(data))


def _replaces(new: Descriptor, old: Descriptor) -> bool:
    name = old.annotations.get(REF_NAME)
    return name == new.annotations.get(REF_NAME) and (name is not None or old.digest == new.digest)


def read_index(folder: Path) -> Index:
    """Empty where there is none. Errors: OSError, StoreError for one that is damaged."""
    try:
        data = (folder / "index.json").read_bytes()
    except FileNotFoundError:
        return Index(manifests=())
    try:
        return Index.from_json(data[:MANIFEST_LIMIT + 1])
    except IechorError as error:
        raise StoreError(f"cannot add to the image layout {folder}: its index.json is damaged",
                         hint="name a new folder") from error


def _write(path: Path, file: File) -> None:
    part = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    source, offset = file.content.open()
    try:
        with open(source, "rb") as reader, part.open("xb") as sink:
            reader.seek(offset)
            shutil.copyfileobj(reader, sink, 1 << 20)
        part.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
