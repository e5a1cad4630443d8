"""What nobody needs is removed: mark and sweep.

    roots   images (records and names) · cache records · what live leases name or wrote
    marks   manifests → configs and layers; configs → diff_ids
    sweep   blobs without a mark are moved out of reach; once nobody can believe in them any more (at once, but minutes
            on a network file system) all is marked again: they go, or come back
            tree indexes, compressed pairs without a mark; partial writes of processes that are gone

`collect` never removes what a running build or container uses (leases.py and decision 0043 tell why), and may be
killed at any moment: every step leaves a store that is right.
"""

import contextlib
import os
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
from .filesystem import stale_for
from .images import Images
from .layout import REMEDY, Layout, sweep
from .leases import Leases
from .owner import abandoned
from .trash import Leaving, Trash

SECOND = 10**9  # nanoseconds


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
    """bytes: disk space freed. blobs: how many were removed. images: (ID, names) of those removed.

    waiting: bytes of blobs that a later `collect` removes, `wait` seconds from now or later.
    """

    bytes: int = 0
    blobs: int = 0
    cache_records: int = 0
    images: tuple[tuple[Digest, tuple[str, ...]], ...] = ()
    waiting: int = 0
    wait: float = 0.0


@dataclass(slots=True)
class _Marks:
    blobs: set[Digest] = field(default_factory=set)
    diff_ids: set[str] = field(default_factory=set)  # hex
    since: int | None = None  # ns: what was written at or after it is in use

    def keep(self, digest: Digest, modified: int) -> bool:
        return digest in self.blobs or (self.since is not None and modified >= self.since)


@dataclass(slots=True)
class _Swept:
    """bytes, blobs: what is gone. waiting: bytes of what is not yet. last: ns, when the youngest of it was moved."""

    bytes: int = 0
    blobs: int = 0
    waiting: int = 0
    last: int = 0


class Collector:
    """One run of `collect`; single-owner."""

    def __init__(self, layout: Layout, blobs: Blobs, images: Images, cache: BuildCache, leases: Leases) -> None:
        self._layout = layout
        self._blobs = blobs
        self._images = images
        self._cache = cache
        self._leases = leases
        self._trash = Trash(layout)
        self._settle = 2 * stale_for(layout.root) * SECOND

    def collect(self, policy: Policy) -> Report:
        """Errors: DiskFull, StoreError (a store that cannot be written)."""
        self._leases.close()  # our own lease must not keep what we are asked to remove
        now = self._layout.now()
        images = self._remove_images(policy, now)
        records, freed = self._remove_records(policy, now)
        freed += sweep(self._layout)
        there = list(self._all_blobs())  # listed before anything is marked: what comes later is none of ours
        marks = self._mark()
        self._move_out(there, marks, now)
        swept = self._empty_trash()
        freed += swept.bytes + self._sweep_derived(marks, now)
        return Report(bytes=freed, blobs=swept.blobs, cache_records=records, images=images, waiting=swept.waiting,
                      wait=max(0, swept.last + self._settle - now) / SECOND if swept.waiting else 0.0)

    def _remove_images(self, policy: Policy, now: int) -> tuple[tuple[Digest, tuple[str, ...]], ...]:
        used = self._leases.in_use().images
        spared = max(policy.older_than, 0 if policy.unused else self._settle)  # another host may be naming it
        removed = []
        for image in self._images.list():
            wanted = policy.unused or (policy.dangling and not image.names)
            young = now - image.stored < spared
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

    def _mark(self) -> _Marks:
        """Leases first: whoever gives one back has left a record of what it made before."""
        in_use = self._leases.in_use()
        marks = self._mark_images()
        for _, record, _, _ in self._cache.entries():
            if record.diff_id is not None:
                marks.blobs.add(record.diff_id)
                marks.diff_ids.add(record.diff_id.hex)
        marks.blobs |= in_use.blobs
        marks.diff_ids |= {digest.hex for digest in in_use.blobs}
        for digest in in_use.images:
            self._mark_manifest(digest, marks)
        marks.since = in_use.since
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

    def _move_out(self, there: Iterable[tuple[Digest, Path]], marks: _Marks, now: int) -> None:
        """What has no mark, to trash/; but not what was written so lately that we may not see yet whose it is."""
        for digest, path in there:
            with atomic.explained("remove a blob", path, remedy=REMEDY), contextlib.suppress(FileNotFoundError):
                modified = path.stat().st_mtime_ns
                if not marks.keep(digest, modified) and (not self._settle or modified < now - self._settle):
                    self._trash.move(digest)

    def _empty_trash(self) -> _Swept:
        """Of what is in trash/, moved now or by a sweeper that was killed: the needed goes back, the rest goes."""
        swept = _Swept()
        with atomic.explained("remove a blob", self._layout.trash, remedy=REMEDY):
            leaving = self._trash.listed()
            if not leaving:
                return swept
            now, marks = self._layout.now(), self._mark()  # all of it again, now that they are out of reach
            for one in leaving:
                with contextlib.suppress(FileNotFoundError):  # somebody took it back, or removes it as we do
                    self._settle_one(one, marks, now, swept)
        return swept

    def _settle_one(self, leaving: Leaving, marks: _Marks, now: int, swept: _Swept) -> None:
        status = leaving.path.stat()
        size = status.st_blocks * 512
        assert leaving.since is not None
        if marks.keep(leaving.digest, status.st_mtime_ns):
            self._trash.put_back(leaving)
        elif now - leaving.since >= self._settle:
            os.unlink(leaving.path)
            swept.bytes, swept.blobs = swept.bytes + size, swept.blobs + 1
        else:
            swept.waiting, swept.last = swept.waiting + size, max(swept.last, leaving.since)

    def _sweep_derived(self, marks: _Marks, now: int) -> int:
        """Tree indexes, compressed pairs and inflated tars of layers that are gone. All of it can be made again."""
        since = now if marks.since is None else min(marks.since, now)
        shards = [self._layout.trees / shard for shard in _listed(self._layout.trees)]
        freed = 0
        for folder in (*shards, self._layout.compressed, self._layout.own / "tars"):
            for name in _listed(folder):
                with contextlib.suppress(OSError):
                    status = (folder / name).stat()
                    in_use = status.st_mtime_ns >= since
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
