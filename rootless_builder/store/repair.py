"""`iechor check --repair`: what is damaged goes, what can be made again is, and what was lost is told.

    mode                    the owner may read and write again
    blob with other bytes   removed: it is worth nothing to anybody
    image                   recorded anew from its manifest where all of it is there; else removed with its names: they
                            are told, so that it can be pulled or built again
    name                    taken from index.json; else removed, and told
    record, index           removed: made again when it is needed

Each act leaves a store that is right: it may be killed at any moment and started again.
"""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import IechorError, StoreError, UnsafeArchive
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_LIMIT, parse_manifest
from ..values import dataclass
from . import atomic
from .layout import REMEDY, is_marked, mark, sweep
from .verify import Damage, Verdict, leftovers, of_image, readable, verify

if TYPE_CHECKING:
    from .store import Store

_ROUNDS = 100  # of opening folders, one level more each time


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """removed: files. lost: names of images (the ID of one without a name) that are no longer here."""

    removed: int
    lost: tuple[str, ...]


def open_up(store: "Store", verdict: Verdict, *, quick: bool) -> Verdict:
    """Makes readable what is not, then looks at the rest. Errors: StoreError (it is on a read-only file system)."""
    opened: list[Damage] = []
    for _ in range(_ROUNDS):
        if not verdict.closed:
            break
        for damage in verdict.damages:
            with atomic.explained("mend the store", damage.path, remedy=REMEDY):
                mode = os.lstat(damage.path).st_mode
                os.chmod(damage.path, stat.S_IMODE(mode) | (0o700 if stat.S_ISDIR(mode) else 0o600))
        opened += verdict.damages
        verdict = verify(store, quick=quick)
    verdict.damages[:0] = opened
    return verdict


def repair(store: "Store", verdict: Verdict) -> Repaired:
    """All but what `open_up` mends. Errors: DiskFull, StoreError (a store that cannot be written)."""
    listed = store.images.names.listed()  # now, before it is written anew
    removed = sum(_remove(damage.path) for damage in verdict.damages if damage.kind in ("blob", "derived"))
    lost = [name for damage in verdict.damages if damage.kind == "image" for name in _mend_image(store, damage.path)]
    lost += _mend_names(store, [damage.path for damage in verdict.damages if damage.kind == "name"], listed)
    removed += sum(_remove(path) for path in list(leftovers(store)) if path.parent != store.layout.trash)
    sweep(store.layout)
    if not is_marked(store.layout):
        with atomic.explained("mend the store", store.layout.marker, remedy=REMEDY):
            mark(store.layout)
    store.images.publish()
    return Repaired(removed=removed, lost=tuple(dict.fromkeys(lost)))


def _mend_image(store: "Store", path: Path) -> Iterable[str]:
    """path: its record, named by the digest of its manifest. The names that are lost."""
    known = next((image for image in store.images.list() if image.manifest.digest.hex == path.name), None)
    names = [name for name, manifest in store.images.names.all().items() if manifest.digest.hex == path.name]
    is_record = not readable(path)
    _remove(path)
    if is_record and _mend_record(store, path):
        return ()
    for name in names:
        store.images.names.remove(name)
    return names or [str(known.id) if known is not None else f"sha256:{path.name}"]


def _mend_record(store: "Store", path: Path) -> bool:
    """Whether it was made anew, and nothing else of the image is damaged."""
    try:
        _record(store, Digest("sha256", path.name))
    except IechorError:
        return False
    whole = not any(damage.kind == "image" for damage in of_image(store, path))
    return whole or not _remove(path)


def _record(store: "Store", digest: Digest) -> None:
    """The record of an image, from its manifest. Errors: IechorError where a part of it is not here, or is damaged."""
    data = store.blobs.read(digest, MANIFEST_LIMIT)
    store.images.add(Descriptor(media_type=parse_manifest(data, None).media_type, digest=digest, size=len(data)))


def _mend_names(store: "Store", paths: Sequence[Path], listed: Mapping[str, Descriptor]) -> Iterator[str]:
    """paths: of names that cannot be read, or lead to no image. The names that are lost."""
    if not paths:
        return
    known = {atomic.escape(name): (name, manifest) for name, manifest in listed.items()}
    known |= {atomic.escape(name): (name, manifest) for name, manifest in store.images.names.all().items()
              if _mend(store, name, manifest)}
    for path in paths:
        name, manifest = known.get(path.name, ("", None))
        if manifest is None or not _mend(store, name, manifest):
            _remove(path)
            yield name or atomic.unescape(path.name)


def _mend(store: "Store", name: str, manifest: Descriptor) -> bool:
    """Whether the image is here, and now has this name."""
    try:
        _record(store, manifest.digest)
        store.images.names.set(name, manifest)
    except (StoreError, UnsafeArchive):
        return False
    return True


def _remove(path: Path) -> bool:
    """Whether it was there. Errors: DiskFull, StoreError."""
    with atomic.explained("mend the store", path, remedy=REMEDY):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            return True
        return atomic.remove(path)
