"""--cache-from, --cache-to and --cache-ttl of `iechor build`, as values and around the build itself.

    --cache-from REF | type=registry,ref=REF | type=local,src=DIR[,tag=|,digest=]
    --cache-to   REF | type=registry,ref=REF[,mode=max…] | type=local,dest=DIR[,…] | type=inline
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import IechorError, Interrupted, UnsupportedError, UsageError
from ..values import dataclass
from .call import Call

if TYPE_CHECKING:
    from ..caching.carried import CarriedCache
    from ..caching.exports import CacheTarget
    from ..caching.imports import CacheImports, CacheSource
    from ..config import Settings
    from ..events import Emit
    from ..oci.platform import Platform
    from ..oci.reference import Reference
    from ..store.images import Image
    from ..store.store import Store

OTHERS = ("gha", "s3", "azblob")
COMPRESSIONS = {"uncompressed": "none", "none": "none", "gzip": "gzip", "estargz": "gzip", "zstd": "zstd"}
FROM = {"registry": frozenset({"ref", "registry.insecure"}), "local": frozenset({"src", "digest", "tag"}),
        "inline": frozenset({"ref"})}
WRITTEN = frozenset({"mode", "compression", "compression-level", "force-compression", "image-manifest",
                     "oci-mediatypes", "ignore-error"})
TO = {"registry": WRITTEN | {"ref", "registry.insecure"}, "local": WRITTEN | {"dest", "tag", "reset"},
      "inline": frozenset({"mode", "ignore-error"})}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """inline: the image carries its own cache. ttl: seconds; None: records of any age are used."""

    sources: "tuple[CacheSource, ...]" = ()
    targets: "tuple[CacheTarget, ...]" = ()
    inline: bool = False
    ttl: float | None = None

    @classmethod
    def of(cls, call: Call, settings: "Settings") -> "CacheOptions":
        """Errors: UsageError, UnsupportedError."""
        options = call.options
        written = [(text, attributes(text, "--cache-to", TO)) for text in options.cache_to]
        read = [(text, attributes(text, "--cache-from", FROM)) for text in options.cache_from]
        return cls(
            sources=tuple(_source(text, found, settings) for text, found in read),
            targets=tuple(_target(text, found, settings) for text, found in written if found["type"] != "inline"),
            inline=any(found["type"] == "inline" for _, found in written), ttl=ttl(options.cache_ttl))


def attributes(text: str, option: str, known: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """type and the attributes of that type, each with its value. Errors: UsageError, UnsupportedError."""
    import csv

    fields = next(csv.reader([text]), [])
    if all("=" not in field for field in fields):
        if len(fields) != 1 or not fields[0]:
            raise UsageError(f'cannot use {option} "{text}"', hint=f"write {option} REF, or {option} type=TYPE,…")
        return {"type": "registry", "ref": fields[0]}
    found = {}
    for field in fields:
        key, _, value = field.partition("=")
        found[key.strip().lower()] = value
    kind = found.setdefault("type", "registry" if "ref" in found else "")
    if kind in OTHERS:
        raise UnsupportedError(f"cannot carry out {option} type={kind}", hint="take registry, local or inline")
    if kind not in known:
        raise UsageError(f'cannot use {option} "{text}": there is no type "{kind}"',
                         hint=f"types are {', '.join(known)}")
    strange = sorted(found.keys() - {"type", *known[kind]})
    if strange:
        raise UsageError(f'cannot use {option} "{text}": type={kind} has no attribute "{strange[0]}"',
                         hint=f"it has {', '.join(sorted(known[kind]))}")
    return found


def ttl(text: str | None) -> float | None:
    """Seconds. Errors: UsageError."""
    if text is None:
        return None
    from ..caching.carried import seconds

    try:
        found = seconds(text)
    except ValueError as error:
        raise UsageError(f"cannot use --cache-ttl: {error}", hint="write it as 24h, 30m or 1h30m") from None
    if found < 0:
        raise UsageError(f"cannot use --cache-ttl {text}: it is negative", hint="write it as 24h, 30m or 1h30m")
    return found


def _source(text: str, found: Mapping[str, str], settings: "Settings") -> "CacheSource":
    from ..caching.imports import CacheSource
    from ..oci.digest import Digest, InvalidDigest

    if found["type"] == "local":
        try:
            digest = Digest.parse(found["digest"]) if found.get("digest") else None
        except InvalidDigest as error:
            raise UsageError(f'cannot use --cache-from "{text}": {error.message}') from None
        return CacheSource(text=_needed(found, "src", text, "--cache-from"), digest=digest,
                           folder=Path(found["src"]).expanduser().absolute(), tag=found.get("tag") or "latest")
    name = _needed(found, "ref", text, "--cache-from")
    return CacheSource(text=name, reference=_reference(name, settings), insecure=_flag(found, "registry.insecure"))


def _target(text: str, found: Mapping[str, str], settings: "Settings") -> "CacheTarget":
    from ..caching.exports import CacheTarget

    mode, kind = found.get("mode") or "min", found.get("compression") or "gzip"
    if mode not in ("min", "max"):
        raise UsageError(f'cannot use --cache-to "{text}": there is no mode "{mode}"', hint="modes are min and max")
    if kind not in COMPRESSIONS:
        raise UsageError(f'cannot use --cache-to "{text}": there is no compression "{kind}"',
                         hint="take gzip, zstd or uncompressed")
    level = found.get("compression-level")
    if level and not level.isdecimal():
        raise UsageError(f'cannot use --cache-to "{text}": compression-level is not a number')
    _flag(found, "force-compression")  # a cache holds what it compressed itself
    if not _flag(found, "image-manifest", default=True):
        raise UnsupportedError("cannot carry out image-manifest=false: a cache is always an image manifest",
                               hint="leave it out")
    local = found["type"] == "local"
    place = _needed(found, "dest" if local else "ref", text, "--cache-to")
    return CacheTarget(
        text=place, folder=Path(place).expanduser().absolute() if local else None,
        reference=None if local else _reference(place, settings), tag=found.get("tag") or "latest",
        mode="max" if mode == "max" else "min", compression=COMPRESSIONS[kind], level=int(level) if level else None,
        oci=_flag(found, "oci-mediatypes", default=True), insecure=_flag(found, "registry.insecure"),
        ignore_error=_flag(found, "ignore-error"), reset=_flag(found, "reset"))


def _reference(name: str, settings: "Settings") -> "Reference":
    from ..oci.reference import Reference

    return Reference.parse(name, default_registry=settings.default_registry)


def _needed(found: Mapping[str, str], key: str, text: str, option: str) -> str:
    if not found.get(key):
        raise UsageError(f'cannot use {option} "{text}": it says no {key}', hint=f"add {key}=…")
    return found[key]


def _flag(found: Mapping[str, str], key: str, *, default: bool = False) -> bool:
    """As Go reads them. Errors: UsageError."""
    text = found.get(key, "")
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    if text or key in found:
        raise UsageError(f'cannot understand {key}={text}', hint=f"write {key}=true or {key}=false")
    return default


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The cache of one build while it runs."""

    options: CacheOptions
    cache: "CarriedCache"
    imports: "CacheImports | None"
    emit: "Emit"

    def built(self, build: "Callable[[], Image]", *, once: bool) -> "Image":
        """`build`, and again without a source that failed in the midst of it: what was built then is in the store's
        own cache. once: it cannot be done again, its context was read from a pipe. Then the targets are written.
        """
        from ..caching.carried import CacheSourceFailed
        from ..events import Notice

        while True:
            try:
                image = build()
                break
            except CacheSourceFailed as error:
                if once or not self.cache.drop(error.where):
                    raise
                self.emit(Notice(level="warning", text=f"{error.message}; the build begins again without it"))
        self._export(image)
        return image

    def _export(self, image: "Image") -> None:
        if self.imports is None:
            return
        from ..caching.exports import export
        from ..events import Notice

        for target in self.options.targets:
            try:
                self.emit(Notice(text=f"build cache: {export(target, self.cache, image.layers, self.imports)}"))
            except Interrupted:
                raise
            except IechorError as error:
                if not target.ignore_error:
                    raise
                self.emit(Notice(level="warning", text=f"the build cache {target.text} is not written: "
                                                       f"{error.message}"))


@contextmanager
def carried(options: CacheOptions, settings: "Settings", store: "Store", platform: "Platform | None", *, now: float,
            emit: "Emit") -> Iterator[Carried]:
    """Until the end of the block the store's cache is this build's: with what its sources offer behind it."""
    from ..caching.carried import CarriedCache

    own = store.cache
    cache = CarriedCache(own, store.blobs, now=now, ttl=options.ttl)
    with ExitStack() as stack:
        imports = None
        if options.sources or options.targets:
            from ..caching.imports import CacheImports

            imports = stack.enter_context(CacheImports(settings=settings, store=store, platform=platform, emit=emit))
            for offers in imports.read(options.sources):
                cache.offer(offers)
        store.cache = cache
        try:
            yield Carried(options=options, cache=cache, imports=imports, emit=emit)
        finally:
            store.cache = own
