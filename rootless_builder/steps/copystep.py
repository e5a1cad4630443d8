"""COPY and ADD: sources found where they are, and copied into the overlay of the step.

    text           a pattern in the context, a stage, an image; with --parents from its "/./" on
    HttpSource     a file that is fetched          GitSource   a commit that is fetched
    inline         a heredoc
"""

import os
from collections.abc import Sequence
from pathlib import Path

from ..contexts.contexts import near_names
from ..errors import SourceError
from ..layer.compress import is_tar
from ..paths import ROOT, ImagePath, image_path
from ..plan.filemode import FileMode
from ..plan.remotes import HttpSource
from ..plan.steps import CopyStep, InlineFile
from ..plan.wildcard import has_wildcards
from ..sources.archive import ArchiveSource
from ..sources.directory import DirectorySource
from ..sources.survey import Survey
from ..tree.changes import Put
from ..tree.node import Directory, File, Inline, Meta, Node
from ..tree.overlay import Overlay
from ..tree.tree import Tree
from ..urls import redacted
from ..values import dataclass
from .copying import EVERYTHING, Copier, CopyRules, Selection, find_sources, plain_part, resolve
from .origins import Digested, LayeredTree, label, layers_digest, layers_of, source_of, told, tree_of
from .ownership import find_owner
from .world import World

HEAD = 1 << 20  # bytes that tell an archive from other files: a bzip2 block is up to 900 kB
EXPLAINED = 1000  # so many files are remembered one by one
FEW = 16  # sources of one step that are surveyed each by itself


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One source of the text kind: where to look, and what below it is taken. required: a path that must be there."""

    pattern: str
    selection: Selection
    required: str | None


def copy(step: CopyStep, overlay: Overlay, world: World) -> None:
    """Errors: SourceError, UnsafeArchive, DiskFull, and those of where the sources are."""
    owner = find_owner(step.owner, overlay.tree, world.emit) if step.owner else None
    copier = Copier(overlay, CopyRules(owner=owner, mode=mode_of(step), made=world.now))
    unpacker = Copier(overlay, CopyRules(owner=owner, made=world.now))
    tree = tree_of(step.origin, world) if step.patterns else Tree.empty()
    for source in step.sources:
        if isinstance(source, str):
            wanted = _wanted(source, step)
            for path in _found(tree, wanted, step, world):
                if not (step.unpack and _unpack(tree, path, step, unpacker, world)):
                    copier.copy(tree, path, step.dest, wanted.selection)
            continue
        remote, path = world.remotes.tree(source)
        archive = isinstance(source, HttpSource) and source.unpack
        if not (archive and _unpack(remote, path, step, unpacker, world)):
            copier.copy(remote, path, step.dest, Selection.of(step.excludes))
    for file in step.inline:
        copier.copy(_inline_tree(file, world.now), image_path(file.name), step.dest)


def copy_inputs(step: CopyStep, world: World) -> list[tuple[str, str]]:
    """(label, digest) of everything the step reads besides the state before it."""
    remote = [(source.name if isinstance(source, HttpSource) else redacted(source.remote), world.remotes.digest(source))
              for source in step.sources if not isinstance(source, str)]
    if not step.patterns:
        return remote
    source = source_of(step.origin, world)
    if source is None:
        assert step.origin is not None
        return [(label(step.origin), layers_digest(layers_of(step.origin, world))), *remote]
    return [*_digests(step, source, world), *remote]


def copy_contents(step: CopyStep, world: World) -> list[tuple[str, str]]:
    """The same by the files that are taken, where they come from a stage or an image too: their bytes are read."""
    source: Digested = source_of(step.origin, world) or LayeredTree(tree_of(step.origin, world))
    return _digests(step, source, world)


def copy_parts(step: CopyStep, world: World) -> Sequence[tuple[str, str]]:
    """(label, digest) of the single files that it takes from a folder of the host, where those are few: they explain
    a miss, and are in no key. Errors: SourceError.
    """
    source = source_of(step.origin, world) if step.patterns and not (step.excludes or step.parents) else None
    if not isinstance(source, DirectorySource):
        return []
    tree = source.tree()
    found = [(path, resolve(tree, path)) for pattern in step.patterns
             for path in _found(tree, _wanted(pattern, step), step, world)]
    return source.parts(found, EXPLAINED)


def _digests(step: CopyStep, source: Digested, world: World) -> list[tuple[str, str]]:
    tree = source.tree()
    given = []
    for pattern in step.patterns:
        wanted = _wanted(pattern, step)
        found = [(path, resolve(tree, path)) for path in _found(tree, wanted, step, world)]
        if wanted.selection == EVERYTHING:
            given.append((pattern, source.digest(found)))
        else:
            given += [(pattern, source.digest([(named, ROOT)], _selected(tree, path, wanted.selection)))
                      for named, path in found]
    return given


def surveyed(step: CopyStep, world: World) -> list[tuple[ImagePath, Survey]]:
    """(source, its survey) of all that the step copies, if that is a few whole files and folders of a folder of the
    host; none at all where something is to be taken file by file. Errors: SourceError.
    """
    plain = not (step.inline or step.excludes or step.parents or step.unpack)
    source = source_of(step.origin, world) if step.patterns and plain else None
    if not isinstance(source, DirectorySource) or len(step.patterns) != len(step.sources):
        return []
    tree = source.tree()
    paths = [path for pattern in step.patterns for path in _found(tree, _wanted(pattern, step), step, world)]
    surveys = [source.survey(resolve(tree, path)) for path in paths] if len(paths) <= FEW else [None]
    return [(path, survey) for path, survey in zip(paths, surveys, strict=False) if survey is not None and all(surveys)]


def mode_of(step: CopyStep) -> FileMode | None:
    if step.mode is None:
        return None
    return FileMode.parse(f"{step.mode:04o}" if isinstance(step.mode, int) else step.mode)


def _wanted(text: str, step: CopyStep) -> _Wanted:
    if not step.parents:
        return _Wanted(text, Selection.of(step.excludes), None if has_wildcards(text) else text)
    pivot, mark, below = text.partition("/./")
    pattern = image_path(below if mark else text)
    place = pivot if mark else "/"
    required = None if has_wildcards(place) or has_wildcards(pattern) else f"{place}/{pattern}"
    return _Wanted(place, Selection.of(step.excludes, only=pattern), required)


def _selected(tree: Tree, path: ImagePath, selection: Selection) -> Tree:
    """What of `path` is copied, as a tree of its own."""
    node = tree.lookup(path)
    if not isinstance(node, Directory):
        return Tree(Directory(Meta(0), {} if node is None else {"": node}))
    return Tree(_pruned(node, ROOT, selection))


def _pruned(folder: Directory, inside: ImagePath, selection: Selection) -> Directory:
    entries: dict[str, Node] = {}
    for name, node in folder.entries.items():
        path = image_path(f"{inside}/{name}")
        taken = selection.takes(path)
        if isinstance(node, Directory) and (taken or selection.may_take_below(path)):
            below = _pruned(node, path, selection)
            if taken or below.entries:
                entries[name] = below
        elif taken:
            entries[name] = node
    return Directory(folder.meta, entries)


def _found(tree: Tree, wanted: _Wanted, step: CopyStep, world: World) -> list[ImagePath]:
    """Paths that the source names; one that is plainly named must be there, or else the folder above the first
    wildcard. Errors: SourceError.
    """
    folder = plain_part(wanted.pattern)[0]
    if wanted.required is not None:
        path = image_path(wanted.required)
        if not _is_there(tree, path, wanted, parents=step.parents):
            raise _missing(tree, path, wanted.required, step, world)
    elif tree.lookup(resolve(tree, folder)) is None:
        raise _missing(tree, folder, wanted.pattern, step, world)
    return find_sources(tree, wanted.pattern)


def _is_there(tree: Tree, path: ImagePath, wanted: _Wanted, *, parents: bool) -> bool:
    """Is what a source plainly names there? With --parents no symlink on the way is followed, and --exclude must leave
    something of it.
    """
    if tree.lookup(resolve(tree, path)) is None:
        return False
    if not parents:
        return True
    node = tree.lookup(path)
    inside = image_path(path[len(image_path(wanted.pattern)):])
    if not path or node is None or wanted.selection.takes(inside):
        return bool(path) and node is not None
    return isinstance(node, Directory) and bool(_pruned(node, inside, wanted.selection).entries)


def _missing(tree: Tree, path: ImagePath, pattern: str, step: CopyStep, world: World) -> SourceError:
    ignored = step.origin is None and getattr(world.contexts.main(), "ignores", lambda path: False)(path)
    near = [] if ignored else list(near_names(tree, path))
    hint = ("the ignore file excludes it" if ignored else f'did you mean "{near[0]}"?' if near
            else "paths are taken from the root of the context, never from outside it")
    return SourceError(f'cannot copy {pattern}: "/{path}" is not in {told(step.origin)}', hint=hint)


def _inline_tree(file: InlineFile, now: int) -> Tree:
    overlay = Overlay(Tree.empty())
    path = image_path(file.name)
    overlay.make_folders(image_path(f"{file.name}/.."), Meta(0o755, mtime=now))
    overlay.put(path, File(Meta(0o644, mtime=now), Inline(file.data), len(file.data)))
    return overlay.freeze()


def _unpack(tree: Tree, path: ImagePath, step: CopyStep, copier: Copier, world: World) -> bool:
    """The archive `path` is extracted into the folder `dest`, as docker does; False when it is none. --chmod is for
    what is copied, not for what comes out of an archive.
    """
    node = tree.lookup(resolve(tree, path))
    if not isinstance(node, File) or not is_tar(read_head(node)):
        return False
    fd, offset = node.content.open()
    if offset:
        fd = _whole(fd, offset, node.size, world.tmp)
    archive = world.contexts.keep(ArchiveSource(fd, what=f"the archive {path}", tmp=world.tmp))
    target = copier.make_folders(step.dest)
    for change in archive.changes:
        if isinstance(change, Put) and change.path:
            copier.unpack(target, change.path, change.node)
    return True


def read_head(node: File) -> bytes:
    fd, offset = node.content.open()
    with open(fd, "rb") as stream:
        stream.seek(offset)
        return stream.read(min(HEAD, node.size))


def _whole(fd: int, offset: int, size: int, tmp: Path) -> int:
    """An archive that lies inside a layer, as a file of its own."""
    import tempfile

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
