"""What is done with images besides building and running them: ten lines each.

Names are as a user types them: a name, or the beginning of an ID. Nothing here prints: the CLI does. What only one of
them needs is imported by it.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Settings
from .errors import ImageNotFound
from .events import Emit, ImageTagged
from .oci.config import ImageConfig
from .oci.platform import Platform, host_platform
from .oci.reference import Reference
from .store.images import Image, ImageRecord, Removed
from .store.packing import Packing
from .store.store import Store
from .values import dataclass, replace

if TYPE_CHECKING:
    from .outputs.packed import PackedImage
    from .scratch.scratch import Scratch
    from .store.gc import Report
    from .store.importing import Reader
    from .store.repair import Repaired
    from .store.verify import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One step of an image, newest first in a listing. size: bytes of its layer as stored, 0 without one."""

    created: str | None
    created_by: str
    size: int
    comment: str
    layer: str


def find(store: Store, name: str, settings: Settings) -> Image:
    """Errors: ImageNotFound."""
    image = store.images.find(name, default_registry=settings.default_registry)
    if image is None:
        raise ImageNotFound(f"cannot find the image {name} in the store",
                            hint=f"`iechor images` lists what is there; `iechor pull {name}` fetches it")
    return image


def reference(name: str, settings: Settings) -> Reference:
    """Errors: UsageError."""
    return Reference.parse(name, default_registry=settings.default_registry).with_default_tag()


def config_fetcher(settings: Settings, emit: Emit) -> Callable[[Reference, Platform], ImageConfig]:
    """Asks a registry for the config of an image; nothing is stored."""

    def fetch(wanted: Reference, platform: Platform) -> ImageConfig:
        from .registry.client import RegistryClient
        from .registry.transfer import fetch_config

        with RegistryClient.of(settings, emit) as client:
            return fetch_config(wanted, platform=platform, client=client)

    return fetch


def pull(name: str, store: Store, settings: Settings, *, platform: Platform | None, emit: Emit) -> Image:
    """Errors: ImageNotFound, RegistryError, AuthError, UnsafeArchive, DiskFull."""
    from .bases.pulling import Puller

    return Puller(store, settings, emit)(reference(name, settings), platform)


def push(name: str, destination: str | None, store: Store, settings: Settings, *, compression: str | None = None,
         level: int | None = None, emit: Emit) -> str:
    """The digest of the manifest that the registry has now. Errors: as `pull`."""
    from .registry.client import RegistryClient
    from .registry.transfer import push as transfer

    image = find(store, name, settings)
    with RegistryClient.of(settings, emit) as client:
        packing = Packing(compression=compression or settings.compression,
                          level=settings.compression_level if level is None else level)
        sent = transfer(image, reference(destination or name, settings), store, client=client, emit=emit,
                        packing=packing, jobs=settings.jobs)
    return str(sent.digest)


def tag(source: str, targets: Sequence[str], store: Store, settings: Settings, *, emit: Emit) -> None:
    image = find(store, source, settings)
    for target in targets:
        named = reference(target, settings)
        store.images.tag(named, image.manifest_descriptor)
        emit(ImageTagged(name=named.familiar(), image_id=str(image.id)))


def images(store: Store) -> list[ImageRecord]:
    return store.images.list()


def rmi(names: Sequence[str], store: Store, settings: Settings, *, force: bool) -> list[Removed]:
    """Removes what can be removed; the first error is raised after the rest was done. Errors: ImageNotFound."""
    done, failed = [], None
    for name in names:
        try:
            done.append(store.images.remove(name, default_registry=settings.default_registry, force=force))
        except ImageNotFound as error:
            failed = failed or (None if force else error)
    store.collect()
    if failed is not None:
        raise failed
    return done


def inspect(name: str, store: Store, settings: Settings) -> dict[str, Any]:
    """As docker and podman tell it: Id, RepoTags, RepoDigests, Created, Config, Architecture, Os, Size, RootFS …"""
    image = find(store, name, settings)
    record = next((one for one in store.images.list() if one.manifest.digest == image.manifest_descriptor.digest), None)
    names = [reference(one, settings) for one in (record.names if record else ())]
    config: ImageConfig = image.config
    return {
        "Id": str(image.id), "Digest": str(image.manifest_descriptor.digest),
        "RepoTags": [one.familiar() for one in names],
        "RepoDigests": sorted({f"{one.name}@{image.manifest_descriptor.digest}" for one in names}),
        "Created": config.created, "Author": config.author, "Architecture": config.architecture, "Os": config.os,
        "Variant": config.variant, "Size": record.size if record else 0, "Config": config.config.to_json(),
        "RootFS": {"Type": "layers", "Layers": [str(layer.diff_id) for layer in image.layers]},
        "History": [entry.to_json() for entry in config.history],
        "Manifest": image.manifest_descriptor.to_json(),
    }


def history(name: str, store: Store, settings: Settings) -> list[HistoryRow]:
    """The newest step first, as docker shows it."""
    image = find(store, name, settings)
    left = list(image.layers)
    rows = []
    for entry in image.config.history:
        layer = left.pop(0) if left and not entry.empty_layer else None
        rows.append(HistoryRow(created=entry.created, created_by=entry.created_by, comment=entry.comment,
                               size=layer.blob.size if layer else 0, layer=str(layer.diff_id) if layer else ""))
    rows += [HistoryRow(created=None, created_by="", comment="", size=layer.blob.size, layer=str(layer.diff_id))
             for layer in left]
    return rows[::-1]


def save(names: Sequence[str], store: Store, settings: Settings, *, out_fd: int | None = None,
         folder: Path | None = None, compression: str | None = None, level: int | None = None) -> None:
    """One archive (or layout folder) with all of them: every engine reads it. compression: None for as they are stored.

    Errors: ImageNotFound, DiskFull, UsageError (a level that is none).
    """
    from .outputs.archive import write_archive
    from .outputs.layout import write_folder
    from .outputs.packed import as_stored, packed_image

    packing = None if compression is None else Packing(compression=compression, level=level)
    if packing is not None:
        packing.check()
    with ExitStack() as stack:
        wanted: list[tuple[Reference | None, PackedImage]] = []
        for name in names:
            image = find(store, name, settings)
            found = as_stored(image, store) if packing is None else stack.enter_context(
                packed_image(image, store, packing, jobs=settings.jobs))
            wanted.append((None if is_id(name, image) else reference(name, settings), found))
        if folder is not None:
            write_folder(wanted, folder)
        elif out_fd is not None:
            write_archive(wanted, out_fd)


def is_id(name: str, image: Image) -> bool:
    return image.id.hex.startswith(name.removeprefix("sha256:"))


def load(source: Path | int, store: Store, settings: Settings, *, tmp: Path,
         emit: Emit) -> list[tuple[str | None, Image]]:
    """From a layout folder, an archive's path, or the fd of one. → (name or None, image) each.

    Errors: UnsafeArchive, DiskFull, SourceError.
    """
    from .sources.archive import ArchiveSource
    from .store.importing import FolderReader, TreeReader

    if isinstance(source, Path) and os.path.isdir(source):  # Path.is_dir raises where a folder above is closed
        return _import(FolderReader(source, what=str(source)), store, settings, emit)
    fd = source if isinstance(source, int) else _opened(source)
    what = "standard input" if isinstance(source, int) else str(source)
    with ArchiveSource(fd, what=what, tmp=tmp) as archive:
        return _import(TreeReader(archive.tree(), what=what), store, settings, emit)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageNotFound(f"cannot read {path}: {error.strerror}") from error


def _import(reader: "Reader", store: Store, settings: Settings, emit: Emit) -> list[tuple[str | None, Image]]:
    from .store.importing import import_images

    found = import_images(reader, store, default_registry=settings.default_registry, platform=host_platform())
    for name, image in found:
        if name is not None:
            named = reference(name, settings)
            store.images.tag(named, image.manifest_descriptor)
            emit(ImageTagged(name=named.familiar(), image_id=str(image.id)))
    return found


def prune(store: Store, *, images: bool, cache: bool, keep: frozenset[Any] = frozenset()) -> "Report":
    """Blobs that nothing uses and images without a name; `images`: also named ones, but for `keep` (IDs);
    `cache`: also the build cache. Errors: StoreError.
    """
    from .store.gc import Policy

    return store.collect(Policy(dangling=True, unused=images, cache=cache, keep=keep))


def check(store: Store, *, scratch: "Scratch | None", quick: bool,
          repair: bool) -> "tuple[Verdict, Repaired | None]":
    """Are the store, and what is unpacked of it, sound? With `repair`, and where they are not, they are mended.

    Errors: StoreError, DiskFull.
    """
    from .store import repair as mending
    from .store import verify

    verdict = verify.verify(store, quick=quick)
    if repair:
        verdict = mending.open_up(store, verdict, quick=quick)
    flaws = dict(scratch.flaws(store, quick=quick)) if scratch is not None and not verdict.closed else {}
    mended = mending.repair(store, verdict) if repair else None
    verdict.damages += [verify.Damage(kind="derived", path=path, what=what) for path, what in flaws.items()]
    if mended is not None and scratch is not None:
        mended = replace(mended, removed=mended.removed + sum(map(scratch.forget, flaws)))
    return verdict, mended


def login(registry: str | None, user: str, password: str, settings: Settings, *, emit: Emit) -> str:
    """Asks the registry whether it knows them, then keeps them; returns where. Errors: AuthError, RegistryError."""
    from .registry.client import RegistryClient

    with RegistryClient.of(settings, emit) as client:
        return client.login(registry or settings.default_registry, user, password)


def logout(registry: str | None, settings: Settings, *, emit: Emit) -> bool:
    """Whether there was anything to forget; files of docker and podman that still know the host are named."""
    from .registry.client import RegistryClient

    with RegistryClient.of(settings, emit) as client:
        return client.logout(registry or settings.default_registry)

