"""The upper folder of a finished step becomes the unpacked layer that the next step needs, by a rename.

    upper/ ──adopt_upper──▶ tmp/TOKEN/root, a lower already ──publish, once its digest is known──▶ layers/ID/root

What it has beyond the layer is the same as in the layers below (files copied up and left as they were), and so
makes no difference to who sees them together.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..oci.digest import Digest
from ..paths import decode
from ..sandbox.idmap import IdMode
from ..store import atomic
from ..values import dataclass, field
from .metadata import is_whiteout, xattr_is
from .owners import OwnerRecord, encode
from .places import REMEDY, Places
from .removal import discard
from .unpacked import FORMER, UnpackedLayer, layer_names, publish, save_facts
from .walk import FOLDER, Entry, walk

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a step has left in its upper folder. owners: records by inode, of the upper and others. clamp: seconds since
    the epoch; no file is younger."""

    has_root: bool
    clamp: int | None
    owners: Mapping[int, OwnerRecord]


@dataclass(slots=True, kw_only=True)
class AdoptedLayer:
    """An unpacked layer that may have no name yet. folder: where it lies now. Single-owner; whoever has opened it may
    use it until it is discarded."""

    folder: Path
    facts: dict[str, Any]
    places: Places

    def open(self) -> UnpackedLayer:
        """As a lower; the caller closes it. Errors: OSError."""
        return UnpackedLayer(
            folder=self.folder, root_fd=os.open(self.folder / "root", FOLDER), overlay_able=True,
            whiteouts=frozenset(self.facts["whiteouts"]), opaque=frozenset(self.facts["opaque"]),
            has_root=self.facts["has_root"], ids=self.places.mode)

    @property
    def name(self) -> str:
        """By which `Scratch.prune` is told that it is in use, before and after it has a name of its own."""
        return str(self.facts[FORMER])

    def publish(self, diff_id: Digest, below: Sequence[Digest]) -> None:
        """Under its name among the unpacked layers, unless there is one already, which then is as good. below: diff_ids
        of the layers it lies on, the lowest first. Errors: DiskFull, StoreError."""
        target = self.places.layers / layer_names(diff_id, below)[1]
        with atomic.explained("keep what the step changed", self.folder, remedy=REMEDY):
            root_fd = os.open(self.folder / "root", FOLDER)
            try:
                save_facts(self.folder, diff_id, root_fd, self.facts)
            finally:
                os.close(root_fd)
            if publish(self.folder, target):
                self.folder = target

    def discard(self) -> None:
        """What has no name goes. Errors: DiskFull, StoreError."""
        if self.folder.parent == self.places.tmp:
            with atomic.explained("remove what the step changed", self.folder, remedy=REMEDY):
                discard(self.folder, self.places.gone)


@dataclass(slots=True)
class _Contents:
    whiteouts: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    records: dict[int, OwnerRecord] = field(default_factory=dict)
    paths: int = 0
    size: int = 0
    sockets: int = 0


def adopt_upper(upper: Path, upper_fd: int, left: Finished, places: Places) -> AdoptedLayer | None:
    """None, and nothing done, when the upper holds what no layer can. Errors: OSError."""
    contents = _read(upper_fd, left)
    if contents.sockets:
        return None
    part = atomic.temporary_name(places.tmp)
    os.mkdir(part, 0o700)
    try:
        if places.mode is IdMode.FAKEROOT:
            (part / "owners").write_bytes(encode(contents.records.values()))
        os.rename(upper, part / "root")
    except BaseException:
        discard(part, places.gone)
        raise
    return AdoptedLayer(folder=part, places=places, facts={
        "whiteouts": contents.whiteouts, "opaque": contents.opaque, "has_root": left.has_root, "overlay_able": True,
        "sum": [contents.paths, contents.size], FORMER: part.name})


def _read(upper_fd: int, left: Finished) -> _Contents:
    found = _Contents()
    for entry in walk(upper_fd):
        found.paths += 1
        found.size += 0 if entry.is_folder else entry.status.st_size
        if is_whiteout(entry):
            found.whiteouts.append(decode(entry.path))
            continue
        found.sockets += stat.S_ISSOCK(entry.status.st_mode)
        if entry.is_folder and xattr_is(entry, "opaque", b"y"):
            found.opaque.append(decode(entry.path))
        _clamp(entry, left.clamp)
        record = left.owners.get(entry.status.st_ino)
        if record is not None:
            links = 1 if entry.is_folder else entry.status.st_nlink
            found.records[record.ino] = record._replace(links=links)
    if (root := left.owners.get(os.fstat(upper_fd).st_ino)) is not None:
        found.records[root.ino] = root
    return found


def _clamp(entry: Entry, clamp: int | None) -> None:
    if clamp is not None and entry.status.st_mtime_ns > clamp * _SECOND:
        os.utime(entry.name, ns=(clamp * _SECOND, clamp * _SECOND), dir_fd=entry.folder_fd, follow_symlinks=False)
