"""What FROM and --from name outside the file: an image of the store, of a registry, or a named context.

A named context that is a folder or an archive becomes an image of one layer, kept under the digest of what it holds.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import Literal

from ..caching.records import layers_of, write_step
from ..contexts.contexts import Contexts, ImageSource, Source
from ..errors import AuthError, IechorError, ImageNotFound, RegistryError, UsageError
from ..events import Emit, Notice
from ..language import suggest
from ..oci.config import History, ImageConfig, RunConfig
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..once import Once
from ..paths import ROOT, image_path
from ..plan.cachekey import digest_of
from ..plan.lower import DEFAULT_PATH
from ..sources.directory import DirectorySource
from ..store.images import Image, LayerRef
from ..store.store import Store
from ..tree.changes import ChangeSet, Put
from ..values import dataclass, replace
from .transports import REGISTRY, is_local, load_layout, load_local

PullPolicy = Literal["always", "missing", "never", "newer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """layers: the lowest first. image: its config, with a PATH always, as BuildKit has it."""

    layers: tuple[LayerRef, ...]
    image: ImageConfig


class Bases:
    """Resolves names for one build, for several threads; each name once, and no image is pulled twice.

    pull: (reference, platform) → Image, from a registry. waiting: a context for the time in which a thread waits for
    another. stages: names that a user may have meant when there is no such image.
    """

    def __init__(self, contexts: Contexts, store: Store, *, pull: Callable[[Reference, Platform], Image],
                 policy: PullPolicy, default_registry: str, emit: Emit, stages: Iterable[str] = (),
                 waiting: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext) -> None:
        self._contexts = contexts
        self._store = store
        self._pull = pull
        self._policy = policy
        self._default_registry = default_registry
        self._emit = emit
        self._stages = tuple(stages)
        self._found: Once[tuple[str, Platform], Base] = Once(waiting)
        self._pulled: Once[tuple[Reference, Platform], Image] = Once(waiting)

    def get(self, name: str, platform: Platform) -> Base:
        """Errors: ImageNotFound, RegistryError, AuthError, UsageError, SourceError."""
        def resolve() -> Base:
            try:
                return self._resolve(name, platform)
            except (ImageNotFound, RegistryError, AuthError) as error:
                raise meant(error, name, self._stages) from None

        return self._found.get((name, platform), resolve)

    def known(self, name: str, platform: Platform) -> ImageConfig | None:
        """The config of a base that this build has already, None of one it does not have (yet)."""
        found = self._found.known((name, platform))
        return found.image if found else None

    def context(self, name: str) -> Source | None:
        """The folder or archive that stands for `name`, to copy from without making it an image."""
        named = self._contexts.named(name)
        return None if isinstance(named, ImageSource) else named

    def _resolve(self, name: str, platform: Platform) -> Base:
        if name == "scratch":
            return scratch_base(platform)
        named = self._contexts.named(name)
        if named is None:
            return image_base(self._image(name, platform))
        self._emit(Notice(text=f"{name} is not pulled: the build context {self._contexts.told(name)} stands in for it"))
        if not isinstance(named, ImageSource):
            self._warn_of_layout(name, named)
            return self._from_tree(named, platform)
        if named.place == "scratch":
            return scratch_base(platform)
        if named.kind == "docker-image":
            return image_base(self._image(named.place, platform))
        return image_base(load_layout(named.place, self._store, platform, self._default_registry))

    def _warn_of_layout(self, name: str, source: Source) -> None:
        """Files of an image's own form are hardly meant as a root file system."""
        tree = source.tree()
        if tree.lookup(image_path("oci-layout")) is None or tree.lookup(image_path("index.json")) is None:
            return
        told = self._contexts.told(name)
        remedy = f"oci-layout://{told}" if isinstance(source, DirectorySource) else f"docker-image://oci-archive:{told}"
        self._emit(Notice(level="warning", text=f"{told} holds an OCI image, and its files are taken as a root file "
                                                f"system: the image itself is --build-context {name}={remedy}"))

    def check(self, name: str) -> None:
        """Whether `name` can be that of a base at all; nothing is looked for. Errors: ImageNotFound."""
        if name != "scratch" and not self._contexts.has(name) and not is_local(name):
            named_image(name, self._default_registry)

    def _image(self, name: str, platform: Platform) -> Image:
        if is_local(name):
            return load_local(name, self._store, platform, default_registry=self._default_registry,
                              tmp=self._contexts.tmp)
        reference = named_image(name, self._default_registry)
        here = self._store.images.get(reference)
        if here is not None and not platform.matches(here.config.platform):
            here = None
        if here is not None and self._policy in ("missing", "never"):
            return here
        if self._policy == "never":
            raise never_pulled(reference)
        try:
            return self._pulled.get((reference, platform), lambda: self._pull(reference, platform))
        except (ImageNotFound, RegistryError, AuthError) as error:
            if here is None or self._policy != "newer":
                raise
            self._emit(Notice(level="warning", text=f"{reference.familiar()} of the store is used, whether there is a "
                                                    f"newer one or not: {error.message}"))
            return here

    def _from_tree(self, source: Source, platform: Platform) -> Base:
        key = digest_of({"context": source.digest([(ROOT, ROOT)])})
        record = self._store.cache.get(key)
        if record is None or record.diff_id is None:
            changes = ChangeSet.of(Put(path, node) for path, node in source.tree().walk() if path)
            record = write_step(changes, key, "FROM a build context", self._store, clamp=None, facts={})
        layers = layers_of(record)
        return Base(layers=layers, image=with_history(scratch_base(platform).image, len(layers)))


def meant(error: IechorError, name: str, stages: Iterable[str]) -> IechorError:
    """`error` about the image `name`, pointing at that word, and at a stage whose name is almost the same."""
    error.mark = error.mark or name
    error.notes = (*error.notes, *suggest.notes(name.lower(), stages))
    return error


def named_image(name: str, default_registry: str) -> Reference:
    """What FROM or --from names outside this machine. Errors: ImageNotFound."""
    try:
        return Reference.parse(name.removeprefix(REGISTRY), default_registry=default_registry).with_default_tag()
    except UsageError as error:
        raise ImageNotFound(f'"{name}" is neither a stage of this file nor the name of an image',
                            hint=error.hint) from None


def never_pulled(reference: Reference) -> ImageNotFound:
    """The refusal of --pull=never."""
    return ImageNotFound(f"{reference.familiar()} is not in the store, and --pull=never asks no registry",
                         hint=f"iechor pull {reference.familiar()}")


def scratch_base(platform: Platform) -> Base:
    config = ImageConfig(architecture=platform.architecture, os=platform.os, variant=platform.variant,
                         config=RunConfig(env=(f"PATH={DEFAULT_PATH}",), working_dir="/"))
    return Base(layers=(), image=config)


def image_base(image: Image) -> Base:
    config = image.config
    if not any(entry.startswith("PATH=") for entry in config.config.env):
        config = replace(config, config=replace(config.config, env=(*config.config.env, f"PATH={DEFAULT_PATH}")))
    return Base(layers=image.layers, image=with_history(config, len(image.layers)))


def with_history(config: ImageConfig, layers: int) -> ImageConfig:
    """An entry for each layer that has none: others read the history and the layers side by side."""
    missing = layers - sum(not entry.empty_layer for entry in config.history)
    entry = History(created=config.created, comment="no history was given for this layer")
    return replace(config, history=(*config.history, *(entry,) * missing))
