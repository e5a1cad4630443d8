"""--cache-to: the records of a build and the layers they name, as an OCI image manifest.

    config   the records (wire.py)
    layers   one blob for each layer, compressed as push does it, its diff id in an annotation

It goes to a registry, or into a folder that is an OCI image layout (`local`). The third form, `inline`, puts the
records of the image's own layers into its config: a pulled image is a cache then, and no further blob is needed.
mode=min: the steps whose layers are in the result; mode=max: every step that the build met.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DiskFull, StoreError, UnsafeArchive
from ..oci import document
from ..oci.descriptor import MEDIA_TYPE_IMAGE_MANIFEST, Descriptor
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_LIMIT, Index, Manifest, blob_path, parse_manifest
from ..oci.reference import Reference
from ..outputs import layout
from ..outputs.packed import held
from ..store import atomic
from ..store.buildcache import StepRecord
from ..store.images import LayerRef
from ..store.names import REF_NAME
from ..store.packing import Family, Packing, in_family, known, packed
from ..store.store import Store
from ..values import dataclass, replace
from .carried import CarriedCache, bring
from .imports import PACKED, UNCOMPRESSED, CacheImports
from .records import layers_of
from .wire import INLINE, MEDIA_TYPE, dump

if TYPE_CHECKING:
    from ..registry.client import RegistryClient


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
        _to_folder(target, target.folder, records, layers, imports)
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
    family: Family = "oci" if target.oci else "docker"
    ours = f"{target.compression} {'default' if target.level is None else target.level}"
    layers = tuple(Descriptor(
        media_type=in_family(blob.media_type, family), digest=blob.digest, size=blob.size,
        annotations={UNCOMPRESSED: str(diff_id), **blob.annotations, PACKED: blob.annotations.get(PACKED, ours)})
        for diff_id, blob in blobs.items())
    return Manifest(config=config, layers=layers, media_type=in_family(MEDIA_TYPE_IMAGE_MANIFEST, family)), data


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
                           packing=_packing(target), jobs=imports.settings.jobs)
        blobs = {layer.diff_id: there.get(layer.diff_id) or sent[layer.diff_id] for layer in layers}
        manifest, data = _manifest(target, records, blobs)
        if not client.has_blob(reference, manifest.config.digest):
            with open(Inline(data).open()[0], "rb", buffering=0) as source:
                client.upload(reference, manifest.config, partial(os.pread, source.fileno()))
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
               imports: CacheImports) -> None:
    """Blobs first, the index last: whoever reads it meanwhile reads the old cache or the new one."""
    with _explained(folder), layout.alone(folder):
        _drop_damaged_index(folder)
        blobs = {layer.diff_id: _add_layer(target, folder, layer, imports) for layer in layers}
        manifest, config = _manifest(target, records, blobs)
        layout.add_blobs(folder, {Digest.of(data): layout.inline(data) for data in (config, manifest.to_json())})
        layout.add_entries(folder, [replace(manifest.descriptor(), annotations={REF_NAME: target.tag})])
        if target.reset:
            _remove_others(folder)


def _add_layer(target: CacheTarget, folder: Path, layer: LayerRef, imports: CacheImports) -> Descriptor:
    """Compressed, unless it is there already."""
    packing = _packing(target)
    blob = known(layer, imports.store, packing)
    if blob is not None and layout.holds(folder, blob.digest, blob.size):
        return blob
    with packed(layer, imports.store, packing, jobs=imports.settings.jobs) as made, _explained(folder):
        layout.add_blobs(folder, {made.blob.digest: held(made)})
        return made.blob


def _packing(target: CacheTarget) -> Packing:
    return Packing(compression=target.compression, level=target.level)


def _drop_damaged_index(folder: Path) -> None:
    """A cache is begun anew where an image would be refused: nothing is lost but time."""
    try:
        layout.read_index(folder)
    except StoreError:
        (folder / "index.json").unlink(missing_ok=True)


def _remove_others(folder: Path) -> None:
    """Blobs that no manifest of the index names."""
    kept: set[str] = set()
    left = [entry.digest for entry in layout.read_index(folder).manifests]
    while left:
        digest = left.pop()
        kept.add(digest.hex)
        path = folder / blob_path(digest)
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


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = DiskFull if atomic.is_full(error) else StoreError
        raise kind(f"cannot write the build cache to {folder}: {error.strerror or error}",
                   hint="name a folder that you may write to, with room in it") from error
