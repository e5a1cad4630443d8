"""What a layer is once compressed: compressed/DIFF-ID.KIND.LEVEL → the descriptor of the compressed blob.

Compression is deterministic, so the pair holds for ever: a second push of a layer knows the digest to ask the
registry for before it compresses anything.
"""

import contextlib
import json
from pathlib import Path

from ..errors import StoreError, UnsafeArchive
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from .layout import Layout
from .names import read_record


class Compressed:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def get(self, diff_id: Digest, kind: str, level: int | None) -> Descriptor | None:
        with contextlib.suppress(StoreError, UnsafeArchive, KeyError, TypeError, AttributeError):
            record = read_record(self._path(diff_id, kind, level))
            return None if record is None else Descriptor.from_json(record["blob"])
        return None

    def put(self, diff_id: Digest, kind: str, level: int | None, blob: Descriptor) -> None:
        """Errors: DiskFull, StoreError."""
        data = json.dumps({"blob": blob.to_json()}, sort_keys=True).encode()
        self._layout.write(self._path(diff_id, kind, level), data, "remember a compressed layer")

    def _path(self, diff_id: Digest, kind: str, level: int | None) -> Path:
        level_name = "default" if level is None else str(level)
        return self._layout.compressed / f"{diff_id.hex}.{kind}.{level_name}"
