"""Images: a manifest, its config and its layers, found by name or by ID (the digest of the config).

    images/HEX   {"manifest": {descriptor}, "config": "sha256:…", "created": …, "size": …}   (HEX: of the manifest)

An image lives until it is removed by `remove` or, without a name, by prune (gc.py). A pulled image keeps its
manifest and config byte for byte.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import DiskFull, ImageNotFound, StoreError, UnsafeArchive, UsageError
from ..oci.config import CONFIG_LIMIT, ImageConfig
from ..oci.descriptor import MEDIA_TYPE_IMAGE_CONFIG, Descriptor
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_LIMIT, Manifest
from ..oci.reference import Reference
from ..values import dataclass
from . import atomic
from .blobs import Blobs
from .layout import REMEDY, Layout
from .leases import Leases
from .names import Names, read_record, records


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRef:
    """A layer of an image: what it is (digest of the tar) and the blob that holds it (maybe compressed)."""

    diff_id: Digest
    blob: Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """id: the digest of the config. layers: the lowest first."""

    manifest_descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    layers: tuple[LayerRef, ...]

    @property
    def id(self) -> Digest:
        return self.manifest.config.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One line of `iechor images`. names: canonical references, () for an image without one.

    created: RFC 3339 as the config has it, or None. size: bytes of config and layers as stored.
    stored: nanoseconds, when the image came into the store.
    """

    id: Digest
    manifest: Descriptor
    names: tuple[str, ...]
    created: str | None
    size: int
    stored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What `remove` did: names taken away, images (IDs) that are no longer here."""

    untagged: tuple[str, ...]
    deleted: tuple[Digest, ...]


class Images:
    def __init__(self, layout: Layout, blobs: Blobs, leases: Leases) -> None:
        self._layout = layout
        self._blobs = blobs
        self._leases = leases
        self.names = Names(layout)

    def get(self, reference: Reference) -> Image | None:
        """The image of this name (with `latest` where it says no tag), None where there is none. What it needs
        stays until the lease of this process ends. A name with a digest also finds an image of that manifest
        digest under another tag. Errors: StoreError.
        """
        wanted = reference.with_default_tag()
        found = self.names.get(str(wanted))
        if found is None and wanted.digest is not None:
            record = read_record(self._layout.images / wanted.digest.hex, self._layout.seen)
            found = None if record is None else parse_record(record)[0]
        if self._layout.private and found is not None and wanted.digest not in (None, found.digest):
            return None  # by an index's digest, which only a registry can vouch for, or the file lies
        return None if found is None else self.load(found)

    def by_id(self, prefix: str) -> Image:
        """The image whose ID begins with these hex digits ("sha256:" may stand before them).

        Errors: ImageNotFound, UsageError when several do, StoreError.
        """
        record = self._match(prefix)
        image = self.load(record.manifest)
        if image.id != record.id:
            raise StoreError(f"cannot use the image {record.id.short}: its record in the store leads to "
                             f"{image.id.short}", hint="`iechor check` tells what else is damaged")
        return image

    def find(self, text: str, *, default_registry: str) -> Image | None:
        """What a user typed: a name, else the beginning of an ID. None when it is neither."""
        with contextlib.suppress(UsageError):
            image = self.get(Reference.parse(text, default_registry=default_registry))
            if image is not None:
                return image
        with contextlib.suppress(ImageNotFound):
            return self.by_id(text)
        return None

    def load(self, manifest: Descriptor) -> Image:
        """Errors: StoreError when a part of the image is missing or damaged, UnsafeArchive when it lies."""
        self._leases.protect((manifest.digest,), kind="image")
        parsed = Manifest.from_json(self._blobs.read(manifest.digest, MANIFEST_LIMIT))
        config = ImageConfig.from_json(self._blobs.read(parsed.config.digest, CONFIG_LIMIT))
        if len(config.rootfs_diff_ids) != len(parsed.layers):
            raise UnsafeArchive(f"cannot use the image {parsed.config.digest}: its config has "
                                f"{len(config.rootfs_diff_ids)} layers, its manifest {len(parsed.layers)}")
        layers = tuple(LayerRef(diff_id=diff_id, blob=blob)
                       for diff_id, blob in zip(config.rootfs_diff_ids, parsed.layers, strict=True))
        return Image(manifest_descriptor=manifest, manifest=parsed, config=config, layers=layers)

    def recorded(self, path: Path) -> Image | None:
        """The image of one record, a file of images/; None when it is no longer there. Errors: as `load`."""
        record = read_record(path)
        return None if record is None else self.load(parse_record(record)[0])

    def put(self, layers: Iterable[Descriptor], config: ImageConfig, *, reference: Reference | None = None,
            annotations: dict[str, str] | None = None) -> Image:
        """A new image of ours from layers that are in the store; named if a reference is given.

        Errors: DiskFull, StoreError when a layer is missing.
        """
        return self.add(self.compose(layers, config, annotations=annotations).manifest_descriptor, reference=reference)

    def compose(self, layers: Iterable[Descriptor], config: ImageConfig, *,
                annotations: dict[str, str] | None = None) -> Image:
        """The same image without making it one of the store's: its parts stay until the lease of this process ends.

        Errors: DiskFull, StoreError.
        """
        data = config.to_json()
        digest = self._blobs.put(data)
        manifest = Manifest(
            config=Descriptor(media_type=MEDIA_TYPE_IMAGE_CONFIG, digest=digest, size=len(data)),
            layers=tuple(layers), annotations=annotations or {})
        body = manifest.to_json()
        return self.load(Descriptor(media_type=manifest.media_type, digest=self._blobs.put(body), size=len(body)))

    def add(self, manifest: Descriptor, *, reference: Reference | None = None) -> Image:
        """An image whose manifest, config and layers are in the store as blobs (pulled, loaded), byte for byte.

        The descriptor's platform and annotations are not kept: they belong to the index it came from.
        Errors: DiskFull, StoreError when a part is missing or of another size.
        """
        plain = Descriptor(media_type=manifest.media_type, digest=manifest.digest, size=manifest.size)
        image = self.load(plain)
        self._check(image)
        changed = self._record(image)
        if reference is not None:
            changed |= self.names.set(str(reference.with_default_tag()), plain)
            changed |= self._record(image)  # again: a prune may just have taken it for one without a name
        if changed:
            self._check(image)  # again, now that the record tells a prune of these blobs: decision 0043
        self.publish(sync=changed)
        return image

    def tag(self, reference: Reference, manifest: Descriptor) -> Image:
        """One more name; one that another image had is taken from it. Errors: as `add`."""
        return self.add(manifest, reference=reference)

    def list(self) -> "list[ImageRecord]":
        """Every image, the newest first. Errors: StoreError."""
        names: dict[Digest, list[str]] = {}
        for name, manifest in self.names.all().items():
            names.setdefault(manifest.digest, []).append(name)
        found = []
        for record in records(self._layout.images):
            with contextlib.suppress(StoreError):
                manifest, config = parse_record(record)
                found.append(ImageRecord(
                    id=config, manifest=manifest, names=tuple(names.get(manifest.digest, ())),
                    created=record.get("created"), size=int(record.get("size", 0)),
                    stored=int(record.get("stored", 0))))
        return sorted(found, key=lambda image: (-image.stored, image.id.hex))

    def remove(self, text: str, *, default_registry: str, force: bool = False) -> Removed:
        """`rmi`: a name is taken away, and the image with its last one; an ID removes the image, if it has at
        most one name or by `force`. The blobs go with the next `gc.collect`.

        Errors: ImageNotFound, UsageError.
        """
        with contextlib.suppress(UsageError):
            reference = Reference.parse(text, default_registry=default_registry).with_default_tag()
            manifest = self.names.get(str(reference))
            if manifest is not None:
                return self._remove_name(str(reference), manifest)
        image = self._match(text)
        if len(image.names) > 1 and not force:
            raise UsageError(f"cannot remove the image {image.id.short}: it has several names "
                             f"({', '.join(image.names)})", hint="remove it by name, or with --force")
        return self.delete(image)

    def delete(self, image: ImageRecord) -> Removed:
        """The image and all its names."""
        for name in image.names:
            self.names.remove(name)
        with atomic.explained("remove an image", self._layout.images, remedy=REMEDY):
            atomic.remove(self._layout.images / image.manifest.digest.hex)
        if any(manifest.digest == image.manifest.digest for manifest in self.names.all().values()):
            self._record(self.load(image.manifest))  # somebody has just given it a name
            return Removed(untagged=image.names, deleted=())
        self.publish()
        return Removed(untagged=image.names, deleted=(image.id,))

    def _remove_name(self, name: str, manifest: Descriptor) -> Removed:
        for image in self.list():
            if image.manifest.digest == manifest.digest and image.names == (name,):
                return self.delete(image)
        self.names.remove(name)
        self.publish()
        return Removed(untagged=(name,), deleted=())

    def _match(self, prefix: str) -> ImageRecord:
        digits = prefix.removeprefix("sha256:")
        found = [image for image in self.list() if digits and image.id.hex.startswith(digits)]
        if not found:
            raise ImageNotFound(f"cannot find the image {prefix!r} in the store",
                                hint="`iechor images` lists what is there")
        if len({image.id for image in found}) > 1:
            raise UsageError(f"cannot tell which image {prefix!r} is: {len(found)} IDs begin so",
                             hint="give more digits of the ID")
        return max(found, key=lambda image: len(image.names))

    def _check(self, image: Image) -> None:
        for part in (image.manifest.config, *image.manifest.layers):
            if not self._blobs.awaited(part.digest, part.size):
                raise StoreError(f"cannot add the image {image.id.short}: its blob {part.digest} "
                                 f"({part.size} bytes) is not in the store", hint="pull or build the image again")

    def _record(self, image: Image) -> bool:
        """Whether it was not there."""
        manifest = image.manifest_descriptor
        with contextlib.suppress(StoreError):
            if read_record(self._layout.images / manifest.digest.hex, self._layout.seen) is not None:
                return False
        size = image.manifest.config.size + sum({blob.digest: blob.size for blob in image.manifest.layers}.values())
        data = json.dumps({"manifest": manifest.to_json(), "config": str(image.id), "created": image.config.created,
                           "size": size, "stored": self._layout.now()}, sort_keys=True).encode()
        self._layout.write(self._layout.images / manifest.digest.hex, data, "record an image", durable=True)
        return True

    def catch_up(self) -> None:
        """index.json anew when a command was killed between a name and the index: each that opens the store looks.

        Told by times alone, three stats: the index is written last. Errors: none.
        """
        with contextlib.suppress(OSError, StoreError, DiskFull):
            index = os.stat(self._layout.index).st_mtime_ns
            if index <= max(os.stat(self._layout.refs).st_mtime_ns, os.stat(self._layout.images).st_mtime_ns):
                self.names.write_index(self._unnamed)
                os.utime(self._layout.index)

    def index_is_right(self) -> bool:
        """Whether index.json lists what is here."""
        return self.names.index_is_right(self._unnamed)

    def _unnamed(self) -> "Sequence[Descriptor]":
        return [image.manifest for image in self.list() if not image.names]

    def publish(self, *, sync: bool = True) -> None:
        """index.json anew if it is not right, and all names on disk before the command reports success."""
        self.names.write_index(self._unnamed)
        if not sync:
            return
        for folder in (self._layout.blobs / "sha256", self._layout.images, self._layout.refs, self._layout.root):
            atomic.sync_folder(folder)


def parse_record(record: dict[str, Any]) -> tuple[Descriptor, Digest]:
    """Errors: StoreError."""
    try:
        return Descriptor.from_json(record["manifest"]), Digest.parse(record["config"])
    except (KeyError, AttributeError, TypeError, UnsafeArchive) as error:
        raise StoreError("cannot read an image of the store: its record is damaged",
                         hint="pull or build the image again") from error
