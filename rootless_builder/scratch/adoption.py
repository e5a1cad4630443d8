"""The upper folder of a finished step becomes the unpacked layer that the next step needs, by a rename.

What it has beyond the layer is the same as in the layers below (files copied up and left as they were), and so
makes no difference to who sees them together.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..oci.digest import Digest
from ..paths import decode
from ..sandbox.idmap import IdMode
from ..store import atomic
from ..values import dataclass, field
from .metadata import is_whiteout, xattr_is
from .owners import OwnerRecord, encode
from .places import Places
from .removal import discard
from .unpacked import layer_names, publish, save_facts
from .walk import Entry, walk

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedLayer:
    """below: diff_ids of the layers it lies on, the lowest first. owners: records by inode, of the upper and others.
    clamp: seconds since the epoch; no file is younger."""

    diff_id: Digest
    below: tuple[Digest, ...]
    has_root: bool
    clamp: int | None
    owners: Mapping[int, OwnerRecord]


@dataclass(slots=True)
class _Contents:
    whiteouts: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    records: dict[int, OwnerRecord] = field(default_factory=dict)
    paths: int = 0
    size: int = 0
    sockets: int = 0

    def facts(self, layer: AdoptedLayer) -> dict[str, Any]:
        return {"whiteouts": self.whiteouts, "opaque": self.opaque, "has_root": layer.has_root, "overlay_able": True,
                "sum": [self.paths, self.size]}


def adopt_upper(upper: Path, upper_fd: int, layer: AdoptedLayer, places: Places) -> bool:
    """False, and nothing done, when the upper holds what no layer can. Errors: OSError."""
    contents = _read(upper_fd, layer)
    if contents.sockets:
        return False
    part = atomic.temporary_name(places.tmp)
    os.mkdir(part, 0o700)
    try:
        if places.mode is IdMode.FAKEROOT:
            (part / "owners").write_bytes(encode(contents.records.values()))
        save_facts(part, layer.diff_id, upper_fd, contents.facts(layer))
        os.rename(upper, part / "root")
        publish(part, places.layers / layer_names(layer.diff_id, layer.below)[1])
    finally:
        discard(part, places.gone)
    return True


def _read(upper_fd: int, layer: AdoptedLayer) -> _Contents:
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
        _clamp(entry, layer.clamp)
        record = layer.owners.get(entry.status.st_ino)
        if record is not None:
            links = 1 if entry.is_folder else entry.status.st_nlink
            found.records[record.ino] = record._replace(links=links)
    if (root := layer.owners.get(os.fstat(upper_fd).st_ino)) is not None:
        found.records[root.ino] = root
    return found


def _clamp(entry: Entry, clamp: int | None) -> None:
    if clamp is not None and entry.status.st_mtime_ns > clamp * _SECOND:
        os.utime(entry.name, ns=(clamp * _SECOND, clamp * _SECOND), dir_fd=entry.folder_fd, follow_symlinks=False)
