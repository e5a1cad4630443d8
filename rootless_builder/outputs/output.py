"""What an output of a build is: a value that says beforehand whether it can be written, and writes one image.

    local.py      LocalOutput      the files, into a folder
    tarball.py    TarOutput        the files, as one tar
    archive.py    ArchiveOutput    the image, as an OCI layout in a tar, for docker load too
    layout.py     LayoutOutput     the image, into an OCI layout folder
    registry.py   ImageOutput      the image, in the store and in a registry
    here          CacheOnly        nothing
"""

from typing import Protocol

from ..config import Settings
from ..events import Emit
from ..oci.descriptor import Descriptor
from ..oci.reference import Reference
from ..store.images import Image
from ..store.store import Store
from ..values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """All that an output may touch. clamp: seconds, no file of it is later; forced: each is of that time."""

    store: Store
    settings: Settings
    emit: Emit
    clamp: int | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written. manifest: as it is there, None for plain files; names: canonical."""

    manifest: Descriptor | None = None
    names: tuple[str, ...] = ()


class Output(Protocol):
    @property
    def names(self) -> tuple[Reference, ...]:
        """What the image is called there."""

    @property
    def named_here(self) -> bool:
        """Whether the image has these names in the store too, and stays in it."""

    @property
    def sends(self) -> bool:
        """Whether it goes over a network: such outputs come last."""

    @property
    def to_stdout(self) -> bool: ...

    def check(self) -> None:
        """Before anything is built. Errors: UsageError."""

    def export(self, image: Image, world: Exporting) -> Exported:
        """Errors: UsageError, DiskFull, StoreError, and those of a registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOnly:
    """type=cacheonly: the steps stay in the cache, and that is all."""

    names: tuple[Reference, ...] = ()
    named_here: bool = False
    sends: bool = False
    to_stdout: bool = False

    def check(self) -> None:
        """There is nothing that could be wrong."""

    def export(self, image: Image, world: Exporting) -> Exported:
        return Exported()
