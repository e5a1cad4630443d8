"""--squash: the layers of a build as one, on its base's; --squash-all: the base's too."""


from ..caching.records import layers_of, write_step
from ..oci.config import History
from ..paths import ROOT, ImagePath, basename, join, parent
from ..plan.cachekey import digest_of
from ..steps.world import StageState, World
from ..tree.changes import Change, Put, Remove
from ..tree.node import Directory
from ..tree.overlay import Overlay
from ..tree.tree import IMPLIED
from ..values import replace


def squashed(state: StageState, world: World, *, keep: int) -> StageState:
    """The same files in `keep` layers, as they are, and one more. Errors: DiskFull, StoreError."""
    merged = state.layers[keep:]
    if len(merged) < 2:
        return state
    key = digest_of({"squashed": [str(layer.diff_id) for layer in state.layers], "keep": keep, "clamp": world.timing})
    record = world.store.cache.get(key)
    if record is None:
        overlay = Overlay(world.tree(state.layers[:keep]))
        for layer in merged:
            for change in world.store.trees.changes(layer):
                _apply(overlay, change)
        record = write_step(overlay.changes(), key, "squash", world.store, clamp=world.latest,
                            forced=world.forced, facts={})
    history, left = [], keep
    for entry in state.history:
        history.append(entry if entry.empty_layer or left > 0 else replace(entry, empty_layer=True))
        left -= not entry.empty_layer
    layers = layers_of(record)
    history.append(History(created_by=f"squash of {len(merged)} layers", empty_layer=not layers))
    return replace(state, layers=(*state.layers[:keep], *layers), history=tuple(history))


def _apply(overlay: Overlay, change: Change) -> None:
    """By the rules of image-spec layer.md, as Tree.apply."""
    path = _place(overlay, change.path)
    node = overlay.tree.lookup(path)
    if isinstance(change, Put):
        if path:
            overlay.make_folders(parent(path), IMPLIED)
        overlay.put(path, change.node)
    elif isinstance(change, Remove):
        if node is not None:
            overlay.remove(path)
    elif isinstance(node, Directory):
        for name in list(node.entries):
            overlay.remove(join(path, name))


def _place(overlay: Overlay, path: ImagePath) -> ImagePath:
    return join(overlay.tree.resolve(parent(path)), basename(path)) if path else ROOT
