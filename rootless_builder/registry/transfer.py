"""Pull and push: whole images between a registry and the store.

    pull    manifest (index → the one for the platform) ─▶ config ─▶ layers, side by side ─▶ image, named
    push    layers, side by side: known there? mounted? (compressed and) uploaded ─▶ config ─▶ manifest
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ..errors import AuthError, ImageNotFound, RegistryError, StoreError, UnsafeArchive, UnsupportedError
from ..events import Emit, Notice, Transfer, quiet
from ..oci import descriptor as media
from ..oci.config import CONFIG_LIMIT, ImageConfig
from ..oci.descriptor import MEDIA_TYPE_IMAGE_CONFIG, Descriptor, is_layer
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_LIMIT, Index, Manifest, parse_manifest
from ..oci.platform import Platform, best, host_platform
from ..oci.reference import Reference
from ..store.images import Image, LayerRef
from ..store.making import Making, NotMade
from ..store.packing import Packing, being_packed, index_of, known, manifest_of
from ..store.store import Store
from ..threads import side_by_side
from ..values import replace
from .client import Fetched, RegistryClient, doing

_CONFIGS = (MEDIA_TYPE_IMAGE_CONFIG, media.DOCKER_CONFIG)
_STEPS = 200  # of a blob: how often its progress is told
_WORTH_IT = 4 << 20  # bytes of a layer: less is packed before it is asked for and sent
DEFAULT = Packing()

Item = TypeVar("Item")
Result = TypeVar("Result")


def pull(reference: Reference, store: Store, *, platform: Platform | None = None, client: RegistryClient,
         emit: Emit = quiet, jobs: int = 4) -> Image:
    """The image `reference` names, for `platform` (this machine's if None), into the store under that name.

    What is in the store already is not fetched again. Errors: ImageNotFound, AuthError, RegistryError,
    UnsafeArchive (something lies; nothing is named then), UnsupportedError (not an image), DiskFull, StoreError.
    """
    reference = reference.with_default_tag()
    with doing(f"pull {reference.familiar()}"):
        fetched, manifest = _manifest(reference, platform or host_platform(), client)
        data = _config_blob(manifest, fetched, reference, client)
        config = ImageConfig.from_json(data)
        _check(reference, manifest, config, platform, emit)
        layers = {blob.digest: LayerRef(diff_id=diff_id, blob=blob) for diff_id, blob in
                  zip(config.rootfs_diff_ids, manifest.layers, strict=True)}
        told = _Teller("pulling", reference, emit)
        _side_by_side(lambda layer: _pull_layer(layer, store, client, fetched, reference.path, told),
                      layers.values(), jobs, told, client)
        _put(store, manifest.config.digest, data)
        _put(store, fetched.descriptor.digest, fetched.data)
        return store.images.add(fetched.descriptor, reference=reference)


def fetch_config(reference: Reference, *, platform: Platform, client: RegistryClient) -> ImageConfig:
    """The config of an image alone, nothing is stored. Errors: as `pull`."""
    reference = reference.with_default_tag()
    with doing(f"read {reference.familiar()}"):
        fetched, manifest = _manifest(reference, platform, client)
        return ImageConfig.from_json(_config_blob(manifest, fetched, reference, client))


def push(image: Image, reference: Reference, store: Store, *, client: RegistryClient, emit: Emit = quiet,
         packing: Packing = DEFAULT, by_digest: bool = False, jobs: int = 4) -> Descriptor:
    """Sends the image to where `reference` says; the descriptor of its manifest, or index, there.

    Layers go out as `packing` says; blobs that are there already are not sent. by_digest: no tag is set there.
    Errors: AuthError, RegistryError, UsageError, StoreError, DiskFull.
    """
    packing.check()
    reference = Reference(reference.domain, reference.path) if by_digest else reference.with_default_tag()
    with doing(f"push {reference.familiar()}"):
        told = _Teller("pushing", reference, emit)
        sender = _Sender(store, client, reference, packing, told, jobs)
        distinct = {layer.blob.digest: layer for layer in image.layers}
        sent = dict(zip(distinct, _side_by_side(sender.layer, distinct.values(), jobs, told, client), strict=True))
        sender.stored(image.manifest.config)
        _, descriptor, data = manifest_of(image, [sent[layer.blob.digest] for layer in image.layers], store, packing)
        index = index_of(descriptor, image.config.platform, packing)
        if index is not None:
            client.put_manifest(Reference(reference.domain, reference.path), data, descriptor)
            descriptor, data = index
        client.put_manifest(reference, data, descriptor)
        return descriptor


def send_layers(layers: Iterable[LayerRef], reference: Reference, store: Store, *, client: RegistryClient,
                emit: Emit = quiet, packing: Packing = DEFAULT, jobs: int = 4) -> dict[Digest, Descriptor]:
    """Layers alone into the repository of `reference`: diff id → its blob there. Errors: as `push`."""
    packing.check()
    told = _Teller("pushing", reference, emit)
    sender = _Sender(store, client, reference, packing, told, jobs)
    distinct = {layer.diff_id: layer for layer in layers}
    return dict(zip(distinct, _side_by_side(sender.layer, distinct.values(), jobs, told, client), strict=True))


# ---- pull ------------------------------------------------------------------------------------------------------

def _manifest(reference: Reference, platform: Platform, client: RegistryClient) -> tuple[Fetched, Manifest]:
    """The manifest of one image, whatever stands before it."""
    fetched = client.manifest(reference)
    parsed = parse_manifest(fetched.data, fetched.descriptor.media_type)
    if isinstance(parsed, Index):
        chosen = best(parsed.manifests, platform)
        if chosen is None:
            offered = sorted({str(entry.platform) for entry in parsed.manifests if entry.platform
                              and entry.platform.os != "unknown"})
            hint = f"there are {', '.join(offered)}; choose one with --platform" if offered else None
            raise ImageNotFound(f"it is not there for {platform}", hint=hint)
        fetched = client.manifest(reference.with_digest(chosen.digest), sources=fetched.sources)
        if fetched.descriptor.size != chosen.size:
            raise UnsafeArchive(f"the manifest {chosen.digest} is not as long as its index says")
        parsed = parse_manifest(fetched.data, fetched.descriptor.media_type)
        if isinstance(parsed, Index):
            raise UnsafeArchive(f"the index {reference} names another index")
    return replace(fetched, descriptor=replace(fetched.descriptor, media_type=parsed.media_type)), parsed


def _config_blob(manifest: Manifest, fetched: Fetched, reference: Reference, client: RegistryClient) -> bytes:
    if manifest.config.media_type not in _CONFIGS or not all(is_layer(blob.media_type) for blob in manifest.layers):
        kind = manifest.artifact_type or manifest.config.media_type
        raise UnsupportedError(f"cannot pull {reference.familiar()}: it is not a container image but {kind[:100]}")
    data = client.blob(fetched, reference.path, manifest.config.digest).read(CONFIG_LIMIT)
    if len(data) != manifest.config.size or Digest.of(data, manifest.config.digest.algorithm) != manifest.config.digest:
        raise UnsafeArchive(f"the config arrived with other bytes than {manifest.config.digest}")
    return data


def _check(reference: Reference, manifest: Manifest, config: ImageConfig, platform: Platform | None,
           emit: Emit) -> None:
    if len(config.rootfs_diff_ids) != len(manifest.layers):
        raise UnsafeArchive(f"its config has {len(config.rootfs_diff_ids)} layers, its manifest {len(manifest.layers)}")
    if config.architecture and not (platform or host_platform()).matches(config.platform):
        if platform is not None:
            raise ImageNotFound(f"it is for {config.platform}, not for {platform}")
        emit(Notice(text=f"{reference.familiar()} is for {config.platform}, this machine is {host_platform()}",
                    level="warning"))


def _pull_layer(layer: LayerRef, store: Store, client: RegistryClient, fetched: Fetched, path: str,
                told: "_Teller") -> None:
    """Skips what is here. That a blob inflates to this diff_id is remembered, else a config could lie about it."""
    from .download import download_layer

    blob, pair = layer.blob, f"blob-{layer.blob.digest.hex[:40]}"
    if store.blobs.use(blob.digest, blob.size):
        if store.compressed.get(layer.diff_id, pair, None) is None:
            with store.trees.stream(layer) as tar:
                tar.finish()
    else:
        download_layer(layer, store, client, fetched, path, told.progress(blob))
    store.compressed.put(layer.diff_id, pair, None, blob)
    told.done(blob)


def _put(store: Store, digest: Digest, data: bytes) -> None:
    """A small blob under a digest that may be of another algorithm than the store's own."""
    if not store.blobs.use(digest, len(data)):
        with store.blobs.partial(digest) as writer:
            writer.restart()
            writer.write(data)
            writer.commit(digest, len(data))


# ---- push ------------------------------------------------------------------------------------------------------

class _ThereAlready(Exception):
    """What is being sent need not be."""

    def __init__(self, blob: Descriptor) -> None:
        super().__init__()
        self.blob = blob


class _Sent:
    """The bytes of a blob that is still being made, until it is known and found there."""

    def __init__(self, making: Making, told: "_Teller", is_there: Callable[[Descriptor], bool]) -> None:
        self._making = making
        self._told = told
        self._is_there = is_there
        self._progress: Callable[[int], None] | None = None  # told once there is a digest to name

    def pread(self, size: int, offset: int) -> bytes:
        """Errors: _ThereAlready, NotMade, RegistryError when it is to end."""
        data = self._making.pread(size, offset)
        self._told.check()
        blob = self._making.made
        if data and blob is not None:
            if self._progress is None:
                self._progress = self._told.progress(blob)
                if self._is_there(blob):
                    raise _ThereAlready(blob)
            self._progress(offset)
        return data


class _Sender:
    """What the blobs of one push have in common."""

    def __init__(self, store: Store, client: RegistryClient, reference: Reference, packing: Packing, told: "_Teller",
                 jobs: int) -> None:
        self._store = store
        self._client = client
        self._reference = reference
        self._packing = packing
        self._told = told
        self._jobs = jobs
        self._lock = threading.Lock()
        self._elsewhere: Mapping[Digest, str] | None = None

    def layer(self, layer: LayerRef) -> Descriptor:
        """The blob of this layer as it is in the registry afterwards."""
        expected = known(layer, self._store, self._packing)
        if expected is not None and self._there(expected):
            return expected
        with being_packed(layer, self._store, self._packing, jobs=self._jobs) as making:
            sent = self._as_it_comes(making, expected, layer)
            blob = making.wait()
            if sent != blob and (blob == expected or not self._there(blob)):
                self._client.upload(self._reference, blob, making.pread, self._told.progress(blob))
        self._told.done(blob)
        return blob

    def _as_it_comes(self, making: Making, expected: Descriptor | None, layer: LayerRef) -> Descriptor | None:
        """Sends the blob while it is made: whichever takes longer is what both take. → what was sent, if it was."""
        try:
            if expected is not None:
                self._client.upload(self._reference, expected, making.pread, self._told.progress(expected))
                return expected
            if layer.blob.size < _WORTH_IT:
                return None
            reader = _Sent(making, self._told, self._there)
            self._client.upload_unknown(self._reference, reader.pread, lambda: making.wait().digest)
            return making.made
        except _ThereAlready as found:
            return found.blob
        except (RegistryError, AuthError, NotMade):
            if self._client.cancelled or self._told.stopped or making.wait() == expected:
                raise
            return None  # some registries take no blob of unknown length; or another release packs otherwise

    def stored(self, blob: Descriptor) -> None:
        """Sends a blob of the store as it is."""
        if not self._there(blob):
            with open(self._store.blobs.open(blob.digest), "rb", buffering=0) as source:
                self._client.upload(self._reference, blob, partial(os.pread, source.fileno()),
                                    self._told.progress(blob))
            self._told.done(blob)

    def _there(self, blob: Descriptor) -> bool:
        """Whether the registry has it in this repository, or takes it over from another one."""
        found = self._client.has_blob(self._reference, blob.digest)
        if not found:
            source = self._sources().get(blob.digest)
            found = source is not None and self._client.mount(self._reference, blob.digest, source)
        if found:
            self._told.done(blob)
        return found

    def _sources(self) -> Mapping[Digest, str]:
        """digest → another repository of the same registry that an image here with this blob is named after."""
        with self._lock:
            if self._elsewhere is None:
                self._elsewhere = dict(_blobs_elsewhere(self._store, self._reference))
            return self._elsewhere


def _blobs_elsewhere(store: Store, reference: Reference) -> Iterator[tuple[Digest, str]]:
    for name, descriptor in store.images.names.all().items():
        other = Reference.parse(name)
        if other.domain == reference.domain and other.path != reference.path:
            with suppress(StoreError, UnsafeArchive):  # a damaged image is no reason not to push another
                manifest = Manifest.from_json(store.blobs.read(descriptor.digest, MANIFEST_LIMIT))
                yield from ((blob.digest, other.path) for blob in (manifest.config, *manifest.layers))


# ---- both ------------------------------------------------------------------------------------------------------

class _Teller:
    """Transfer events of one pull or push, from any thread, one at a time and not too many."""

    def __init__(self, verb: str, reference: Reference, emit: Emit) -> None:
        self._verb = verb
        self._name = reference.familiar()
        self._emit = emit
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Whoever reports progress next ends there."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def check(self) -> None:
        """Errors: RegistryError once it is to stop."""
        if self.stopped:
            raise RegistryError("it was interrupted")

    def progress(self, blob: Descriptor) -> Callable[[int], None]:
        """To be called with the number of bytes done, as often as one likes."""
        step, told = max(1 << 16, blob.size // _STEPS), [-(1 << 62)]

        def tell(done: int) -> None:
            self.check()
            if abs(done - told[0]) >= step and done < blob.size:
                told[0] = done
                self._tell(blob, done)
        return tell

    def done(self, blob: Descriptor) -> None:
        self._tell(blob, blob.size)

    def _tell(self, blob: Descriptor, done: int) -> None:
        with self._lock:
            self._emit(Transfer(verb=self._verb, name=self._name, digest=str(blob.digest), done=done, total=blob.size))


def _side_by_side(work: Callable[[Item], Result], items: Iterable[Item], jobs: int, told: _Teller,
                  client: RegistryClient) -> list[Result]:
    """`work` on each item in threads; results in order. The first error ends the others soon, Ctrl-C at once."""
    def broken() -> None:
        told.stop()
        client.cancel()

    return side_by_side(work, items, jobs, failed=told.stop, broken=broken)
