"""Layers unpacked once for each id mode, and kept until somebody needs the space.

    layers/ID/root/        what the layer has, a lower of overlays
    layers/ID/layer.json   which layer, what it hides, and by what to see that nobody touched it
    layers/ID/owners       what the disk cannot hold (owners.py); fakeroot mode

ID is the layer's diff_id, cut short, or that and a digest of the layers below, when the layer leaves out folders
that only those have. Unpacked in tmp/ and renamed: of two that unpack at once, the second finds it there.
"""

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import processes
from ..errors import StoreError
from ..oci.digest import Digest
from ..sandbox.idmap import IdMode
from ..store import atomic
from ..store.images import LayerRef
from ..store.store import Store
from ..tree.node import File, Symlink
from ..values import dataclass, field
from .layerplan import LayerPlan, plan_layer
from .lowers import Lowers
from .owners import OwnerTable, decode, encode
from .places import REMEDY, Places
from .removal import discard
from .walk import FOLDER, walk

_ATTEMPTS = 3
FORMER = "former"  # in layer.json: the name it was used under before it had its own (adoption.py)


@dataclass(frozen=True, kw_only=True)
class UnpackedLayer:
    """A layer on disk, held open: it can be read even if somebody removes its names. A Lower (lowers.py).

    has_root: the layer says what the root folder itself is like. overlay_able: all of it is told in overlayfs's way.
    """

    folder: Path
    root_fd: int
    whiteouts: frozenset[str]
    opaque: frozenset[str]
    has_root: bool
    overlay_able: bool
    ids: IdMode

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @cached_property
    def owners(self) -> OwnerTable:
        """Errors: StoreError."""
        return decode((self.folder / "owners").read_bytes()) if self.ids is IdMode.FAKEROOT else OwnerTable()

    def close(self) -> None:
        os.close(self.root_fd)


@dataclass(slots=True)
class Unpacker:
    """locks: by a layer's name, of all unpackers of this process: two that want one layer make it once."""

    places: Places
    store: Store
    locks: dict[str, threading.Lock] = field(default_factory=dict)
    _chain: list[Digest] = field(default_factory=list)

    def unpack(self, layers: Sequence[LayerRef]) -> tuple[UnpackedLayer, ...]:
        """All layers (the lowest first), unpacked now or earlier → the topmost first. The caller closes them.

        Errors: DiskFull, StoreError, UnsafeArchive, OwnershipError.
        """
        done: list[UnpackedLayer] = []
        try:
            for layer in layers:
                with atomic.explained("unpack a layer", self.places.layers, remedy=REMEDY):
                    done.insert(0, self._one(layer, tuple(done)))
                self._chain.append(layer.diff_id)
            return tuple(done)
        except BaseException:
            for unpacked in done:
                unpacked.close()
            raise

    def _one(self, layer: LayerRef, below: tuple[UnpackedLayer, ...]) -> UnpackedLayer:
        alone, chained = (self.places.layers / name for name in layer_names(layer.diff_id, self._chain))
        with self.locks.setdefault(alone.name, threading.Lock()):
            for _ in range(_ATTEMPTS):
                for folder in (alone, chained):
                    found = open_unpacked(folder, layer.diff_id, self.places)
                    if found is not None:
                        return found
                self._make(layer, Lowers(self.places.mode, below), alone, chained)
        raise StoreError(f"cannot unpack the layer {layer.diff_id}: it is removed again and again",
                         hint="wait for the `iechor prune` that is running")

    def _make(self, layer: LayerRef, lowers: Lowers, alone: Path, chained: Path) -> None:
        from .unpack import LayerWriter

        part = atomic.temporary_name(self.places.tmp)
        try:
            os.mkdir(part, 0o700)
            os.mkdir(part / "root", 0o700)
            plan = plan_layer(self.store.trees.changes(layer), lowers)
            root_fd = os.open(part / "root", FOLDER)
            try:
                writer = LayerWriter(root_fd, self.places.mode, plan)
                with self.store.trees.stream(layer) as stream:
                    writer.write(stream)
                save_facts(part, layer.diff_id, root_fd, {
                    "whiteouts": sorted(plan.whiteouts), "opaque": sorted(plan.opaque), "has_root": plan.has_root,
                    "overlay_able": writer.overlay_able, "sum": _expected(plan)})
            finally:
                os.close(root_fd)
            if self.places.mode is IdMode.FAKEROOT:
                (part / "owners").write_bytes(encode(writer.owners))
            publish(part, chained if plan.depends else alone)
        finally:
            discard(part, self.places.gone)


def open_unpacked(folder: Path, diff_id: Digest, places: Places) -> UnpackedLayer | None:
    """None when it is not there, or is not what it was (a copy, a crash, a stranger's hand): then it is removed."""
    try:
        facts = json.loads((folder / "layer.json").read_bytes())
        root_fd = os.open(folder / "root", FOLDER)
    except FileNotFoundError:
        return None
    except ValueError:
        discard(folder, places.gone)
        return None
    if facts.get("diff_id") != str(diff_id) or not _intact(folder, facts, root_fd):
        os.close(root_fd)
        discard(folder, places.gone)
        return None
    return UnpackedLayer(
        folder=folder, root_fd=root_fd, whiteouts=frozenset(facts["whiteouts"]),
        opaque=frozenset(facts["opaque"]), has_root=bool(facts["has_root"]),
        overlay_able=bool(facts["overlay_able"]), ids=places.mode)


def _intact(folder: Path, facts: dict[str, Any], root_fd: int) -> bool:
    """A copied folder has other inodes than its owner table says. After a crash files may be there without bytes."""
    if facts.get("ino") != os.fstat(root_fd).st_ino:
        return False
    if facts.get("boot") == processes.boot() != "":
        return True
    if sum_of(root_fd) != facts.get("sum"):
        return False
    fresh = folder / f"layer.json.{os.getpid()}"
    fresh.write_text(json.dumps(facts | {"boot": processes.boot()}))
    os.rename(fresh, folder / "layer.json")
    return True


def _expected(plan: LayerPlan) -> list[int]:
    """What `sum_of` finds in a layer unpacked by this plan."""
    size = 0
    for node in plan.nodes.values():
        if isinstance(node, File):
            size += node.size
        elif isinstance(node, Symlink):
            size += len(os.fsencode(node.target))
    return [len(plan.folders) - 1 + len(plan.nodes) + len(plan.whiteouts), size]


def sum_of(root_fd: int) -> list[int]:
    """[paths, bytes of files] below."""
    count = size = 0
    for entry in walk(root_fd):
        count += 1
        size += 0 if entry.is_folder else entry.status.st_size
    return [count, size]


def save_facts(folder: Path, diff_id: Digest, root_fd: int, facts: dict[str, Any]) -> None:
    """layer.json. facts: whiteouts, opaque, has_root, overlay_able, and the sum ([paths, bytes]) of what is below."""
    seal = {"diff_id": str(diff_id), "ino": os.fstat(root_fd).st_ino, "boot": processes.boot()}
    (folder / "layer.json").write_text(json.dumps(facts | seal))


def publish(part: Path, target: Path) -> bool:
    """An unpacked layer under its name; False: somebody was faster, and theirs is as good as ours. Errors: OSError."""
    try:
        os.rename(part, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def former_name(folder: Path) -> str:
    """Under which a RUN may use this layer that began before it was named; "" for none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return str(json.loads((folder / "layer.json").read_bytes()).get(FORMER, ""))
    return ""


def names_of(layers: Sequence[LayerRef]) -> list[str]:
    """Every name below layers/ under which one of these may lie."""
    diff_ids = [layer.diff_id for layer in layers]
    return [name for number, diff_id in enumerate(diff_ids) for name in layer_names(diff_id, diff_ids[:number])]


def layer_names(diff_id: Digest, below: Sequence[Digest]) -> tuple[str, str]:
    """Names below layers/: alone, and for this chain of layers (the lowest first)."""
    alone = diff_id.hex[:32]
    return alone, f"{alone}-{_chain_digest(below)}"


def _chain_digest(chain: Sequence[Digest]) -> str:
    return hashlib.sha256("\n".join(map(str, chain)).encode()).hexdigest()[:16]
