"""The cache of one build: the store's own, and behind it what other places have recorded (--cache-from).

    get   the store's record ─▶ else an offer, whose layer is then *promised*: fetched when something opens it
    put   into the store
    used  every record that this build met: what --cache-to can export

A layer that nothing opens (of a stage that is only copied from by a step that hits as well) is never fetched.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..errors import RegistryError
from ..language.numbers import nanoseconds
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..store.blobs import Blobs
from ..store.buildcache import Cache, StepRecord
from ..threads import side_by_side
from ..values import dataclass, replace
from .wire import portable

AT_ONCE = 4  # layers


class CacheSourceFailed(RegistryError):
    """A source of the cache that answered at first and now does not, or lies. where: which one."""

    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A record somebody else made. where: the source, for messages. blob: its layer there, maybe compressed.

    fetch: puts the layer into the store, uncompressed and verified. Errors: CacheSourceFailed, DiskFull, StoreError.
    """

    record: StepRecord
    where: str
    blob: Descriptor | None = None
    fetch: Callable[[], object] = bool


class CarriedCache:
    """now: seconds since the epoch. ttl: seconds; records made longer ago are not used, None: all are."""

    def __init__(self, local: Cache, blobs: Blobs, *, now: float, ttl: float | None = None) -> None:
        self._local = local
        self._blobs = blobs
        self._now = now
        self._ttl = ttl
        self._offers: dict[str, list[Offer]] = {}
        self._used: dict[str, StepRecord] = {}
        self._remote: dict[Digest, Offer] = {}
        self._lock = threading.Lock()

    def offer(self, offers: Mapping[str, Offer]) -> None:
        """More to choose from, after those that came before."""
        for key, one in offers.items():
            self._offers.setdefault(key, []).append(one)

    def drop(self, where: str) -> bool:
        """Nothing of this source is used any more. Whether there was anything."""
        there = any(one.where == where for offers in self._offers.values() for one in offers)
        self._offers = {key: [one for one in offers if one.where != where] for key, offers in self._offers.items()}
        return there

    def get(self, key: str) -> StepRecord | None:
        record = self._local.get(key)
        if record is None or not self._fresh(record):
            record = self._offered(key)
        if record is not None:
            self._note(key, record)
        return record

    def put(self, key: str, record: StepRecord) -> None:
        """Errors: DiskFull, StoreError."""
        dated = replace(record, facts={**record.facts, "made": str(int(self._now))})
        self._local.put(key, dated)
        self._note(key, dated)

    def explain(self, position: str, inputs: Sequence[tuple[str, str]]) -> str:
        return self._local.explain(position, inputs)

    def remember_inputs(self, position: str, inputs: Sequence[tuple[str, str]]) -> None:
        self._local.remember_inputs(position, inputs)

    def used(self, only: Iterable[Digest] | None = None) -> dict[str, StepRecord]:
        """Steps of this build by their keys. only: diff ids of layers; steps with other layers are left out."""
        wanted = None if only is None else set(only)
        with self._lock:
            return {key: record for key, record in self._used.items()
                    if wanted is None or record.diff_id is None or record.diff_id in wanted}

    def remote(self, diff_id: Digest) -> Offer | None:
        """Where a layer is that was promised to this build."""
        return self._remote.get(diff_id)

    def _offered(self, key: str) -> StepRecord | None:
        for one in self._offers.get(key, ()):
            record = one.record
            if not self._fresh(record):
                continue
            if record.diff_id is not None and not self._blobs.use(record.diff_id, record.size):
                self._remote[record.diff_id] = one
                self._blobs.promise(record.diff_id, one.fetch)
            self._local.put(key, record)
            return record
        return None

    def _note(self, key: str, record: StepRecord) -> None:
        if portable(record):
            with self._lock:
                self._used[key] = record

    def _fresh(self, record: StepRecord) -> bool:
        return self._ttl is None or self._now - _made(record) <= self._ttl


def _made(record: StepRecord) -> float:
    """Seconds since the epoch; 0 when nobody wrote it down."""
    made = record.facts.get("made", "")
    if made.isdecimal():
        return float(made)
    from datetime import datetime

    try:
        return datetime.fromisoformat(record.facts.get("created", "")).timestamp()
    except (ValueError, OverflowError):
        return 0


def seconds(text: str) -> float:
    """Of a duration such as 24h or 1h30m. Errors: ValueError."""
    return nanoseconds(text) / 1e9


def bring(digests: Iterable[Digest], blobs: Blobs) -> None:
    """Every promised blob of these, here; some at once. Errors: those of Blobs.claim."""
    wanted = list(dict.fromkeys(digest for digest in digests if blobs.promised(digest)))
    side_by_side(blobs.claim, wanted, AT_ONCE, joined=False)  # whoever opened the sources ends their transfers
