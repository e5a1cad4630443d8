"""A COPY of whole files and folders of the host: its layer written in one pass by the layer core, no tree in between.

    folders that had to be made, then what was surveyed, each part at its place in canonical order

    cold (nothing is known of the contents)   written at once, as the digest of what is copied is taken: one open and
                                              one read for each file; the key comes after, and on a hit it is dropped
    warm                                      key first; written only on a miss

What does not fit (wildcards within folders, --exclude, two sources in one folder, a folder in the way) is copied as a
tree, by copystep.py, to the same bytes.
"""

import stat
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Self

from .. import layercore
from ..caching.records import effect
from ..effects.secretscan import HINTS, LARGEST
from ..effects.suspects import suspects
from ..layer import index
from ..layer.header import SECOND, node_header
from ..layer.index import RECORD, RECORD_SIZE, Packer
from ..layer.writer import refuse
from ..oci.digest import Digest
from ..paths import ImagePath, basename, decode, encode, sort_key
from ..plan.filemode import FileMode
from ..plan.steps import CopyStep
from ..sources.survey import NotWhole, Survey
from ..store.blobwriter import BlobWriter
from ..store.images import LayerRef
from ..store.store import Store
from ..tree.changes import ChangeSet, Put
from ..tree.node import Directory, File, HostFile, Meta, Node
from ..tree.overlay import Overlay
from ..tree.tree import Tree
from ..values import dataclass, replace
from .copying import Copier, CopyRules
from .copystep import mode_of, surveyed
from .origins import source_of
from .ownership import find_owner
from .world import World

FOREVER = (1 << 63) - 1
_PERMISSIONS = 4096


@dataclass(frozen=True, slots=True)
class _Part:
    """A survey and where it goes: the file itself, or what the folder holds."""

    survey: Survey
    target: ImagePath
    is_folder: bool

    @property
    def prefix(self) -> bytes:
        """What stands in the image before the part of a path that is below the source."""
        return encode(self.target) + (b"/" if self.target and not self.survey.path else b"")

    def puts(self, records: bytes, paths: bytes, numbers: list[int]) -> Iterator[Put]:
        """Some of what was packed, as nodes that can be read while the survey is open."""
        names = paths.split(b"\0") if numbers else []
        base = encode(basename(self.survey.path))
        for number in numbers:
            kind_mode, uid, gid, mtime, size, _, _ = RECORD.unpack_from(records, number * RECORD_SIZE)
            meta = Meta(kind_mode & 0o7777, uid, gid, mtime)
            rest = names[number][len(self.prefix):]
            source = (base + (b"" if rest.startswith(b"/") else b"/") + rest if rest else base) if base else rest
            if kind_mode >> 16 == index.FILE:
                yield Put(ImagePath(decode(names[number])), File(meta, HostFile(self.survey.fd, source), size))
            elif kind_mode >> 16 == index.DIRECTORY:
                yield Put(ImagePath(decode(names[number])), Directory(meta))


@dataclass(frozen=True, slots=True)
class Packed:
    """diff_id, size: of the layer. index: its packed index. effect: for people. suspects: what checks look at."""

    diff_id: Digest
    size: int
    index: bytes
    effect: str
    suspects: ChangeSet


class Packing:
    """One layer, written but not yet in the store: `commit` puts it there, `close` drops it."""

    def __init__(self, made: list[Put], parts: list[_Part], rules: CopyRules, latest: int,
                 hints: Sequence[bytes]) -> None:
        self._made = made
        self._parts = parts
        self._rules = rules
        self._latest = latest
        self._hints = hints
        self._writer: BlobWriter | None = None
        self._packed: Packed | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def write(self, store: Store) -> None:
        """Errors: NotWhole, SourceError, DiskFull, StoreError."""
        self._writer = store.blobs.writer()
        try:
            self._packed = self._write(self._writer.fd)
        except BaseException:
            self.close()
            raise

    @property
    def effect(self) -> str:
        return self._packed.effect if self._packed is not None else ""

    @property
    def suspects(self) -> ChangeSet:
        return self._packed.suspects if self._packed is not None else ChangeSet()

    def commit(self, store: Store) -> tuple[Digest, int]:
        """(diff id, size) of the layer, now in the store. Errors: DiskFull, StoreError."""
        assert self._writer is not None and self._packed is not None
        self._writer.commit(self._packed.diff_id, self._packed.size)
        store.trees.keep(self._packed.diff_id, self._packed.index)
        self.close()
        return self._packed.diff_id, self._packed.size

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, fd: int) -> Packed:
        sink, packer = layercore.TarSink(fd), Packer()
        links, found = 0, []
        order: list[Put | _Part] = sorted([*self._made, *self._parts], key=_place)
        try:
            for number, one in enumerate(order):
                if isinstance(one, Put):
                    node = one.node.with_meta(replace(one.node.meta, mtime=min(one.node.meta.mtime, self._latest)))
                    sink.add_bytes(node_header(one.path, node))
                    packer.add(number, Put(one.path, node))
                    found.append(Put(one.path, node))
                else:
                    records, paths, targets, hinted = self._add(sink, one)
                    packer.add_packed(records, paths, targets)
                    links += targets.count(b"\0")
                    found += one.puts(records, paths, suspects(records, paths, hinted))
            digest, size = sink.finish()
        except OSError as error:
            refuse(error, None)
        files = sum(part.survey.files for part in self._parts)
        total = sum(part.survey.bytes for part in self._parts)
        return Packed(Digest.of_raw(digest), size, packer.dump(), effect(files, links, 0, total),
                      ChangeSet.of(found))

    def _add(self, sink: layercore.TarSink, part: _Part) -> tuple[bytes, bytes, bytes, bytes]:
        survey, uid, gid = part.survey, *(self._rules.owner or (0, 0))
        named = len(encode(basename(survey.path))) if survey.path else 0
        with survey.lock, survey.explained():
            found = sink.add_survey(survey.fd, survey.snapshot, survey.contents, int(part.is_folder and named > 0),
                                    named, part.prefix, uid, gid, self._latest, _modes(self._rules.mode),
                                    self._hints, LARGEST)
            if part.is_folder and named:
                layercore.learn(survey.fd, survey.snapshot, survey.contents)  # of the folder itself
            survey.complete()
        return found


def packing(step: CopyStep, layers: tuple[LayerRef, ...] | None, world: World) -> Packing | None:
    """How to write the step's layer whole; None when it has to be copied as a tree. layers: those below it, None when
    it does not depend on them. Errors: SourceError.
    """
    found = [] if world.forced else surveyed(step, world)
    if not found:
        return None
    source = source_of(step.origin, world)
    assert source is not None
    overlay = Overlay(Tree.empty() if layers is None else world.tree(layers))
    owner = find_owner(step.owner, overlay.tree, world.emit) if step.owner else None
    rules = CopyRules(owner=owner, mode=mode_of(step), made=world.now)
    copier = Copier(overlay, rules)
    parts = []
    for path, survey in found:
        followed, node, target = copier.begin(source.tree(), path, step.dest)
        if _is_in_the_way(overlay.tree.lookup(target), node, survey):
            return None
        parts.append(_Part(survey, target, isinstance(node, Directory)))
        copier.end(followed, node, target)
    made = [change for change in overlay.changes() if isinstance(change, Put) and isinstance(change.node, Directory)]
    if len(made) != len(overlay.changes()) or not _are_apart([part.target for part in parts]):
        return None
    latest = FOREVER if world.latest is None else world.latest * SECOND
    return Packing(made, parts, rules, latest, (*HINTS, *world.effects.given()))


def written(step: CopyStep, layers: tuple[LayerRef, ...] | None, world: World) -> Packing | None:
    """As `packing`, and written. Errors: SourceError, DiskFull, StoreError."""
    found = packing(step, layers, world)
    if found is not None:
        try:
            found.write(world.store)
        except NotWhole:
            return None
    return found


def _place(one: Put | _Part) -> tuple[list[bytes], bool]:
    return (sort_key(one.path), False) if isinstance(one, Put) else (sort_key(one.target), True)


def _are_apart(targets: list[ImagePath]) -> bool:
    """No one lies in another: each is one run of the layer."""
    keys = sorted(sort_key(target) for target in targets)
    return all(later[:len(earlier)] != earlier for earlier, later in pairwise(keys))


def _is_in_the_way(below: Node | None, node: Node, survey: Survey) -> bool:
    """Whether a folder of the image is to become something else, or something else a folder."""
    if below is None:
        return False
    if isinstance(below, Directory) != isinstance(node, Directory):
        return True
    return isinstance(below, Directory) and _differs(below, survey, encode(basename(survey.path)))


def _differs(below: Directory, survey: Survey, path: bytes) -> bool:
    for name, node in below.entries.items():
        inner = path + b"/" + encode(name) if path else encode(name)
        record = survey.snapshot.get(inner)
        if record is None:
            continue
        if stat.S_ISDIR(record[0]) != isinstance(node, Directory):
            return True
        if isinstance(node, Directory) and _differs(node, survey, inner):
            return True
    return False


def _modes(mode: FileMode | None) -> bytes | None:
    if mode is None:
        return None
    return struct.pack(f"={2 * _PERMISSIONS}H", *(mode.apply(bits, folder=folder) for folder in (False, True)
                                                  for bits in range(_PERMISSIONS)))
