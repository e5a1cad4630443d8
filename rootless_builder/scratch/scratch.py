"""Scratch: root file systems for RUN and for containers, on node-local disk. The drawing is in places.py."""

import contextlib
import errno
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import processes
from ..errors import StoreError
from ..removing import remove_tree
from ..sandbox.idmap import IdMode
from ..store import atomic
from ..store.images import LayerRef
from ..store.owner import abandoned
from ..store.store import Store
from ..values import dataclass, field, replace
from .places import REMEDY, Places, make_places
from .removal import Remover, discard
from .rootfs import Rootfs, make_check_out, make_overlay, make_stubs
from .unpacked import Unpacker, former_name, names_of
from .walk import disk_usage

if TYPE_CHECKING:
    from .adoption import AdoptedLayer
    from .caches import Caches

_NOTE = "lowers.json"


@dataclass(frozen=True, slots=True)
class Scratch:
    """overlay: what the kernel says to an overlay whose upper lies here: 0, or an errno, and then trees are
    checked out; None: to be asked when the first root file system is made. remover: removes those of RUNs while the
    build goes on, None: they are removed when they end."""

    places: Places
    overlay: int | None = None
    _unpacking: dict[str, threading.Lock] = field(default_factory=dict, compare=False)
    remover: Remover | None = field(default=None, compare=False)

    @classmethod
    def open(cls, root: Path, *, mode: IdMode, overlay: int | None = None) -> "Scratch":
        """The scratch folder at `root`, made if needed; what processes that are gone left there is removed.

        Errors: StoreError (not ours, or others can write there), DiskFull.
        """
        scratch = cls(make_places(root, mode), overlay)
        scratch.sweep()
        with atomic.explained("make the scratch folder", scratch.places.stubs, remedy=REMEDY):
            make_stubs(scratch.places)
        return scratch

    @contextlib.contextmanager
    def lasting(self) -> Iterator["Scratch"]:
        """The same for many RUNs: their root file systems are removed while the next ones run."""
        with Remover() as remover:
            yield replace(self, remover=remover)

    @property
    def root(self) -> Path:
        return self.places.root

    @property
    def fallback(self) -> str | None:
        """Why trees are checked out here, as one sentence; None where overlays are mounted."""
        number = self._overlay_errno()
        if not number:
            return None
        return (f"no overlay can be mounted in {self.root} ({os.strerror(number)}): "
                "each step works on a copy of the image's files, which takes time and space")

    def rootfs(self, layers: Sequence[LayerRef], store: Store, *, top: "AdoptedLayer | None" = None,
               writable: bool = True, stubs: bool = True) -> Rootfs:
        """For one RUN; gone when its context ends. top: lies on all of `layers`. writable False: an overlay without an
        upper. stubs False: for a mount, which needs no /proc to be mounted in it.

        Errors: DiskFull, StoreError, UnsafeArchive, OwnershipError.
        """
        return self._make(atomic.temporary_name(self.places.runs), layers, store, top=top, writable=writable,
                          stubs=stubs, volatile=True)

    @property
    def caches(self) -> "Caches":
        """The folders of `RUN --mount=type=cache`."""
        from .caches import Caches

        return Caches(self.places)

    def container_rootfs(self, container_id: str, layers: Sequence[LayerRef], store: Store, *,
                         writable: bool = True) -> Rootfs:
        """For a container: containers/ID/rootfs, and it stays until that folder is removed. Errors: as `rootfs`."""
        rootfs = self._make(self.places.container(container_id), layers, store, writable=writable)
        rootfs.keep()
        return rootfs

    def sweep(self) -> None:
        """Removes what processes that are gone left: root file systems of RUNs, half unpacked layers."""
        now = atomic.now(self.places.tmp)
        for folder in (self.places.runs, self.places.tmp):
            for name, age in _ages(folder, now):
                if abandoned(name, age):
                    with contextlib.suppress(OSError):
                        discard(folder / name, self.places.gone)
        for name, age in _ages(self.places.gone, now):
            if abandoned(name, age):
                with contextlib.suppress(OSError):
                    remove_tree(self.places.gone / name)
        for name, age in _ages(self.places.tars, now):
            if name.startswith("part.") and abandoned(name, age):
                with contextlib.suppress(OSError):
                    os.unlink(self.places.tars / name)

    def prune(self) -> int:
        """Removes unpacked layers that no RUN and no container uses, and inflated tars. The bytes freed on disk.

        Errors: StoreError.
        """
        self.sweep()
        freed = 0
        with atomic.explained("prune the scratch folder", self.places.own, remedy=REMEDY):
            for name in os.listdir(self.places.layers):
                if self._is_used(name):
                    continue
                target = atomic.temporary_name(self.places.gone)
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self.places.layers / name, target)
                    if self._is_used(name, target) and not (self.places.layers / name).exists():
                        os.rename(target, self.places.layers / name)  # somebody came in between
                        continue
                    freed += disk_usage(target)
                    remove_tree(target)
            now = atomic.now(self.places.tmp)
            for name, age in _ages(self.places.tars, now):
                if not name.startswith("part.") or abandoned(name, age):
                    with contextlib.suppress(FileNotFoundError):
                        freed += os.lstat(self.places.tars / name).st_blocks * 512
                        os.unlink(self.places.tars / name)
        return freed

    def flaws(self, store: Store, *, quick: bool) -> "Iterator[tuple[Path, str]]":
        """(folder, what is wrong with it) of each unpacked layer that is not what it should be."""
        from . import verify

        return verify.flaws(self.places, store, quick=quick)

    def forget(self, folder: Path) -> bool:
        """Whether an unpacked layer was removed, which the next RUN unpacks again: not while one uses it.

        Errors: StoreError, DiskFull.
        """
        if self._is_used(folder.name):
            return False
        with atomic.explained("remove an unpacked layer", folder, remedy=REMEDY):
            discard(folder, self.places.gone)
        return True

    def _make(self, folder: Path, layers: Sequence[LayerRef], store: Store, *, writable: bool,
              top: "AdoptedLayer | None" = None, stubs: bool = True, volatile: bool = False) -> Rootfs:
        with atomic.explained("make a root file system", folder, remedy=REMEDY):
            try:
                atomic.make_folder(folder)
                names = [*names_of(layers), *([] if top is None else [top.name])]
                (folder / _NOTE).write_text(json.dumps({"mode": self.places.mode.value, "layers": names}))
                rootfs = Rootfs(folder=folder, places=self.places, _remover=self.remover,
                                layers=Unpacker(self.places, store, self._unpacking).unpack(layers))
                if top is not None:
                    rootfs.layers = (top.open(), *rootfs.layers)
            except BaseException:
                self._drop(folder)
                raise
            try:
                if not self._overlay_errno() and all(layer.overlay_able for layer in rootfs.layers):
                    make_overlay(rootfs, writable=writable, stubs=stubs, volatile=volatile)
                else:
                    make_check_out(rootfs, stubs=stubs)
            except BaseException:
                with contextlib.suppress(StoreError, OSError):
                    rootfs.close()
                raise
        return rootfs

    def _overlay_errno(self) -> int:
        """The kernel is asked once for each boot."""
        if self.overlay is not None:
            return self.overlay
        asked = {"boot": processes.boot(), "kernel": os.uname().release}
        path = self.places.own / "overlay.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(path.read_bytes())
            if {key: known[key] for key in asked} == asked and asked["boot"]:
                return int(known["errno"])
        from ..sandbox.probe import probe

        number = probe(self.places.tmp).overlay
        if number is None:  # no mount at all: the sandbox will say why, and an administrator may change it
            return errno.EPERM
        atomic.write_file(path, json.dumps(asked | {"errno": number}).encode(), tmp=self.places.tmp)
        return number

    def _drop(self, folder: Path) -> None:
        with contextlib.suppress(OSError):
            discard(folder, self.places.gone)

    def _is_used(self, name: str, folder: Path | None = None) -> bool:
        """folder: where the layer lies, if not under its name."""
        used = self._used()
        return name in used or former_name(folder or self.places.layers / name) in used

    def _used(self) -> set[str]:
        """Names below layers/ that a RUN or a container needs."""
        used: set[str] = set()
        for folder in (*_folders(self.places.runs), *(path / "rootfs" for path in _folders(self.places.containers))):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
                note = json.loads((folder / _NOTE).read_bytes())
                if note["mode"] == self.places.mode.value:
                    used.update(note["layers"])
        return used


def _folders(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from folder.iterdir()


def _ages(folder: Path, now: int) -> Iterator[tuple[str, int]]:
    for path in _folders(folder):
        with contextlib.suppress(FileNotFoundError):
            yield path.name, now - path.lstat().st_mtime_ns
