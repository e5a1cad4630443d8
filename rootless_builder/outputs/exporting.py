"""What becomes of a finished image: every output that was asked for, and what --metadata-file says of them.

    before the build   check: what can be known to fail fails now
    after it           files and archives first, then what goes over a network
"""

from collections.abc import Sequence
from typing import Any

from ..config import Settings
from ..errors import UsageError
from ..events import CheckFound, Emit, Event, Notice
from ..oci.manifest import INDEX_TYPES
from ..oci.reference import Reference
from ..store.images import Image
from ..store.store import Store
from ..values import dataclass, replace
from .files import STDOUT
from .output import CacheOnly, Exported, Exporting, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where a build's result goes. tags: of --tag, as they were given."""

    outputs: tuple[Output, ...] = ()
    tags: tuple[Reference, ...] = ()

    @property
    def names_here(self) -> tuple[Reference, ...]:
        """The names that the image gets in the store: those of --tag, whatever else is written, unless every output
        wants none there; and those that an output says."""
        if not self.outputs:
            return tuple(dict.fromkeys(name.with_default_tag() for name in self.tags))
        from .registry import ImageOutput

        only_elsewhere = all(
            isinstance(one, CacheOnly) or (isinstance(one, ImageOutput) and not one.stored) for one in self.outputs)
        names = [] if only_elsewhere else list(self.tags)
        names += [name for one in self.outputs if one.named_here for name in one.names]
        return tuple(dict.fromkeys(name.with_default_tag() for name in names))

    @property
    def keeps(self) -> bool:
        """Whether the image itself stays in the store; else only its steps do, in the cache."""
        return not self.outputs or bool(self.names_here) or any(one.named_here for one in self.outputs)

    @property
    def reads(self) -> bool:
        """Whether anything comes of the image; with type=cacheonly alone there is nobody who reads its layers."""
        return self.keeps or not all(isinstance(one, CacheOnly) for one in self.outputs)

    @property
    def pushed_to(self) -> frozenset[str]:
        """The registries that it is sent to."""
        return frozenset(name.domain for one in self.outputs if one.sends for name in one.names)

    @property
    def to_stdout(self) -> bool:
        return any(one.to_stdout for one in self.outputs)

    def check(self, *, terminal: bool) -> None:
        """terminal: whether standard output is one. Errors: UsageError."""
        if terminal and self.to_stdout:
            raise UsageError("cannot write the output to a terminal", hint="name a file, as dest=FILE, or redirect")
        for output in self.outputs:
            output.check()


def export(image: Image, destinations: Destinations, store: Store, settings: Settings, *, clamp: int | None,
           forced: bool = False, emit: Emit) -> list[Exported]:
    """Writes every output; one for each. clamp: seconds, no file is later, or each is of that time by `forced`.

    Errors: UsageError, DiskFull, StoreError, RegistryError, AuthError.
    """
    world = Exporting(store=store, settings=settings, emit=emit, clamp=clamp, forced=forced)
    done = []
    for output in sorted(destinations.outputs, key=lambda output: output.sends):
        done.append(output.export(image, world))
        place = getattr(output, "dest", None)
        if place is not None:
            manifest = done[-1].manifest
            emit(Notice(text=f"written to {'standard output' if place == STDOUT else place}"
                             + (f" as {manifest.digest}" if manifest else "")))
    return done


class Warnings:
    """Passes events on, and keeps what the checks found, for docker's --metadata-file."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.found: list[CheckFound] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, CheckFound):
            self.found.append(event)
        self._emit(event)

    def as_metadata(self) -> list[dict[str, Any]]:
        """As client.VertexWarning of BuildKit in JSON: bytes are base64, lines count from 1."""
        return [{"level": 1, "short": _encoded(f"{one.rule}: {one.detail}"), "detail": [_encoded(one.description)],
                 "sourceInfo": {"filename": one.file}, "range": [{"start": {"line": one.line},
                                                                  "end": {"line": one.end_line}}]}
                for one in self.found]


def _encoded(text: str) -> str:
    import base64

    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def metadata(image: Image, exported: Sequence[Exported], destinations: Destinations) -> dict[str, Any]:
    """With the keys of docker's --metadata-file. Of several manifests that were written the last one counts: a
    pushed one, where there is any. Without outputs it is that of the store."""
    told: dict[str, Any] = {"containerimage.config.digest": str(image.id)}
    written = [one for one in exported if one.manifest is not None]
    if not exported:
        names = tuple(map(str, destinations.names_here))
        written = [Exported(manifest=image.manifest_descriptor, names=names)]
    if written:
        manifest = written[-1].manifest
        assert manifest is not None
        described = manifest if manifest.media_type in INDEX_TYPES else \
            replace(manifest, platform=image.config.platform)
        told |= {"containerimage.digest": str(manifest.digest), "containerimage.descriptor": described.to_json()}
    names = tuple(dict.fromkeys(name for one in written for name in one.names))
    return told | ({"image.name": ",".join(names)} if names else {})
