"""What `RUN --mount=type=bind` and cache mounts read: digests for the key, and layers for the sandbox.

A folder or archive becomes a layer of what is mounted of it, kept in the store under its digest, so that the ignore
file holds, nothing the command does can reach the folder, and a later step has it unpacked already.
"""

from collections.abc import Iterator

from ..caching import records
from ..errors import SourceError
from ..paths import ROOT, ImagePath, image_path
from ..plan.cachekey import digest_of
from ..plan.mounts import BindMount, CacheMount
from ..plan.steps import RunStep
from ..store.images import LayerRef
from ..tree.changes import ChangeSet, Put
from ..tree.node import Directory, Node
from .copying import resolve
from .origins import LayeredTree, Origin, label, layers_digest, layers_of, source_of, told, tree_of
from .world import World

PART = "part"  # what a layer made for a bind mount calls its one entry


def mount_inputs(step: RunStep, world: World) -> list[tuple[str, str]]:
    """(label, digest) of what the mounts read. Of secrets nothing: another value is no reason to run again."""
    given = []
    for mount in step.mounts:
        if isinstance(mount, BindMount):
            source = source_of(mount.origin, world)
            if source is not None:
                part = _part_digest(mount.origin, mount.source, world)
                given.append((f"{mount.source} of {told(mount.origin)}", part))
                continue
        if isinstance(mount, (BindMount, CacheMount)) and mount.origin is not None:
            given.append((label(mount.origin), origin_digest(mount.origin, world)))
    return given


def mount_contents(step: RunStep, world: World) -> list[tuple[str, str]]:
    """The same by the files that are mounted, where they come from a stage or an image too: their bytes are read."""
    given = []
    for mount in step.mounts:
        if isinstance(mount, (BindMount, CacheMount)) and (isinstance(mount, BindMount) or mount.origin is not None):
            if source_of(mount.origin, world) is not None:
                given.append((mount.source, _part_digest(mount.origin, mount.source, world)))
            else:
                tree = tree_of(mount.origin, world)
                found = resolve(tree, image_path(mount.source))
                given.append((mount.source, LayeredTree(tree).digest([(ROOT, found)])))
    return given


def all_layers(origin: Origin, world: World) -> tuple[LayerRef, ...]:
    if source_of(origin, world) is not None:
        return part_layers(origin, "/", world, inside=False)
    assert origin is not None
    return layers_of(origin, world)


def origin_digest(origin: Origin, world: World) -> str:
    if source_of(origin, world) is not None:
        return _part_digest(origin, "/", world)
    assert origin is not None
    return layers_digest(layers_of(origin, world))


def _part(origin: Origin, path: str, world: World) -> tuple[ImagePath, Node]:
    """Where `path` of a folder or archive leads, and what is there. Errors: SourceError."""
    source = source_of(origin, world)
    assert source is not None
    tree = source.tree()
    found = resolve(tree, image_path(path))
    node = tree.lookup(found)
    if node is None:
        raise SourceError(f'cannot mount {path}: it is not in {told(origin)}',
                          hint="paths are taken from the root of the context, without what the ignore file excludes")
    return found, node


def _part_digest(origin: Origin, path: str, world: World) -> str:
    source = source_of(origin, world)
    assert source is not None
    found, _ = _part(origin, path, world)
    return source.digest([(ROOT, found)])


def part_layers(origin: Origin, path: str, world: World, *, inside: bool = True) -> tuple[LayerRef, ...]:
    """A layer with what `path` is, as /part, or (inside False) as the root itself; kept under its digest."""
    key = digest_of({"mounted": _part_digest(origin, path, world), "inside": inside, "clamp": world.timing})
    record = world.store.cache.get(key)
    if record is None:
        _, node = _part(origin, path, world)
        place = image_path(PART if inside else "")
        changes = ChangeSet.of(_puts(node, place) if inside else [one for one in _puts(node, place) if one.path])
        record = records.write_step(changes, key, "RUN --mount of a build context", world.store, clamp=world.latest,
                                    forced=world.forced, facts={})
    return records.layers_of(record)


def _puts(node: Node, path: ImagePath) -> Iterator[Put]:
    yield Put(path, Directory(node.meta) if isinstance(node, Directory) else node)
    if isinstance(node, Directory):
        for name in sorted(node.entries):
            yield from _puts(node.entries[name], image_path(f"{path}/{name}"))
