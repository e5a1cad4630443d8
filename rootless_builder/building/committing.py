"""The end of a build: the last state becomes a config, a manifest and names.

The image's time is that of its newest step, or of its base where no step made anything: a rebuild that finds every
step in the cache gives the same image ID.
"""

from collections.abc import Mapping, Sequence

from ..caching.carried import CarriedCache, bring
from ..events import ImageTagged
from ..oci.config import History, ImageConfig
from ..oci.descriptor import (
    MEDIA_TYPE_LAYER,
    MEDIA_TYPE_LAYER_GZIP,
    MEDIA_TYPE_LAYER_ZSTD,
    Descriptor,
    compression_of,
)
from ..oci.reference import Reference
from ..steps.world import StageState, World
from ..store.images import Image
from ..values import replace

OCI_TYPES = {"none": MEDIA_TYPE_LAYER, "gzip": MEDIA_TYPE_LAYER_GZIP, "zstd": MEDIA_TYPE_LAYER_ZSTD}
KEPT_EXTRA = ("os.version", "os.features")


def commit(state: StageState, world: World, *, labels: Mapping[str, str], annotations: Mapping[str, str],
           tags: Sequence[Reference], keep: bool = True, whole: bool = True, carries_cache: bool = False) -> Image:
    """The image in the store, under each of `tags`; without any it has no name. keep=False: it can be used by this
    process, and is no image of the store. whole: its layers will be read; those that a cache elsewhere has, and no step
    needed, are fetched then. carries_cache: it can serve as a cache itself (--cache-to type=inline).
    Errors: DiskFull, StoreError, CacheSourceFailed.
    """
    if whole:
        bring([layer.diff_id for layer in state.layers], world.store.blobs)
    config = final_config(state, world, labels)
    if carries_cache and isinstance(world.store.cache, CarriedCache):
        from ..caching.exports import inline

        config = replace(config, extra={**config.extra, **inline(world.store.cache, state.layers)})
    put = world.store.images.put if keep else world.store.images.compose
    image = put([in_oci_terms(layer.blob) for layer in state.layers], config, annotations=dict(annotations) or None)
    for tag in tags:
        world.store.images.tag(tag, image.manifest_descriptor)
        world.emit(ImageTagged(name=tag.with_default_tag().familiar(), image_id=str(image.id)))
    return image


def final_config(state: StageState, world: World, labels: Mapping[str, str]) -> ImageConfig:
    history, newest = dated(state.history, len(state.image.history), state.image.created, world)
    merged = replace(state.image.config, labels={**state.image.config.labels, **labels})
    return replace(
        state.image, config=merged, created=newest, history=history,
        rootfs_diff_ids=tuple(layer.diff_id for layer in state.layers),
        extra={key: value for key, value in state.image.extra.items() if key in KEPT_EXTRA})


def dated(history: Sequence[History], inherited: int, base: str | None,
          world: World) -> tuple[tuple[History, ...], str]:
    """(history with a time for each of our entries, the newest time). The first `inherited` are the base's own.

    An entry without a layer has the time of the one before it, or of the first that has one.
    """
    ours = history[inherited:]
    now = world.now / 1e9 if world.clamp is None else world.clamp
    time = rfc3339(now)
    if world.clamp is None:
        time = base or next((entry.created for entry in ours if entry.created), None) or time
    done = list(history[:inherited])
    for entry in ours:
        time = entry.created or time
        done.append(replace(entry, created=time))
    return tuple(done), time


def rfc3339(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def in_oci_terms(blob: Descriptor) -> Descriptor:
    """docker's name of a layer's type as the image spec's: the bytes are the same, and a manifest has one family."""
    return Descriptor(media_type=OCI_TYPES[compression_of(blob.media_type)], digest=blob.digest, size=blob.size)
