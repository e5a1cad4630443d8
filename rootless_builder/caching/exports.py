"""--cache-to: the records of a build and the layers they name, as an OCI image manifest.

    config   the records (wire.py)
    layers   one blob for each layer, compressed as push does it, its diff id in an annotation

It goes to a registry, or into a folder that is an OCI image layout (`local`). The third form, `inline`, puts the
records of the image's own layers into its config: a pulled image is a cache then, and no further blob is needed.
mode=min: the steps whose layers are in the result; mode=max: every step that the build met.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DiskFull, StoreError, UnsafeArchive
from ..layer.compress import compress
from ..oci import descriptor as media
from ..oci import document
from ..oci.descriptor import LAYER_OF_COMPRESSION, Descriptor
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_LIMIT, Index, Manifest, parse_manifest
from ..oci.reference import Reference
from ..outputs.archive import LAYOUT
from ..store import atomic
from ..store.buildcache import StepRecord
from ..store.images import LayerRef
from ..store.names import REF_NAME
from ..store.packing import Packing
from ..store.store import Store
from ..values import dataclass, replace
from .carried import CarriedCache, bring
from .imports import PACKED, UNCOMPRESSED, CacheImports, remember_packing
from .records import layers_of
from .wire import INLINE, MEDIA_TYPE, dump

if TYPE_CHECKING:
    from ..registry.client import RegistryClient

_DOCKER = {media.MEDIA_TYPE_LAYER: media.DOCKER_LAYER, media.MEDIA_TYPE_LAYER_GZIP: media.DOCKER_LAYER_GZIP,
           media.MEDIA_TYPE_LAYER_ZSTD: media.DOCKER_LAYER_ZSTD}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTarget:
    """Where to write. oci: media types of OCI, else docker's. level: None for the default. reset: remove what is in
    the folder and not named by its index. ignore_error: a failure is told, and the build is good all the same.
    """

    text: str
    reference: Reference | None = None
    folder: Path | None = None
    tag: str = "latest"
    mode: Literal["min", "max"] = "min"
    compression: str = "gzip"
    level: int | None = None
    oci: bool = True
    insecure: bool = False
    ignore_error: bool = False
    reset: bool = False


def export(target: CacheTarget, cache: CarriedCache, result: Iterable[LayerRef], imports: CacheImports) -> str:
    """Writes it; what was written, for people. Errors: RegistryError, AuthError, UsageError, DiskFull, StoreError."""
    records = cache.used(None if target.mode == "max" else [layer.diff_id for layer in result])
    if target.folder is not None:
        layers = _layers(records)
        bring([layer.diff_id for layer in layers], imports.store.blobs)
        _to_folder(target, target.folder, records, layers, imports.store)
    else:
        layers = _to_registry(target, cache, records, imports)
    return f"{len(records)} records and {len(layers)} layers to {target.text}"


def inline(cache: CarriedCache, layers: Iterable[LayerRef]) -> dict[str, Any]:
    """What the config of an image of these layers has besides, to be a cache itself."""
    return {INLINE: dump(cache.used([layer.diff_id for layer in layers]))}


def _layers(records: Mapping[str, StepRecord]) -> list[LayerRef]:
    """Each layer once, in the order of keys."""
    return list({layer.diff_id: layer for _, record in sorted(records.items()) for layer in layers_of(record)}.values())


def _manifest(target: CacheTarget, records: Mapping[str, StepRecord],
              blobs: Mapping[Digest, Descriptor]) -> tuple[Manifest, bytes]:
    """The manifest, and the bytes of its config."""
    data = document.dump(dump(records))
    config = Descriptor(media_type=MEDIA_TYPE, digest=Digest.of(data), size=len(data))
    packed = f"{target.compression} {'default' if target.level is None else target.level}"
    layers = tuple(Descriptor(
        media_type=blob.media_type if target.oci else _DOCKER.get(blob.media_type, blob.media_type),
        digest=blob.digest, size=blob.size,
        annotations={UNCOMPRESSED: str(diff_id), **blob.annotations, PACKED: blob.annotations.get(PACKED, packed)})
        for diff_id, blob in blobs.items())
    return Manifest(config=config, layers=layers,
                    media_type=media.MEDIA_TYPE_IMAGE_MANIFEST if target.oci else media.DOCKER_MANIFEST), data


# ---- to a registry ----

def _to_registry(target: CacheTarget, cache: CarriedCache, records: Mapping[str, StepRecord],
                 imports: CacheImports) -> list[LayerRef]:
    from ..registry.client import doing
    from ..registry.transfer import send_layers
    from ..tree.node import Inline

    assert target.reference is not None
    reference = target.reference.with_default_tag()
    client = imports.client(insecure=target.insecure, domain=reference.domain)
    layers = _layers(records)
    with doing(f"write the build cache {reference.familiar()}"):
        there = dict(_there(layers, cache, reference, client, imports.store))
        missing = [layer for layer in layers if layer.diff_id not in there]
        bring([layer.diff_id for layer in missing], imports.store.blobs)
        sent = send_layers(missing, reference, imports.store, client=client, emit=imports.emit,
                           packing=Packing(compression=target.compression, level=target.level),
                           jobs=imports.settings.jobs)
        blobs = {layer.diff_id: there.get(layer.diff_id) or sent[layer.diff_id] for layer in layers}
        manifest, data = _manifest(target, records, blobs)
        if not client.has_blob(reference, manifest.config.digest):
            with open(Inline(data).open()[0], "rb", buffering=0) as source:
                client.upload(reference, manifest.config, source.fileno())
        client.put_manifest(reference, manifest.to_json(), manifest.descriptor())
    return layers


def _there(layers: Sequence[LayerRef], cache: CarriedCache, reference: Reference, client: "RegistryClient",
           store: Store) -> Iterator[tuple[Digest, Descriptor]]:
    """Layers that came from a cache and are not here, but in the repository: they need not be fetched to be sent."""
    for layer in layers:
        offer = cache.remote(layer.diff_id)
        if offer is not None and offer.blob is not None and not store.blobs.has(layer.diff_id) \
                and client.has_blob(reference, offer.blob.digest):
            yield layer.diff_id, offer.blob


# ---- to a folder ----

def _to_folder(target: CacheTarget, folder: Path, records: Mapping[str, StepRecord], layers: Sequence[LayerRef],
               store: Store) -> None:
    """Blobs first, the index last: whoever reads it meanwhile reads the old cache or the new one."""
    with _explained(folder):
        (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            blobs = {layer.diff_id: _write_layer(target, folder, layer, store) for layer in layers}
            manifest, config = _manifest(target, records, blobs)
            for data in (config, manifest.to_json()):
                _write(folder / "blobs" / "sha256" / Digest.of(data).hex, data)
            _write(folder / "oci-layout", LAYOUT)
            entry = replace(manifest.descriptor(), annotations={REF_NAME: target.tag})
            index = _index_with(folder / "index.json", entry)
            _write(folder / "index.json", index.to_json())
            if target.reset:
                _remove_others(folder, index)
        finally:
            os.close(lock)


def _write_layer(target: CacheTarget, folder: Path, layer: LayerRef, store: Store) -> Descriptor:
    """Compressed, unless it is there already."""
    place = folder / "blobs" / "sha256"
    known = store.compressed.get(layer.diff_id, target.compression, target.level)
    if known is not None and (place / known.digest.hex).is_file():
        return known
    part = place / f".part.{os.urandom(6).hex()}"
    try:
        with open(store.trees.tar(layer), "rb", buffering=0) as source, part.open("xb", buffering=0) as sink:
            digest, size = compress(source.fileno(), partial(atomic.write_all, sink.fileno()), target.compression,
                                    level=target.level)
        os.rename(part, place / digest.hex)
    finally:
        part.unlink(missing_ok=True)
    level = "default" if target.level is None else target.level
    blob = Descriptor(media_type=LAYER_OF_COMPRESSION[target.compression], digest=digest, size=size,
                      annotations={PACKED: f"{target.compression} {level}"})
    remember_packing(layer.diff_id, blob, store)
    return blob


def _index_with(path: Path, entry: Descriptor) -> Index:
    """What the folder's index names, with `entry` in the place of what had its tag. A damaged one is replaced."""
    others: tuple[Descriptor, ...] = ()
    with contextlib.suppress(FileNotFoundError, UnsafeArchive):
        others = Index.from_json(path.read_bytes()).manifests
    tag = entry.annotations[REF_NAME]
    return Index(manifests=(*(one for one in others if one.annotations.get(REF_NAME) != tag), entry))


def _remove_others(folder: Path, index: Index) -> None:
    """Blobs that no manifest of the index names."""
    kept: set[str] = set()
    left = [entry.digest for entry in index.manifests]
    while left:
        digest = left.pop()
        kept.add(digest.hex)
        path = folder / "blobs" / digest.algorithm / digest.hex
        with contextlib.suppress(OSError, UnsafeArchive):
            if path.stat().st_size <= MANIFEST_LIMIT:
                parsed = parse_manifest(path.read_bytes(), None)
                if isinstance(parsed, Index):
                    left += [one.digest for one in parsed.manifests if one.digest.hex not in kept]
                else:
                    kept |= {parsed.config.digest.hex, *(blob.digest.hex for blob in parsed.layers)}
    for path in (folder / "blobs" / "sha256").iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".part.{os.urandom(6).hex()}")
    try:
        part.write_bytes(data)
        os.rename(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = DiskFull if atomic.is_full(error) else StoreError
        raise kind(f"cannot write the build cache to {folder}: {error.strerror or error}",
                   hint="name a folder that you may write to, with room in it") from error
