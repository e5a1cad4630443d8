"""A root file system for one RUN or one container: made from layers, given to the sandbox, read back.

    FOLDER/          SCRATCH/MODE/run/TOKEN or SCRATCH/containers/ID/rootfs
    ├── lowers.json  the unpacked layers in use: `Scratch.prune` leaves them alone
    ├── root/        the mount point of the overlay, or the tree itself where none can be mounted
    ├── upper/ work/ of the overlay
    ├── top/         topmost lower of a read-only overlay: the root folder's metadata
    └── owners       owner table of all layers, for the fakeroot supervisor
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import StoreError
from ..paths import ROOT, ImagePath, image_path
from ..sandbox.idmap import IdMap, IdMode
from ..sandbox.mounts import KernelOverlay, Mount
from ..sandbox.spec import FakerootSpec
from ..store import atomic
from ..tree.changes import ChangeSet, Put
from ..tree.node import Directory
from ..tree.tree import IMPLIED
from ..values import dataclass, field
from .lowers import Lowers
from .metadata import DiskReader, Target, apply
from .owners import OwnerRecord, OwnerTable, decode, encode, joined
from .places import REMEDY, Places, in_first_namespace
from .removal import Remover, discard
from .unpacked import UnpackedLayer
from .walk import FOLDER, Entry

if TYPE_CHECKING:
    from .adoption import AdoptedLayer
    from .checkout import CheckOut


@dataclass(kw_only=True)
class Rootfs:
    """Context manager: its folder is removed at the end, unless `keep` is called. Single-owner.

    overlay: what to mount on `root`, None where the tree is checked out into it. owner_table: what the fakeroot
    supervisor starts from, None in the other id modes. dev: st_dev of the scratch file system.
    """

    folder: Path
    places: Places
    layers: tuple[UnpackedLayer, ...]
    overlay: KernelOverlay | None = None
    owner_table: Path | None = None
    dev: int = 0
    _root: Directory = field(default_factory=lambda: Directory(IMPLIED))
    _check_out: "CheckOut | None" = None
    _changed_fd: int = -1
    _owners: Mapping[int, OwnerRecord] = field(default_factory=dict)
    _made: frozenset[str] = frozenset()
    _tells_root: bool = False
    _kept: bool = False
    _remover: Remover | None = None

    @property
    def root(self) -> Path:
        """What becomes "/"."""
        return self.folder / "root"

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What the sandbox mounts first, on `root`."""
        return () if self.overlay is None else (self.overlay,)

    @property
    def ids(self) -> IdMap | None:
        """The user namespace that fits the owners on this disk."""
        if self.places.mode is IdMode.FAKEROOT:
            return IdMap.single(os.getuid(), os.getgid())
        return IdMap.nested() if self.places.mode is IdMode.SUBUID else None

    @property
    def fakeroot(self) -> FakerootSpec | None:
        """For the supervisor, which the other id modes do not need."""
        if self.places.mode is not IdMode.FAKEROOT:
            return None
        return FakerootSpec(table=str(self.owner_table or ""))

    @property
    def directory(self) -> Path | None:
        """The checked-out tree, None with an overlay."""
        return None if self.overlay is not None else self.root

    def changes(self, final_table: bytes | None = None, created: Sequence[str] = ()) -> ChangeSet:
        """What the sandbox left changed. Contents are read from this root file system: use them before it ends.

        final_table: as the supervisor handed it back (fakeroot mode; None: nothing of it changed). created: mount
        points that were made. Errors: StoreError, DiskFull, OwnershipError.
        """
        from .comparing import Original
        from .upper import upper_changes

        if final_table is not None:
            self._owners = decode(final_table)
        self._made = frozenset(image_path(path) for path in created)
        original = Original(Lowers(self.places.mode, self.layers), self._made)
        with atomic.explained("read what the step changed", self.folder, remedy=REMEDY):
            if self._check_out is not None:
                return self._check_out.changes(original, self._owners, self._root)
            found = upper_changes(self._changed_fd, original, self.places.mode, self._owners, self._root)
        self._tells_root = any(isinstance(change, Put) and change.path == ROOT for change in found)
        return found

    def adopt(self, *, clamp: int | None = None) -> "AdoptedLayer | None":
        """Makes what the step changed an unpacked layer as it stands, so that the next step need not unpack it.

        To be called after `changes`, when the sandbox is gone; contents can be read until the root file system ends,
        as before. clamp: as the layer is written. None: it cannot be done, and the layer is unpacked like any other.
        Errors: DiskFull, StoreError.
        """
        if self.overlay is None or self.overlay.upper is None or self._made:
            return None
        from .adoption import Finished, adopt_upper

        with atomic.explained("keep what the step changed", self.folder, remedy=REMEDY):
            left = Finished(has_root=self._tells_root, clamp=clamp, owners=self._owners)
            return adopt_upper(Path(self.overlay.upper), self._changed_fd, left, self.places)

    def keep(self) -> None:
        """The folder stays when this object ends: a container goes on using it."""
        self._kept = True

    def close(self) -> None:
        """Errors: StoreError when the folder cannot be removed."""
        for layer in self.layers:
            layer.close()
        self.layers = ()
        if self._changed_fd >= 0:
            os.close(self._changed_fd)
            self._changed_fd = -1
        if not self._kept:
            with atomic.explained("remove a root file system", self.folder, remedy=REMEDY):
                discard(self.folder, self.places.gone, self._remover)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            with contextlib.suppress(StoreError, OSError):
                self.close()


def make_overlay(rootfs: Rootfs, *, writable: bool, stubs: bool = True, volatile: bool = False) -> None:
    """Upper, work and mount point. stubs: with the mount points of a container. volatile: what is written need not
    outlive a crash of the machine; else the kernel, when it unmounts, waits until the whole disk has been synced.

    Errors: OSError, OwnershipError."""
    folder, ids = rootfs.folder, rootfs.places.mode
    records = _prepare(rootfs)
    top = folder / ("upper" if writable else "top")
    for path in (rootfs.root, top, folder / "work") if writable else (rootfs.root, top):
        os.mkdir(path, 0o700)
    rootfs._changed_fd = os.open(top, FOLDER)
    record = apply(Target(folder_fd=rootfs._changed_fd, name=b".", path=""), rootfs._root, ids)
    if record is not None:
        records.put(record)
    visible = Lowers(ids, rootfs.layers).visible()
    lowers = tuple(str(layer.folder / "root") for layer in rootfs.layers[: len(visible)])
    # The mount point itself is empty, and there may be no layer at all.
    lowers += (str(rootfs.places.stubs if stubs else rootfs.root),)
    rootfs.overlay = KernelOverlay(
        lowers=lowers if writable else (str(top), *lowers), upper=str(top) if writable else None,
        work=str(folder / "work") if writable else None, volatile=volatile and writable,
        userxattr=ids is not IdMode.HOST or not in_first_namespace())
    _finish(rootfs, records, records.packed())


def make_check_out(rootfs: Rootfs, *, stubs: bool = True) -> None:
    """Errors: OSError, OwnershipError."""
    from .checkout import CheckOut

    _prepare(rootfs)
    os.mkdir(rootfs.root, 0o700)
    rootfs._changed_fd = os.open(rootfs.root, FOLDER)
    check_out = CheckOut(rootfs._changed_fd, rootfs.places.tmp, rootfs.places.mode)
    made: dict[str, bool] = {**dict.fromkeys(STUBS, True), **dict.fromkeys(STUB_FILES, False)} if stubs else {}
    check_out.make(rootfs.layers, made)
    target = Target(folder_fd=rootfs._changed_fd, name=b".", path="")
    record = apply(target, rootfs._root, rootfs.places.mode)
    if record is not None:
        check_out.owners[record.ino] = record
    rootfs._check_out = check_out
    _finish(rootfs, check_out.owners, encode(check_out.owners.values()))


def _prepare(rootfs: Rootfs) -> OwnerTable:
    """The root folder as the topmost layer that speaks of it has it; the records of all layers."""
    speaker = next((layer for layer in rootfs.layers if layer.has_root), None)
    if speaker is not None:
        reader = DiskReader(rootfs.places.mode, speaker.owners, speaker.root_fd)
        node = reader.node(Entry(b"", speaker.root_fd, b".", os.fstat(speaker.root_fd)))
        if isinstance(node, Directory):
            rootfs._root = node
    return joined(layer.owners for layer in rootfs.layers)


def _finish(rootfs: Rootfs, records: Mapping[int, OwnerRecord], packed: bytes) -> None:
    rootfs.dev = os.fstat(rootfs._changed_fd).st_dev
    rootfs._owners = records
    if rootfs.places.mode is IdMode.FAKEROOT:
        rootfs.owner_table = rootfs.folder / "owners"
        rootfs.owner_table.write_bytes(packed)


STUBS = (ImagePath("proc"), ImagePath("sys"), ImagePath("dev"), ImagePath("etc"))
STUB_FILES = (ImagePath("etc/resolv.conf"), ImagePath("etc/hosts"))


def make_stubs(places: Places) -> None:
    """The lowest lower: mount points that every container needs, so that mounting leaves nothing in the upper.

    Errors: OSError.
    """
    if places.stubs.is_dir():
        return
    part = atomic.temporary_name(places.tmp)
    os.mkdir(part, 0o755)
    for path in STUBS:
        os.mkdir(part / path, 0o755)
    for path in STUB_FILES:
        os.close(atomic.create(part / path))
    for path in STUB_FILES:
        os.chmod(part / path, 0o644)
    for path in (*STUB_FILES, *STUBS, ROOT):
        if path not in STUB_FILES:
            os.chmod(part / path, 0o755)
        os.utime(part / path, ns=(0, 0))
    try:
        os.rename(part, places.stubs)
    except OSError:
        if not places.stubs.is_dir():
            raise
        discard(part, places.gone)
