"""Descriptors (image spec, descriptor.md) and the media types we read and write."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from ..values import dataclass, field
from . import document
from .digest import Digest, described
from .platform import Platform

MEDIA_TYPE_IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_TYPE_IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_TYPE_IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_TYPE_LAYER = "application/vnd.oci.image.layer.v1.tar"
MEDIA_TYPE_LAYER_GZIP = MEDIA_TYPE_LAYER + "+gzip"
MEDIA_TYPE_LAYER_ZSTD = MEDIA_TYPE_LAYER + "+zstd"

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST_V1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_MANIFEST_V1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"

Compression = Literal["none", "gzip", "zstd"]
# Foreign ("non-distributable") layers are deprecated, and still read.
_LAYERS: Mapping[str, Compression] = {
    MEDIA_TYPE_LAYER: "none", MEDIA_TYPE_LAYER_GZIP: "gzip", MEDIA_TYPE_LAYER_ZSTD: "zstd",
    DOCKER_LAYER: "none", DOCKER_LAYER_GZIP: "gzip", DOCKER_LAYER_ZSTD: "zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "none",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "none",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
}
LAYER_OF_COMPRESSION: Mapping[str, str] = {
    "none": MEDIA_TYPE_LAYER, "gzip": MEDIA_TYPE_LAYER_GZIP, "zstd": MEDIA_TYPE_LAYER_ZSTD,
}

# RFC 6838 section 4.2, RFC 3986 section 3, RFC 4648 section 4, as the image spec's schemas have them
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(f"{_NAME}/{_NAME}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a blob is, how it is addressed, how long it is (bytes)."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str | None = None

    @classmethod
    def from_json(cls, source: document.Object) -> "Descriptor":
        """From a decoded JSON object. Errors: UnsafeArchive."""
        what = "descriptor"
        size = document.number(source, "size", what)
        if not 0 <= size < 1 << 63 or "size" not in source:
            raise document.refuse(what, "size", "a length in bytes")
        platform = document.mapping(source, "platform", what)
        urls = document.texts(source, "urls", what) or ()
        if not all(map(_URL.fullmatch, urls)):
            raise document.refuse(what, "urls", "a list of URLs")
        if not _BASE64.fullmatch(document.text(source, "data", what)):
            raise document.refuse(what, "data", "base64")
        document.required_text(source, "mediaType", what)
        return cls(
            media_type=media_type(source, "mediaType", what),
            digest=described(document.required_text(source, "digest", what)),
            size=size,
            annotations=document.text_map(source, "annotations", what),
            platform=_platform_from_json(platform) if platform else None,
            urls=urls,
            artifact_type=media_type(source, "artifactType", what) or None,
        )

    def to_json(self) -> dict[str, Any]:
        return document.compact({
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
            "annotations": dict(self.annotations),
            "platform": _platform_to_json(self.platform) if self.platform else None,
            "urls": list(self.urls) or None,
            "artifactType": self.artifact_type,
        })


def media_type(source: document.Object, key: str, what: str) -> str:
    """"" when absent. Errors: UnsafeArchive."""
    text = document.text(source, key, what)
    if text and not _MEDIA_TYPE.fullmatch(text):
        raise document.refuse(what, key, "a media type")
    return text


def _platform_from_json(source: document.Object) -> Platform:
    if "os" not in source or "architecture" not in source:
        raise document.refuse("descriptor", "platform", "an os and an architecture")
    return Platform(
        os=document.text(source, "os", "platform"),
        architecture=document.text(source, "architecture", "platform"),
        variant=document.text(source, "variant", "platform"),
        os_version=document.text(source, "os.version", "platform"),
        os_features=document.texts(source, "os.features", "platform") or (),
    )


def _platform_to_json(platform: Platform) -> dict[str, Any]:
    return document.compact({
        "os": platform.os, "architecture": platform.architecture, "variant": platform.variant,
        "os.version": platform.os_version, "os.features": list(platform.os_features) or None,
    })


def is_layer(media_type: str) -> bool:
    """Whether it is a tar of changes, in any compression we know."""
    return media_type in _LAYERS


def compression_of(media_type: str) -> Compression:
    """How a layer of this media type is compressed. Errors: UnsafeArchive when it is no layer we know."""
    try:
        return _LAYERS[media_type]
    except KeyError:
        raise document.refuse("manifest", "mediaType", f"a layer we can read ({media_type[:100]})") from None
