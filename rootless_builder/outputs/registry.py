"""type=image, type=registry: the image in the store, and in the registries that its names say."""

from ..errors import AuthError, IechorError, RegistryError, UsageError
from ..events import ImageTagged
from ..oci.descriptor import Descriptor
from ..oci.reference import Reference
from ..store.images import Image
from ..store.packing import Packing
from ..values import dataclass, replace
from .output import Exported, Exporting


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOutput:
    """push: also to the registries; by_digest: without a tag there. insecure: plain HTTP and any certificate will do.

    canonical: the image has each of its names with its digest too. dangling: a repository; the image is called
    dangling@digest too, or only when it has no other name (dangling_only). stored: named in the store too.
    """

    packing: Packing
    names: tuple[Reference, ...] = ()
    push: bool = False
    by_digest: bool = False
    insecure: bool = False
    canonical: bool = False
    dangling: Reference | None = None
    dangling_only: bool = False
    stored: bool = True
    to_stdout: bool = False

    @property
    def named_here(self) -> bool:
        return self.stored

    @property
    def sends(self) -> bool:
        return self.push

    def check(self) -> None:
        """Errors: UsageError."""
        self.packing.check()
        if self.push and not self.names and self.dangling is None:
            raise UsageError("cannot push the image: it has no name", hint="name it with --tag REGISTRY/NAME:TAG")
        if self.push and self.by_digest and any(name.tag is not None for name in self.names):
            raise UsageError("cannot push by digest under a tag: push-by-digest=true sets no tag",
                             hint="leave the tag out of the name")

    def export(self, image: Image, world: Exporting) -> Exported:
        """Errors: RegistryError, AuthError, StoreError, DiskFull."""
        targets = [(name, self.by_digest) for name in self.names]
        if self.dangling is not None and not (self.dangling_only and self.names):
            targets.append((self.dangling, True))
        sent = [self._sent(image, name, world, by_digest) for name, by_digest in targets] if self.push else []
        manifest = sent[0] if sent else image.manifest_descriptor
        more = [self.dangling] if self.dangling is not None and len(targets) > len(self.names) else []
        more += list(self.names) if self.canonical else []
        if self.stored:
            for name in more:
                self._tag(Reference(name.domain, name.path, digest=manifest.digest), image, world)
        told = [str(name) for name in self.names] + [f"{name.name}@{manifest.digest}" for name in more]
        return Exported(manifest=manifest, names=tuple(told))

    def _sent(self, image: Image, name: Reference, world: Exporting, by_digest: bool) -> Descriptor:
        from ..registry.client import RegistryClient
        from ..registry.transfer import push

        settings = world.settings
        if self.insecure:
            trusted = replace(settings.registry(name.domain), insecure=True)
            settings = replace(settings, registries={**settings.registries, name.domain: trusted},
                               access=replace(settings.access, tls_verify=None))
        try:
            with RegistryClient.of(settings, world.emit) as client:
                return push(image, name, world.store, client=client, emit=world.emit, packing=self.packing,
                            by_digest=by_digest, jobs=settings.jobs)
        except (RegistryError, AuthError) as error:
            raise _with_note(error, image, name, here=self.stored) from error

    def _tag(self, name: Reference, image: Image, world: Exporting) -> None:
        world.store.images.tag(name, image.manifest_descriptor)
        world.emit(ImageTagged(name=name.familiar(), image_id=str(image.id)))


def _with_note(error: IechorError, image: Image, name: Reference, *, here: bool) -> IechorError:
    """The build was good, and is not lost."""
    if here:
        note = f"the image {image.id.short} was built and is in the store; `iechor push {name.familiar()}` sends it"
    else:
        note = "the image was built, and its steps are in the cache: another build sends it without running them again"
    return type(error)(error.message, hint=error.hint, notes=(*error.notes, note))
