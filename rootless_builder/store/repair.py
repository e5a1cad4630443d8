"""`iechor check --repair`: what is damaged goes, what can be made again is, and what was lost is told.

    blob with other bytes   removed: it is worth nothing to anybody
    image without a part    removed with its names: they are told, so that it can be pulled or built again
    name, record, index     made again from the manifest where that is whole; else removed

Each act leaves a store that is right: it may be killed at any moment and started again.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import IechorError, StoreError
from ..values import dataclass
from . import atomic
from .layout import REMEDY, sweep
from .verify import Damage, Verdict, leftovers

if TYPE_CHECKING:
    from .store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """removed: files. lost: names of images (the ID of one without a name) that are no longer here."""

    removed: int
    lost: tuple[str, ...]


def repair(store: "Store", verdict: Verdict) -> Repaired:
    """Errors: DiskFull, StoreError (a store that cannot be written)."""
    removed = sum(_unlink(damage.path) for damage in verdict.damages if damage.kind in ("blob", "derived"))
    lost = [name for damage in verdict.damages if damage.kind == "image" for name in _drop_image(store, damage)]
    removed += _mend_names(store, [damage.path for damage in verdict.damages if damage.kind == "name"])
    removed += sum(_unlink(path) for path in list(leftovers(store)) if path.parent != store.layout.trash)
    sweep(store.layout)
    store.images.publish()
    return Repaired(removed=removed, lost=tuple(dict.fromkeys(lost)))


def _drop_image(store: "Store", damage: Damage) -> Iterable[str]:
    """An image whose record or parts are damaged; its names. One with a damaged record alone comes back by its name."""
    with contextlib.suppress(StoreError):
        for image in store.images.list():
            if image.manifest.digest.hex == damage.path.name:
                store.images.delete(image)
                return image.names or (str(image.id),)
    _unlink(damage.path)
    return ()


def _mend_names(store: "Store", paths: Iterable[Path]) -> int:
    """A name of a whole image gets its record back; any other goes."""
    for manifest in store.images.names.all().values():
        with contextlib.suppress(IechorError):
            store.images.add(manifest)
    removed = 0
    known = {store.layout.refs / atomic.escape(name) for name, manifest in store.images.names.all().items()
             if (store.layout.images / manifest.digest.hex).exists()}
    for path in paths:
        if path not in known:
            removed += _unlink(path)
    return removed


def _unlink(path: Path) -> bool:
    """Whether it was there. Errors: DiskFull, StoreError."""
    with atomic.explained("mend the store", path, remedy=REMEDY):
        return atomic.remove(path)
