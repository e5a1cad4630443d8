"""The store: one façade over blobs, images, layers' trees and the build cache. Opened once, passed down."""

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .blobs import Blobs
from .buildcache import BuildCache, Cache
from .images import Images
from .layout import Layout, open_layout, sweep_dead
from .leases import Leases
from .sharing import private_folder

if TYPE_CHECKING:
    from .compressed import Compressed
    from .gc import Policy, Report
    from .trees import Trees


class Store:
    """Context manager; `close` gives its lease back. Threads may share it; a forked child opens its own."""

    def __init__(self, layout: Layout, *, tars: Path) -> None:
        self.layout = layout
        self.leases = Leases(layout)
        self.blobs = Blobs(layout, self.leases)
        self.images = Images(layout, self.blobs, self.leases)
        self._records = BuildCache(layout, self.blobs)
        self.cache: Cache = self._records
        self._tars = tars

    @cached_property
    def compressed(self) -> "Compressed":
        from .compressed import Compressed

        return Compressed(self.layout)

    @cached_property
    def trees(self) -> "Trees":
        from .trees import Trees  # a warm start, or a build that is wholly cached, looks into no layer

        return Trees(self.layout, self.blobs, self._tars)

    @classmethod
    def open(cls, root: Path, *, create: bool = True, tars: Path | None = None,
             private: Path | None = None) -> "Store":
        """The store at `root`, made if it is not there and `create` is set. What killed processes left there goes.

        tars: folder (made when needed) for layers inflated for random access; scratch's, else one in the store.
        private: the store is shared with a group, and this user's own part of it is here (sharing.py).
        Errors: StoreError (not a store, a later format, unwritable), DiskFull.
        """
        layout = open_layout(root, create=create, private=private)
        sweep_dead(layout)
        store = cls(layout, tars=Path(os.path.abspath(tars)) if tars is not None else layout.own / "tars")
        store.images.catch_up()
        return store

    @classmethod
    def open_shared(cls, root: Path, *, own: Path, tars: Path | None = None) -> "Store":
        """The store at `root` that a group shares; own: the user's own store, beside which their part of it is.

        Errors: as `open`.
        """
        return cls.open(root, tars=tars, private=private_folder(root, own))

    def collect(self, policy: "Policy | None" = None) -> "Report":
        """Removes what nothing needs, and what `policy` says besides. Errors: DiskFull, StoreError."""
        from .gc import Collector, Policy

        return Collector(self.layout, self.blobs, self.images, self._records, self.leases).collect(policy or Policy())

    def close(self) -> None:
        self.leases.close()
        self.blobs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
