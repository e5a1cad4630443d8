"""Names of images, one small file each, and index.json, the view of them that other tools read.

    refs/NAME    {"name": "docker.io/library/test:latest", "manifest": {descriptor}}

A name is set or removed by one rename or unlink: two processes that tag at once need no lock. index.json is
written whole after each change, and again if names changed meanwhile: whoever renames last has looked last.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError, UnsafeArchive
from ..oci.descriptor import Descriptor
from ..oci.manifest import Index
from ..values import replace
from . import atomic
from .layout import REMEDY, Layout
from .seen import Seen

REF_NAME = "org.opencontainers.image.ref.name"  # annotations.md; what comes after the second ":" of oci:DIR:NAME
_ROUNDS = 20  # of rewriting index.json because others tag at the same time


class Names:
    """name (canonical reference) → descriptor of a manifest."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def get(self, name: str) -> Descriptor | None:
        """Errors: StoreError when the file is damaged."""
        found = read_record(self._layout.refs / atomic.escape(name), self._layout.seen)
        return None if found is None else _descriptor(found, name)

    def set(self, name: str, manifest: Descriptor) -> bool:
        """Whether that changed anything. Errors: DiskFull, StoreError."""
        with contextlib.suppress(StoreError):
            if self.get(name) == manifest:
                return False
        data = json.dumps({"name": name, "manifest": manifest.to_json()}, sort_keys=True).encode()
        self._layout.write(self._layout.refs / atomic.escape(name), data, f"tag {name}", durable=True)
        return True

    def remove(self, name: str) -> bool:
        """Whether there was such a name."""
        with atomic.explained(f"untag {name}", self._layout.refs, remedy=REMEDY):
            return atomic.remove(self._layout.refs / atomic.escape(name))

    def all(self) -> dict[str, Descriptor]:
        """Every name, in order. A damaged file is passed over: one bad name must not hide the others."""
        found = {}
        for record in records(self._layout.refs):
            with contextlib.suppress(StoreError):
                name = str(record.get("name", ""))
                found[name] = _descriptor(record, name)
        return dict(sorted(found.items()))

    def write_index(self, unnamed: Callable[[], Sequence[Descriptor]]) -> None:
        """index.json anew: all names, then the manifests of images without one. Errors: DiskFull, StoreError."""
        written = self._written()
        for _ in range(_ROUNDS):
            data = self._index(unnamed)
            if data == written:
                return
            self._layout.write(self._layout.index, data, "write the index of images", durable=True)
            written = data

    def listed(self) -> dict[str, Descriptor]:
        """The names that index.json has; nothing where it cannot be read."""
        with contextlib.suppress(UnsafeArchive):
            entries = Index.from_json(self._written() or b"").manifests
            return {entry.annotations[REF_NAME]: replace(entry, annotations={}) for entry in entries
                    if REF_NAME in entry.annotations}
        return {}

    def index_is_right(self, unnamed: Callable[[], Sequence[Descriptor]]) -> bool:
        return self._written() == self._index(unnamed)

    def _written(self) -> bytes | None:
        data = None
        with contextlib.suppress(OSError):
            data = self._layout.index.read_bytes()
        self._layout.seen.file(self._layout.index, data)
        return data

    def _index(self, unnamed: Callable[[], Sequence[Descriptor]]) -> bytes:
        named = self.all()
        entries = [replace(manifest, annotations={**manifest.annotations, REF_NAME: name})
                   for name, manifest in named.items()]
        digests = {manifest.digest for manifest in entries}
        entries += [manifest for manifest in unnamed() if manifest.digest not in digests]
        return Index(manifests=tuple(entries)).to_json()


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """Every readable JSON object of a folder of small files. Errors: StoreError (a folder that cannot be read)."""
    names: list[str] = []
    with atomic.explained("read the store", folder, remedy=REMEDY), contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(folder))
    for name in names:
        with contextlib.suppress(StoreError):
            record = read_record(folder / name)
            if record is not None:
                yield record


def read_record(path: Path, seen: Seen | None = None) -> dict[str, Any] | None:
    """A small JSON object of ours; None when it is not there. seen: is told. Errors: StoreError."""
    data = None
    try:
        with atomic.explained("read the store", path, remedy=REMEDY), contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
        if seen is not None:
            seen.file(path, data)
        if data is None:
            return None
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StoreError(f"cannot read the store: {path} is damaged", hint="remove this file, then try again")
    return value


def _descriptor(record: Mapping[str, Any], name: str) -> Descriptor:
    try:
        return Descriptor.from_json(record["manifest"])
    except (KeyError, AttributeError, TypeError, UnsafeArchive) as error:
        raise StoreError(f"cannot read the name {name} in the store: its file is damaged",
                         hint="tag or pull the image again") from error
