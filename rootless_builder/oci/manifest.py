"""Image manifests and image indexes (image spec, manifest.md and image-index.md), and docker's twins of them."""

from collections.abc import Mapping
from typing import Any

from ..errors import UnsafeArchive
from ..values import dataclass, field
from . import document
from .descriptor import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_MANIFEST_V1,
    DOCKER_MANIFEST_V1_SIGNED,
    MEDIA_TYPE_IMAGE_INDEX,
    MEDIA_TYPE_IMAGE_MANIFEST,
    Descriptor,
)
from .descriptor import media_type as read_media_type
from .digest import Digest

MANIFEST_LIMIT = 4 << 20  # bytes; the distribution spec asks registries to take at least this much
MANIFEST_TYPES = (MEDIA_TYPE_IMAGE_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (MEDIA_TYPE_IMAGE_INDEX, DOCKER_MANIFEST_LIST)
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'  # what the file oci-layout of an image layout says (image-layout.md)
_SCHEMA1_TYPES = (DOCKER_MANIFEST_V1, DOCKER_MANIFEST_V1_SIGNED)


def blob_path(digest: Digest) -> str:
    """Where an image layout has a blob, relative to itself."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image for one platform: its config and its layers, the lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    media_type: str = MEDIA_TYPE_IMAGE_MANIFEST
    artifact_type: str | None = None
    subject: Descriptor | None = None

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Errors: UnsafeArchive."""
        parsed = parse_manifest(data, None)
        if not isinstance(parsed, Manifest):
            raise UnsafeArchive("cannot read the manifest: it is an index of manifests")
        return parsed

    def to_json(self) -> bytes:
        """Canonical bytes; docker's media type stays docker's."""
        return document.dump(document.compact({
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "artifactType": self.artifact_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
            "subject": self.subject.to_json() if self.subject else None,
            "annotations": dict(self.annotations),
        }))

    def descriptor(self) -> Descriptor:
        """Of the canonical bytes."""
        return _describe(self.to_json(), self.media_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Manifests to choose from, or a layout's index.json."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    media_type: str = MEDIA_TYPE_IMAGE_INDEX
    artifact_type: str | None = None
    subject: Descriptor | None = None

    @classmethod
    def from_json(cls, data: bytes) -> "Index":
        """Errors: UnsafeArchive."""
        parsed = parse_manifest(data, None)
        if not isinstance(parsed, Index):
            raise UnsafeArchive("cannot read the index: it is the manifest of one image")
        return parsed

    def to_json(self) -> bytes:
        return document.dump(document.compact({
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "artifactType": self.artifact_type,
            "manifests": [manifest.to_json() for manifest in self.manifests],
            "subject": self.subject.to_json() if self.subject else None,
            "annotations": dict(self.annotations),
        }))

    def descriptor(self) -> Descriptor:
        return _describe(self.to_json(), self.media_type)


def parse_manifest(data: bytes, media_type: str | None) -> Manifest | Index:
    """Bytes of a manifest or an index → its value. Errors: UnsafeArchive.

    `media_type` is what the registry or descriptor called it; None or a type we do not know (a registry may
    answer text/plain) leaves the word to the document itself. A document with both "layers" and "manifests",
    or one that contradicts its media type, is refused (CVE-2021-41190).
    """
    if len(data) > MANIFEST_LIMIT:
        raise UnsafeArchive(f"cannot read the manifest: it is longer than {MANIFEST_LIMIT} bytes")
    source = document.load(data, "manifest")
    inner = document.text(source, "mediaType", "manifest")
    given = (media_type or "").partition(";")[0].strip().lower()
    if given in _SCHEMA1_TYPES or inner in _SCHEMA1_TYPES or source.get("schemaVersion") == 1:
        raise UnsafeArchive("cannot read the manifest: it is of schema 1, which docker gave up in 2019",
                            hint="push the image again with a newer tool")
    if document.number(source, "schemaVersion", "manifest") != 2:
        raise document.refuse("manifest", "schemaVersion", "2")
    is_index = "manifests" in source
    if is_index == ("layers" in source or "config" in source):
        raise UnsafeArchive("cannot read the manifest: it must have either config and layers, or manifests")
    allowed = INDEX_TYPES if is_index else MANIFEST_TYPES
    known = [name for name in (given, inner) if name in MANIFEST_TYPES + INDEX_TYPES]
    if inner and inner not in allowed or any(name not in allowed for name in known):
        raise UnsafeArchive(f"cannot read the manifest: it says it is {inner or given}, and is not")
    if inner and given in allowed and inner != given:
        raise UnsafeArchive(f"cannot read the manifest: it was announced as {given} and says it is {inner}")
    chosen = inner or (given if given in allowed else allowed[0])
    return _index(source, chosen) if is_index else _manifest(source, chosen)


def _manifest(source: document.Object, media_type: str) -> Manifest:
    return Manifest(
        config=Descriptor.from_json(document.mapping(source, "config", "manifest")),
        layers=tuple(map(Descriptor.from_json, document.mappings(source, "layers", "manifest"))),
        media_type=media_type,
        **_shared(source, "manifest"),
    )


def _index(source: document.Object, media_type: str) -> Index:
    return Index(
        manifests=tuple(map(Descriptor.from_json, document.mappings(source, "manifests", "index"))),
        media_type=media_type,
        **_shared(source, "index"),
    )


def _shared(source: document.Object, what: str) -> dict[str, Any]:
    subject = document.mapping(source, "subject", what)
    return {
        "annotations": document.text_map(source, "annotations", what),
        "artifact_type": read_media_type(source, "artifactType", what) or None,
        "subject": Descriptor.from_json(subject) if subject else None,
    }


def _describe(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
