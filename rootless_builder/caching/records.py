"""What a step made, on disk: its layer as a blob, the layer's index, and the record that the cache finds it by."""

from collections.abc import Mapping
from typing import Protocol

from ..oci.descriptor import MEDIA_TYPE_LAYER, Descriptor
from ..oci.digest import Digest
from ..store.buildcache import StepRecord
from ..store.images import LayerRef
from ..store.store import Store
from ..tree.changes import ChangeSet
from ..values import replace


class LayerAhead(Protocol):
    """A layer that was written before its step's key was known."""

    def commit(self, store: Store) -> tuple[Digest, int]:
        """Keeps it as a blob, with its index: (diff id, bytes). Errors: DiskFull, StoreError."""


def write_step(changes: ChangeSet, key: str, created_by: str, store: Store, *, clamp: int | None,
               forced: bool = False, facts: Mapping[str, str], packing: LayerAhead | None = None) -> StepRecord:
    """Writes the layer, hashed in the same pass, then its record. No changes, no layer.

    packing: the layer instead of changes, written already. facts: what a later hit is to say again ("created",
    RFC 3339; "effect"). Errors: DiskFull, SourceError.
    """
    record = StepRecord(created_by=created_by, facts=facts)
    if packing is not None:
        diff_id, size = packing.commit(store)
        record = replace(record, diff_id=diff_id, size=size)
    elif changes.changes:
        from ..layer.writer import write_layer

        with store.blobs.writer() as writer:
            written = write_layer(changes, writer.fd, clamp=clamp, forced=forced)
            writer.commit(written.diff_id, written.size)
        store.trees.remember(written.diff_id, written.entries)
        record = replace(record, diff_id=written.diff_id, size=written.size)
    store.cache.put(key, record)
    return record


def layers_of(record: StepRecord) -> tuple[LayerRef, ...]:
    """The layer of a record, or none."""
    if record.diff_id is None:
        return ()
    blob = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=record.diff_id, size=record.size)
    return (LayerRef(diff_id=record.diff_id, blob=blob),)


def effect(files: int, others: int, gone: int, size: int) -> str:
    """What a step did, in one line: "+312 files, 84.1 MB, -3"; "" for nothing of that kind."""
    told = [f"+{files} files, {size / 1e6:.1f} MB"] if files else []
    told += [f"+{others} links and devices"] if others else []
    told += [f"-{gone}"] if gone else []
    return ", ".join(told) or "folders"
