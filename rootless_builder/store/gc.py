"""What nobody needs is removed: mark and sweep.

    roots   images (records and names) · cache records · what live leases name or wrote
    marks   manifests → configs and layers; configs → diff_ids
    sweep   blobs, tree indexes, compressed pairs without a mark; partial writes of processes that are gone

`collect` never removes what a running build or container uses (leases.py tells how), and may be killed at any
moment: every step leaves a store that is right.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import StoreError, UnsafeArchive
from ..oci.config import CONFIG_LIMIT, ImageConfig
from ..oci.digest import Digest, InvalidDigest
from ..oci.manifest import MANIFEST_LIMIT, Index, parse_manifest
from ..values import dataclass, field
from . import atomic
from .blobs import Blobs
from .buildcache import BuildCache
from .filesystem import LOCAL, file_system
from .images import Images
from .layout import REMEDY, Layout, sweep
from .leases import InUse, Leases
from .owner import abandoned

SETTLE = 3.0  # seconds in which another host of a network file system sees what was moved, and we its newest lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What counts as needed no more, besides blobs that nothing names.

    dangling: images without a name. unused: also named ones; `keep` (IDs, those of containers) are not touched.
    cache: build cache records. older_than: only images stored, and records last used, more than so many
    nanoseconds ago. cache_limit: bytes of layers that only the cache needs; the least recently used go first.
    """

    dangling: bool = False
    unused: bool = False
    cache: bool = False
    older_than: int = 0
    cache_limit: int | None = None
    keep: frozenset[Digest] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """bytes: disk space freed. blobs: how many were removed. images: (ID, names) of those removed."""

    bytes: int = 0
    blobs: int = 0
    cache_records: int = 0
    images: tuple[tuple[Digest, tuple[str, ...]], ...] = ()


@dataclass(slots=True)
class _Marks:
    blobs: set[Digest] = field(default_factory=set)
    diff_ids: set[str] = field(default_factory=set)  # hex


class Collector:
    """One run of `collect`; single-owner."""

    def __init__(self, layout: Layout, blobs: Blobs, images: Images, cache: BuildCache, leases: Leases) -> None:
        self._layout = layout
        self._blobs = blobs
        self._images = images
        self._cache = cache
        self._leases = leases

    def collect(self, policy: Policy) -> Report:
        """Errors: DiskFull, StoreError (a store that cannot be written)."""
        self._leases.close()  # our own lease must not keep what we are asked to remove
        now = self._layout.now()
        images = self._remove_images(policy, now)
        records, freed = self._remove_records(policy, now)
        freed += sweep(self._layout)
        marks = self._mark(self._leases.in_use())
        removed = 0
        moved = [digest for digest, path in list(self._all_blobs())
                 if digest not in marks.blobs and self._move_out(digest, path)]
        if moved and file_system(self._layout.root) not in LOCAL:
            time.sleep(SETTLE)
        for digest in moved:
            if (size := self._remove_blob(digest)) is not None:
                freed, removed = freed + size, removed + 1
        freed += self._empty_trash()
        freed += self._sweep_derived(marks, now)
        return Report(bytes=freed, blobs=removed, cache_records=records, images=images)

    def _remove_images(self, policy: Policy, now: int) -> tuple[tuple[Digest, tuple[str, ...]], ...]:
        used = self._leases.in_use().images
        removed = []
        for image in self._images.list():
            wanted = policy.unused or (policy.dangling and not image.names)
            young = now - image.stored < policy.older_than
            if wanted and not young and image.id not in policy.keep and image.manifest.digest not in used:
                self._images.delete(image)
                removed.append((image.id, image.names))
        return tuple(removed)

    def _remove_records(self, policy: Policy, now: int) -> tuple[int, int]:
        """(how many, bytes of their files)."""
        doomed: list[tuple[Path, int]] = []
        entries = sorted(self._cache.entries(), key=lambda entry: -entry[2])  # the last used first
        kept = 0
        seen: set[Digest] = set()
        in_images = self._mark_images().blobs if policy.cache_limit is not None else set()
        for path, record, used, size in entries:
            if record.diff_id is not None and record.diff_id not in seen | in_images:
                seen.add(record.diff_id)
                kept += record.size
            over = policy.cache_limit is not None and kept > policy.cache_limit
            if (policy.cache or over) and now - used >= policy.older_than:
                doomed.append((path, size))
        with atomic.explained("prune the build cache", self._layout.cache, remedy=REMEDY):
            return (sum(atomic.remove(path) for path, _ in doomed), sum(size for _, size in doomed))

    def _mark(self, in_use: InUse) -> _Marks:
        marks = self._mark_images()
        for _, record, _, _ in self._cache.entries():
            if record.diff_id is not None:
                marks.blobs.add(record.diff_id)
                marks.diff_ids.add(record.diff_id.hex)
        marks.blobs |= in_use.blobs
        marks.diff_ids |= {digest.hex for digest in in_use.blobs}
        for digest in in_use.images:
            self._mark_manifest(digest, marks)
        return marks

    def _mark_images(self) -> _Marks:
        marks = _Marks()
        for image in self._images.list():
            self._mark_manifest(image.manifest.digest, marks)
        for manifest in self._images.names.all().values():
            self._mark_manifest(manifest.digest, marks)
        return marks

    def _mark_manifest(self, digest: Digest, marks: _Marks) -> None:
        """An image whose manifest or config is damaged keeps what can still be read of it."""
        if digest in marks.blobs:
            return
        marks.blobs.add(digest)
        with contextlib.suppress(StoreError, UnsafeArchive):
            manifest = parse_manifest(self._blobs.read(digest, MANIFEST_LIMIT), None)
            if isinstance(manifest, Index):
                for child in manifest.manifests:
                    self._mark_manifest(child.digest, marks)
                return
            marks.blobs.add(manifest.config.digest)
            marks.blobs.update(layer.digest for layer in manifest.layers)
            config = ImageConfig.from_json(self._blobs.read(manifest.config.digest, CONFIG_LIMIT))
            marks.diff_ids.update(diff_id.hex for diff_id in config.rootfs_diff_ids)

    def _all_blobs(self) -> Iterator[tuple[Digest, Path]]:
        with contextlib.suppress(FileNotFoundError):
            for algorithm in self._layout.blobs.iterdir():
                for path in algorithm.iterdir():
                    with contextlib.suppress(InvalidDigest):
                        yield Digest(algorithm.name, path.name), path

    def _move_out(self, digest: Digest, path: Path) -> bool:
        """Out of reach, but for those who look in trash/ and take it back. Whether it was there and nobody used it."""
        with atomic.explained("remove a blob", path, remedy=REMEDY), contextlib.suppress(FileNotFoundError):
            if not self._used(digest, path.stat().st_mtime_ns, self._leases.in_use()):
                atomic.move(path, self._trash(digest))
                return True
        return False

    def _remove_blob(self, digest: Digest) -> int | None:
        """Bytes freed; None when it is in use after all. The leases are read again, now that it is out of reach."""
        trash, path = self._trash(digest), self._layout.blob(digest)
        with atomic.explained("remove a blob", path, remedy=REMEDY):
            try:
                status = trash.stat()
                if self._used(digest, status.st_mtime_ns, self._leases.in_use()):
                    atomic.move(trash, path)
                    return None
                os.unlink(trash)
                return status.st_blocks * 512
            except FileNotFoundError:  # somebody took it back, or removed it as we do
                return None

    def _trash(self, digest: Digest) -> Path:
        return self._layout.trash / f"{digest.algorithm}-{digest.hex}"

    @staticmethod
    def _used(digest: Digest, modified: int, in_use: InUse) -> bool:
        return digest in in_use.blobs or (in_use.since is not None and modified >= in_use.since)

    def _empty_trash(self) -> int:
        """What a sweeper that was killed left there. A blob that is needed after all goes back."""
        freed = 0
        marks: _Marks | None = None
        for name in _listed(self._layout.trash):
            with contextlib.suppress(FileNotFoundError, ValueError):
                digest = Digest(*name.split("-", 1))
                marks = marks or self._mark(self._leases.in_use())
                status = (self._layout.trash / name).stat()
                if digest in marks.blobs or self._used(digest, status.st_mtime_ns, self._leases.in_use()):
                    atomic.move(self._layout.trash / name, self._layout.blob(digest))
                elif atomic.remove(self._layout.trash / name):
                    freed += status.st_blocks * 512
        return freed

    def _sweep_derived(self, marks: _Marks, now: int) -> int:
        """Tree indexes, compressed pairs and inflated tars of layers that are gone. All of it can be made again."""
        since = self._leases.in_use().since
        shards = [self._layout.trees / shard for shard in _listed(self._layout.trees)]
        freed = 0
        for folder in (*shards, self._layout.compressed, self._layout.own / "tars"):
            for name in _listed(folder):
                with contextlib.suppress(OSError):
                    status = (folder / name).stat()
                    in_use = since is not None and status.st_mtime_ns >= since
                    if name.startswith("part."):  # half inflated
                        in_use = not abandoned(name, now - status.st_mtime_ns)
                    if name.partition(".")[0] not in marks.diff_ids and not in_use:
                        freed += status.st_blocks * 512
                        atomic.remove(folder / name)
        return freed


def _listed(folder: Path) -> Iterable[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return ()
