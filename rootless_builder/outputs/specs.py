"""`--output` of `iechor build`, as BuildKit's client reads it → what is to be written.

    TYPE,KEY=VALUE,…     one line of comma-separated values (quotes as in csvline.py), keys in any case
    DIR                  type=local,dest=DIR
    -                    type=tar,dest=-

    type=registry is type=image,push=true; type=docker without dest is the store, as --load
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ..config import Settings
from ..errors import UnsupportedError, UsageError
from ..language import csvline
from ..language.suggest import nearest
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..store.packing import Packing
from ..values import dataclass, field
from .annotating import IN_OUTPUT, Annotations
from .archive import ArchiveOutput
from .layout import LayoutOutput
from .local import LocalOutput
from .output import CacheOnly, Output
from .registry import ImageOutput
from .tarball import TarOutput

COMPRESSIONS = {"uncompressed": "none", "none": "none", "gzip": "gzip", "zstd": "zstd"}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True", ""})  # Go's strconv.ParseBool, and a key without a value
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})

_PACKING = ("compression", "compression-level", "force-compression", "oci-mediatypes")
_CHANGED = ("rewrite-timestamp", "name", "oci-artifact", "attestation-inline", "prefer-nondist-layers", "unpack")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "local": ("dest", "mode", "platform-split"),
    "tar": ("dest", "platform-split"),
    "oci": ("dest", "tar", *_PACKING, *_CHANGED),
    "docker": ("dest", "tar", "context", *_PACKING, *_CHANGED),
    "image": ("push", "push-by-digest", "registry.insecure", "store", "name-canonical", "dangling-name-prefix",
              "danging-name-empty-only", "dangling-name-empty-only", *_PACKING, *_CHANGED),
    "cacheonly": (),
}
# What these ask for happens anyway with the value given; anything else is refused.
_HARMLESS: Mapping[str, bool] = {"oci-artifact": False, "attestation-inline": False, "prefer-nondist-layers": False,
                                 "unpack": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDefaults:
    """What counts where an output does not say otherwise. names: of --tag; keep: folders no mode=delete may empty;
    annotations: of --annotation, of which the image itself has those of its manifest; indexed: as
    BUILDKIT_MULTI_PLATFORM has it, the one platform is written as one of several would be.
    """

    names: tuple[Reference, ...] = ()
    settings: Settings
    platform: Platform
    compression: str | None = None
    level: int | None = None
    force: bool = False
    keep: tuple[Path, ...] = ()
    annotations: Annotations = field(default_factory=Annotations, hash=False)
    indexed: bool = False


def parse_outputs(texts: Sequence[str], defaults: OutputDefaults, *, push: bool = False,
                  load: bool = False) -> tuple[Output, ...]:
    """All outputs of a build; () when none was asked for. Errors: UsageError, UnsupportedError."""
    fields = [_fields(text) for text in texts]
    if push:
        images = [one for one in fields if one.kind == "image"]
        for one in images:
            one.values["push"] = "true"
        if not images:
            fields.append(_Fields("--push", "image", {"push": "true"}))
    if load and not any(one.kind == "docker" and "dest" not in one.values for one in fields):
        fields.append(_Fields("--load", "docker", {}))
    outputs = tuple(_output(one, defaults) for one in fields)
    if sum(output.to_stdout for output in outputs) > 1:
        raise UsageError("cannot write two outputs to standard output", hint="name a file for one, as dest=FILE")
    return outputs


@dataclass(slots=True)
class _Fields:
    """One --output, read but not understood. `values` has the keys in lower case."""

    text: str
    kind: str
    values: dict[str, str] = field(default_factory=dict)

    def refused(self, cause: str, hint: str) -> UsageError:
        return UsageError(f'cannot use --output "{self.text}": {cause}', hint=hint)

    def flag(self, key: str, default: bool = False) -> bool:
        """Errors: UsageError."""
        value = self.values.get(key)
        if value is None:
            return default
        if value not in _TRUE | _FALSE:
            raise self.refused(f"{key}={value} is neither true nor false", f"write {key}=true or {key}=false")
        return value in _TRUE


def _fields(text: str) -> _Fields:
    try:
        fields = csvline.read(text)
    except ValueError as error:
        raise UsageError(f'cannot use --output "{text}": {error}', hint="write --output type=TYPE,dest=PATH") from None
    if fields == [text] and not text.startswith("type="):
        return _Fields(text, "tar" if text == "-" else "local", {"dest": text})
    found = _Fields(text, "")
    for one in fields:
        key, equals, value = one.partition("=")
        if not equals:
            raise found.refused(f'"{one}" is not of the form KEY=VALUE', "write --output type=TYPE,dest=PATH")
        key = key if key.lower().startswith("annotation") else key.lower()
        if key == "type":
            found.kind = value
        else:
            found.values[key] = value
    _know(found)
    return found


def _know(found: _Fields) -> None:
    """The type and every key of it. Errors: UsageError."""
    types = (*_KEYS, "registry")
    if found.kind not in types:
        near = nearest(found.kind, types)
        cause = f'there is no type "{found.kind}"' if found.kind else "it has no type"
        raise found.refused(cause, f"did you mean type={near}?" if near else
                            f"the types are {', '.join(sorted(types))}")
    if found.kind == "registry":
        found.kind = "image"
        found.values.setdefault("push", "true")
    known = _KEYS[found.kind]
    for key in found.values:
        if key in known or ("name" in known and IN_OUTPUT.fullmatch(key)):
            continue
        if key == "dest":
            raise found.refused(f"type={found.kind} has no dest", "leave dest out, or take type=oci or type=docker")
        if key in ("output", "source-date-epoch"):
            raise found.refused(f"there is no {key} here", "write dest=PATH" if key == "output" else
                                "give --source-date-epoch SECONDS to the build")
        near = nearest(key, (*known, "annotation"))
        raise found.refused(f'type={found.kind} has no "{key}"', f"did you mean {near}?" if near else
                            f"it has {', '.join(known) or 'nothing'}")


def _output(found: _Fields, defaults: OutputDefaults) -> Output:
    for key, harmless in _HARMLESS.items():
        if key in found.values and found.flag(key) != harmless:
            raise UnsupportedError(f"cannot carry out {key}={found.values[key]} of --output", hint=f"leave {key} out")
    found.flag("rewrite-timestamp")
    make: Callable[[_Fields, OutputDefaults], Output] = _MAKERS[found.kind]
    return make(found, defaults)


def _local(found: _Fields, defaults: OutputDefaults) -> Output:
    mode = found.values.get("mode", "copy").strip().lower()
    if mode not in ("", "copy", "delete"):
        raise found.refused(f"there is no mode {mode}", "the modes are copy and delete")
    if not found.values.get("dest"):
        raise found.refused("type=local needs dest", "write --output type=local,dest=FOLDER")
    part = _folder(defaults) if found.flag("platform-split", defaults.indexed) else ""
    return LocalOutput(dest=found.values["dest"], delete=mode == "delete", keep=defaults.keep, part=part)


def _folder(defaults: OutputDefaults) -> str:
    return str(defaults.platform).replace("/", "_")


def _tar(found: _Fields, defaults: OutputDefaults) -> Output:
    found.flag("platform-split")  # BuildKit passes it over: several platforms are always split, one never is
    return TarOutput(dest=found.values.get("dest") or "-", part=_folder(defaults) if defaults.indexed else "")


def _archive(found: _Fields, defaults: OutputDefaults) -> Output:
    docker = found.kind == "docker"
    names, packing = _names(found, defaults), _packing(found, defaults, "docker" if docker else "oci")
    if "context" in found.values:
        raise UnsupportedError("cannot carry out context of --output: there is no daemon to load the image into",
                               hint="leave context out: the image goes into the store of iechor")
    if not found.flag("tar", True):
        if not found.values.get("dest"):
            raise found.refused("tar=false needs dest", f"write --output type={found.kind},tar=false,dest=FOLDER")
        return LayoutOutput(dest=found.values["dest"], packing=packing, names=names)
    if docker and "dest" not in found.values:
        return ImageOutput(packing=packing, names=names)
    if docker and packing.index is not None:
        raise found.refused("an archive for docker load has no index", "take type=oci, or leave "
                            "BUILDKIT_MULTI_PLATFORM and annotations of the index out")
    return ArchiveOutput(dest=found.values.get("dest") or "-", packing=packing, docker=docker, names=names)


def _image(found: _Fields, defaults: OutputDefaults) -> Output:
    dangling = found.values.get("dangling-name-prefix")
    by_digest = found.flag("push-by-digest")
    return ImageOutput(
        packing=_packing(found, defaults, ""), names=_names(found, defaults, bare=by_digest), push=found.flag("push"),
        by_digest=by_digest, insecure=found.flag("registry.insecure"), canonical=found.flag("name-canonical"),
        dangling=_reference(dangling, defaults) if dangling else None, stored=found.flag("store", True),
        dangling_only=found.flag("danging-name-empty-only") or found.flag("dangling-name-empty-only"))


def _nothing(found: _Fields, defaults: OutputDefaults) -> Output:
    return CacheOnly()


_MAKERS: Mapping[str, Callable[[_Fields, OutputDefaults], Output]] = {
    "local": _local, "tar": _tar, "oci": _archive, "docker": _archive, "image": _image, "cacheonly": _nothing}


def _names(found: _Fields, defaults: OutputDefaults, *, bare: bool = False) -> tuple[Reference, ...]:
    """Those of name=, separated by commas; else those of --tag. bare: "latest" is not added."""
    given = [text.strip() for text in found.values.get("name", "").split(",") if text.strip()]
    names = [_reference(text, defaults) for text in given] or list(defaults.names)
    return tuple(dict.fromkeys(name if bare else name.with_default_tag() for name in names))


def _reference(text: str, defaults: OutputDefaults) -> Reference:
    return Reference.parse(text, default_registry=defaults.settings.default_registry)


def _packing(found: _Fields, defaults: OutputDefaults, media: Literal["", "oci", "docker"]) -> Packing:
    settings = defaults.settings
    asked = found.values.get("compression")
    if asked is not None and asked not in COMPRESSIONS:
        if asked in ("estargz", "nydus"):
            raise UnsupportedError(f"cannot compress layers with {asked}", hint="take gzip or zstd")
        near = nearest(asked, COMPRESSIONS)
        raise found.refused(f'there is no compression "{asked}"', f"did you mean {near}?" if near else
                            "there are uncompressed, gzip and zstd")
    kind = COMPRESSIONS[asked] if asked is not None else defaults.compression or settings.compression
    level = settings.compression_level if kind == settings.compression else None
    if defaults.level is not None and (asked is None or kind == defaults.compression):
        level = defaults.level
    if "compression-level" in found.values:
        text = found.values["compression-level"]
        if not text.isdecimal():
            raise found.refused(f"compression-level={text} is no number", "gzip has levels 0 to 9, zstd 0 to 22")
        level = int(text)
    if "oci-mediatypes" in found.values:
        media = "oci" if found.flag("oci-mediatypes") else "docker"
        if media == "docker" and kind == "zstd":
            raise found.refused("docker's media types know no zstd", "leave oci-mediatypes=false out, or take gzip")
    annotations = _annotations(found, defaults)
    indexed = defaults.indexed or annotations.index or annotations.index_descriptor
    if media == "docker" and annotations.index:
        raise found.refused("docker's manifest lists have no annotations", "leave oci-mediatypes=false out")
    return Packing(compression=kind, level=level if kind != "none" else None, media=media,
                   force=found.flag("force-compression", defaults.force), annotations=annotations.manifest,
                   described=annotations.descriptor, index=annotations.index if indexed else None,
                   index_described=annotations.index_descriptor)


def _annotations(found: _Fields, defaults: OutputDefaults) -> Annotations:
    """Those of this output; of --annotation all but the manifest's, which the image has already."""
    given = defaults.annotations
    kept = Annotations(descriptor=dict(given.descriptor), index=dict(given.index),
                       index_descriptor=dict(given.index_descriptor))
    for key, value in found.values.items():
        match = IN_OUTPUT.fullmatch(key)
        if match is not None:
            kept.put(match[1] or "", match[2], match[3], value, built=defaults.platform)
    return kept
