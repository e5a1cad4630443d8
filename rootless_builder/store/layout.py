"""Every path of a store, and its format.

    STORE/                    0700; all of it files and folders of the user, nothing else
    ├── oci-layout            the folder *is* an OCI image layout (image-layout.md): skopeo and umoci read it
    ├── index.json            every image under its names; derived from images/ and refs/, rewritten whole
    ├── blobs/sha256/HEX      manifests, configs, layers
    ├── format                "iechor-store 1"
    ├── refs/NAME             JSON: the reference and the descriptor of its manifest; one file for each name
    ├── images/HEX            JSON: a manifest that is an image here, with or without a name
    ├── cache/XX/KEY          JSON: StepRecord of a build step
    ├── cache/inputs/XX/…     JSON: what a step was made from the last time (to explain a miss)
    ├── trees/XX/HEX          packed index of a layer, by diff_id
    ├── compressed/…          JSON: descriptor of a layer as it is compressed on the way out
    ├── leases/TOKEN          what a running process uses; one file for each process
    ├── claims/KEY            which process makes a step now (claims.py)
    ├── trash/                blobs that are being removed: a user who comes late takes them back
    └── tmp/                  partial writes; the name tells whose

A store that is shared with a group (sharing.py) has 02770 instead; cache/, trees/, compressed/ and claims/, whose files
nobody can verify, are in a folder of each user's own then.

Format 1. A store of a later format is refused; an older one is read as it is.
"""

import contextlib
import json
import os
from pathlib import Path

from ..errors import StoreError
from ..oci.digest import Digest
from ..oci.manifest import LAYOUT
from ..values import dataclass, field
from . import atomic, sharing
from .owner import Owner, abandoned
from .seen import Seen

FORMAT = 1
REMEDY = "free space there (`iechor prune --all` removes what no image needs), or set IECHOR_HOME to a larger disk"
PARTIAL = "partial."  # a download that can be resumed (blobwriter.py)
_PREFIX = "iechor-store "
_OURS = frozenset({"oci-layout", "index.json", "blobs", "format", "refs", "images", "cache", "trees", "compressed",
                   "leases", "claims", "trash", "tmp", "tars"})
# What file systems put anywhere themselves: for files that were removed while they were open, for instance.
_FILE_SYSTEMS = (".nfs", ".fuse_hidden", ".snapshot", "lost+found")
_EMPTY_INDEX = b'{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}'


@dataclass(frozen=True, slots=True)
class Layout:
    """private: where this user keeps what is not shared, of a shared store; None: in `root`. seen: what was read."""

    root: Path
    private: Path | None = None
    seen: Seen = field(default_factory=Seen, compare=False, repr=False)

    @property
    def own(self) -> Path:
        return self.private or self.root

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def index(self) -> Path:
        return self.root / "index.json"

    @property
    def marker(self) -> Path:
        return self.root / "oci-layout"

    @property
    def refs(self) -> Path:
        return self.root / "refs"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def cache(self) -> Path:
        return self.own / "cache"

    @property
    def inputs(self) -> Path:
        return self.cache / "inputs"

    @property
    def trees(self) -> Path:
        return self.own / "trees"

    @property
    def compressed(self) -> Path:
        return self.own / "compressed"

    @property
    def leases(self) -> Path:
        return self.root / "leases"

    @property
    def claims(self) -> Path:
        return self.own / "claims"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    def blob(self, digest: Digest) -> Path:
        return self.blobs / digest.algorithm / digest.hex

    def tree(self, diff_id: Digest) -> Path:
        return self.trees / diff_id.hex[:2] / diff_id.hex

    def write(self, target: Path, data: bytes, doing: str, *, durable: bool = False) -> None:
        """A small file, atomically. Errors: DiskFull, StoreError."""
        with atomic.explained(doing, target, remedy=REMEDY):
            tmp = self.tmp if self.private is None or self.root in target.parents else self.private / "tmp"
            atomic.write_file(target, data, tmp=tmp, durable=durable)

    def now(self) -> int:
        """Nanoseconds by the store's own clock. Errors: DiskFull, StoreError."""
        with atomic.explained("write to the store", self.tmp, remedy=REMEDY):
            return atomic.now(self.tmp)


def open_layout(root: Path, *, create: bool, private: Path | None = None) -> Layout:
    """private: the store is shared, or becomes so. Errors: StoreError (not a store, of a later format, unwritable, open
    to others without being shared), DiskFull.
    """
    layout = Layout(Path(os.path.abspath(root)), private)
    if _format(layout) is None:
        if not create:
            raise StoreError(f"cannot open the store {root}: there is none",
                             hint="build or pull an image first, or set IECHOR_HOME to the folder of a store")
        with atomic.explained("make the store", layout.root, remedy=REMEDY):
            _make(layout)
    sharing.check(layout.root, shared=private is not None)
    return layout


def _format(layout: Layout) -> int | None:
    """The format of the store, None where there is no store."""
    path = layout.root / "format"
    try:
        text = path.read_text("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise atomic.disk_error(error, "open the store", path, remedy=REMEDY) from error
    number = text.removeprefix(_PREFIX).strip()
    if not text.startswith(_PREFIX) or not number.isascii() or not number.isdigit():
        raise StoreError(f"cannot open the store {layout.root}: its file `format` is damaged",
                         hint=f'if it is a store of iechor, write "{_PREFIX}{FORMAT}" into it; '
                              "if not, set IECHOR_HOME to another folder")
    if int(number) > FORMAT:
        raise StoreError(f"cannot open the store {layout.root}: it has format {number}, "
                         f"and this iechor reads formats up to {FORMAT}",
                         hint="update iechor, or set IECHOR_HOME to another folder")
    return int(number)


def _make(layout: Layout) -> None:
    """A new store in an absent or empty folder. Two processes may do so at once; `format` is written last."""
    atomic.make_folder(layout.root)
    _refuse_foreign(layout)
    if layout.private:
        sharing.open_to_group(layout.root)
    for folder in (layout.blobs / "sha256", layout.tmp, layout.refs, layout.images, layout.cache, layout.trees,
                   layout.compressed, layout.leases, layout.trash):
        atomic.make_folder(folder)
    mark(layout)
    if not layout.index.exists():
        atomic.write_file(layout.index, _EMPTY_INDEX, tmp=layout.tmp)
    atomic.write_file(layout.root / "format", f"{_PREFIX}{FORMAT}\n".encode(), tmp=layout.tmp, durable=True)


def mark(layout: Layout) -> None:
    """Other programs see by it that the folder is an OCI image layout. Errors: OSError."""
    atomic.write_file(layout.marker, LAYOUT, tmp=layout.tmp)


def is_marked(layout: Layout) -> bool:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return bool(json.loads(layout.marker.read_bytes())["imageLayoutVersion"] == "1.0.0")
    return False


def _refuse_foreign(layout: Layout) -> None:
    """Nobody's home folder becomes a store by a mistyped variable, and no other tool's layout loses its names."""
    foreign = sorted(name for name in set(os.listdir(layout.root)) - _OURS if not name.startswith(_FILE_SYSTEMS))
    if foreign:
        raise StoreError(f"cannot make a store in {layout.root}: it holds other files ({foreign[0]})",
                         hint="set IECHOR_HOME to a folder that is empty or does not exist")
    with contextlib.suppress(FileNotFoundError, ValueError):
        if json.loads(layout.index.read_bytes()).get("manifests") and _format(layout) is None:
            raise StoreError(f"cannot make a store in {layout.root}: it is an OCI image layout of another tool",
                             hint=f"set IECHOR_HOME to another folder and load it: iechor load -i {layout.root}")


def sweep_dead(layout: Layout) -> None:
    """Removes what killed processes of this machine left, but for downloads that can be resumed (until prune).

    Called by each command that opens the store, so it asks no clock and reads no file. Errors: none.
    """
    for folder in {layout.tmp, layout.leases, layout.own / "tmp"}:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                owner = None if name.startswith(PARTIAL) else Owner.find(name)
                if owner is not None and owner.alive() is False:
                    atomic.remove(folder / name)
    with contextlib.suppress(OSError):
        for name in os.listdir(layout.claims):
            owner = Owner.find(os.readlink(layout.claims / name))
            if owner is None or owner.alive() is False:
                atomic.remove(layout.claims / name)


def sweep(layout: Layout) -> int:
    """Removes what processes that are gone left in tmp/; the bytes freed. Errors: DiskFull, StoreError."""
    freed, now = 0, layout.now()
    with atomic.explained("sweep the store", layout.tmp, remedy=REMEDY):
        for entry in os.scandir(layout.tmp):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if abandoned(entry.name, now - status.st_mtime_ns) and atomic.remove(layout.tmp / entry.name):
                    freed += status.st_blocks * 512
    return freed
