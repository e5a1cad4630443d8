"""One function for each kind of step: what it changes, given the state before it.

COPY, ADD and WORKDIR happen on trees, in memory; no namespace, no unpacking. RUN is in runstep.py.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .bases import Bases
from .contexts import Contexts, Source, near_names, read_file
from .copying import Copier, CopyRules, find_sources, resolve
from .errors import SourceError
from .events import Emit, Notice
from .layer.compress import is_tar
from .oci.config import History, ImageConfig
from .oci.digest import Digest
from .oci.platform import Platform
from .paths import ImagePath, image_path
from .plan.lower import Inherited
from .plan.steps import CopyStep, InlineFile, RunStep, Step, WorkdirStep
from .plan.wildcard import has_wildcards
from .sources.archive import ArchiveSource
from .store.images import LayerRef
from .store.store import Store
from .tree.changes import ChangeSet
from .tree.node import File, Inline, Meta
from .tree.overlay import Overlay
from .tree.tree import Tree

if TYPE_CHECKING:
    from .runstep import RunSettings

HEAD = 1 << 20  # bytes that tell an archive from other files: a bzip2 block is up to 900 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """The build at one point: the accumulator of the fold. layers: the lowest first; key: names all that came before.

    image: the config (its history and diff ids are those of the base until the image is committed).
    """

    layers: tuple[LayerRef, ...]
    key: str
    image: ImageConfig
    history: tuple[History, ...]
    inherited: Inherited


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that a step may touch. done: finished stages by index; bases: resolves what --from names outside the file.

    now: nanoseconds since the epoch, the time of what this build makes; clamp: SOURCE_DATE_EPOCH in seconds.
    """

    store: Store
    contexts: Contexts
    bases: Bases
    platform: Platform
    done: dict[int, StageState]
    run: "RunSettings"
    tmp: Path
    emit: Emit
    now: int
    clamp: int | None
    trees: dict[tuple[LayerRef, ...], Tree] = field(default_factory=dict)

    def tree(self, layers: tuple[LayerRef, ...]) -> Tree:
        """The files of these layers, grown from the longest chain below them that this build has looked at."""
        if layers not in self.trees:
            below = self.tree(layers[:-1]) if layers else None
            self.trees[layers] = below.apply(self.store.trees.changes(layers[-1])) if below else Tree.empty()
        return self.trees[layers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """keep: to be called with the written layer's diff id, for whoever can use what is on the disk once more."""

    changes: ChangeSet
    keep: Callable[[Digest], object] = bool


@contextmanager
def perform(step: Step, state: StageState, world: World, number: int) -> Iterator[Performed]:
    """What `step` changes in `state`; contents can be read within the context. number: of the step, for its events."""
    if isinstance(step, RunStep):
        from .runstep import run_step  # the sandbox is not imported by a build whose RUNs are all cached

        with run_step(step, state.layers, world.store, world.run, emit=world.emit, number=number) as (changes, rootfs):
            yield Performed(changes=changes, keep=lambda diff_id: rootfs.adopt(diff_id, clamp=world.clamp))
        return
    overlay = Overlay(world.tree(state.layers))
    if isinstance(step, CopyStep):
        _copy(step, overlay, world)
    elif isinstance(step, WorkdirStep):
        _workdir(step, overlay, world)
    yield Performed(changes=overlay.changes())


def inputs(step: Step, world: World) -> list[tuple[str, str]]:
    """(label, digest) of everything `step` reads besides the state before it; labels explain a miss."""
    if not isinstance(step, CopyStep) or not step.sources:
        return []
    if isinstance(step.origin, int):
        return [(f"stage {step.origin}", layers_digest(world.done[step.origin].layers))]
    source = _source(step, world)
    if source is None:
        return [(f"image {step.origin}", layers_digest(_image_layers(step, world)))]
    tree = source.tree()
    return [(pattern, source.digest([(path, resolve(tree, path)) for path in _found(tree, pattern, step, world)]))
            for pattern in step.sources]


def layers_digest(layers: tuple[LayerRef, ...]) -> str:
    """Names what a file system holds: the digests of its layers."""
    return "+".join(str(layer.diff_id) for layer in layers)


def _copy(step: CopyStep, overlay: Overlay, world: World) -> None:
    owner = find_owner(step.owner, overlay.tree, world.emit) if step.owner else None
    copier = Copier(overlay, CopyRules(owner=owner, mode=step.mode, made=world.now))
    if step.sources:
        tree = _origin_tree(step, world)
        for pattern in step.sources:
            for path in _found(tree, pattern, step, world):
                if not (step.unpack and _unpack(tree, path, step, copier, world)):
                    copier.copy(tree, path, step.dest)
    for file in step.inline:
        copier.copy(_inline_tree(file, world.now), image_path(file.name), step.dest)


def _origin_tree(step: CopyStep, world: World) -> Tree:
    if isinstance(step.origin, int):
        return world.tree(world.done[step.origin].layers)
    source = _source(step, world)
    return source.tree() if source is not None else world.tree(_image_layers(step, world))


def _source(step: CopyStep, world: World) -> Source | None:
    """The folder or archive that is copied from; None when it is an image."""
    return world.contexts.main() if step.origin is None else world.bases.context(str(step.origin))


def _image_layers(step: CopyStep, world: World) -> tuple[LayerRef, ...]:
    return world.bases.get(str(step.origin), world.platform).layers


def _found(tree: Tree, pattern: str, step: CopyStep, world: World) -> list[ImagePath]:
    """Paths that `pattern` names; one that is plainly named must be there. Errors: SourceError."""
    found = find_sources(tree, pattern)
    for path in found:
        if not has_wildcards(pattern) and tree.lookup(resolve(tree, path)) is None:
            raise _missing(tree, path, pattern, step, world)
    return found


def _missing(tree: Tree, path: ImagePath, pattern: str, step: CopyStep, world: World) -> SourceError:
    where = "the build context" if step.origin is None else f"--from={step.origin}"
    ignored = step.origin is None and getattr(world.contexts.main(), "ignores", lambda path: False)(path)
    near = [] if ignored else list(near_names(tree, path))
    hint = ("the ignore file excludes it" if ignored else f'did you mean "{near[0]}"?' if near
            else "paths are taken from the root of the context, never from outside it")
    return SourceError(f'cannot copy {pattern}: "/{path}" is not in {where}', hint=hint)


def _inline_tree(file: InlineFile, now: int) -> Tree:
    overlay = Overlay(Tree.empty())
    path = image_path(file.name)
    overlay.make_folders(image_path(f"{file.name}/.."), Meta(0o755, mtime=now))
    overlay.put(path, File(Meta(0o644, mtime=now), Inline(file.data), len(file.data)))
    return overlay.freeze()


def _unpack(tree: Tree, path: ImagePath, step: CopyStep, copier: Copier, world: World) -> bool:
    """ADD: the archive `path` is extracted into the folder `dest`, as docker does; False when it is none."""
    node = tree.lookup(resolve(tree, path))
    if not isinstance(node, File) or not is_tar(read_head(node)):
        return False
    fd, offset = node.content.open()
    if offset:
        fd = _whole(fd, offset, node.size, world.tmp)
    archive = world.contexts.keep(ArchiveSource(fd, what=f"the archive {path}", tmp=world.tmp))
    target = copier.make_folders(step.dest)
    for inner, entry in archive.tree().walk():
        if inner:
            copier.replace(image_path(f"{target}/{inner}"), entry)
    return True


def find_owner(text: str, tree: Tree, emit: Emit) -> tuple[int, int]:
    """"user[:group]", by name or number, in the image's own /etc/passwd and /etc/group.

    A number needs no entry; a user without a group has the group of its entry, or of its own number. An unknown name
    is root, as in BuildKit, and said.
    """
    user, colon, group = text.partition(":")
    uid, gid = _lookup(user, "etc/passwd", tree, emit)
    return (uid, _lookup(group, "etc/group", tree, emit)[0]) if colon and group else (uid, gid)


def _lookup(name: str, file: str, tree: Tree, emit: Emit) -> tuple[int, int]:
    """(id, the group that comes with it)."""
    if name in ("root", ""):
        return 0, 0
    if name.isascii() and name.isdigit():
        return int(name), int(name)
    for fields in _entries(file, tree):
        if fields[0] == name and len(fields) > 2 and fields[2].isdigit():
            group = fields[3] if file == "etc/passwd" and len(fields) > 3 and fields[3].isdigit() else fields[2]
            return int(fields[2]), int(group)
    emit(Notice(text=f"there is no {name} in the image's /{file}: root is taken, as BuildKit does", level="warning"))
    return 0, 0


def _entries(file: str, tree: Tree) -> Iterator[list[str]]:
    node = tree.lookup(resolve(tree, image_path(file)))
    if isinstance(node, File):
        for line in read_file(node).decode("utf-8", "replace").splitlines():
            yield line.split(":")


def _workdir(step: WorkdirStep, overlay: Overlay, world: World) -> None:
    owner = find_owner(step.user, overlay.tree, world.emit) if step.user else None
    Copier(overlay, CopyRules(owner=owner, made=world.now)).make_folders(step.path)


def read_head(node: File) -> bytes:
    fd, offset = node.content.open()
    with open(fd, "rb") as stream:
        stream.seek(offset)
        return stream.read(min(HEAD, node.size))


def _whole(fd: int, offset: int, size: int, tmp: Path) -> int:
    """An archive that lies inside a layer, as a file of its own."""
    with open(fd, "rb") as source, tempfile.TemporaryFile(dir=tmp) as sink:
        source.seek(offset)
        left = size
        while left:
            data = source.read(min(left, 1 << 20))
            if not data:
                break
            sink.write(data)
            left -= len(data)
        sink.flush()
        return os.open(f"/proc/self/fd/{sink.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
