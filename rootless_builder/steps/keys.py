"""Under which keys a step is looked for. One that reads a stage or an image has two:

    by layers    the digests of the layers it reads from: known without opening anything
    by content   the digest of the very files it takes, their modes and owners, never their times

The first is asked for first. Its record says the second (BY_CONTENT), and the key that later steps chain from (AFTER),
so a stage that was built anew to the same content, with other times in other layers, leads to the same keys.
"""

from collections.abc import Callable, Sequence

from ..plan.cachekey import cache_key
from ..plan.steps import CopyStep, RunStep, Step
from ..store.buildcache import Cache, StepRecord
from ..values import dataclass, replace
from .copystep import copy_contents
from .mountsources import mount_contents
from .perform import is_independent
from .world import World

AFTER = "after"
BY_CONTENT = "content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """key: what a new record stands under; after: what the next step's key is made from; alias: the key by layers,
    under which the record is to stand as well, "" for none."""

    key: str
    after: str
    alias: str = ""

    def facts(self) -> dict[str, str]:
        return {AFTER: self.after, BY_CONTENT: self.key} if self.alias else {}


def look_up(step: Step, parent: str, given: Sequence[tuple[str, str]], world: World,
            cache: Cache) -> tuple[Keys, StepRecord | None]:
    """The keys of the step, and its record if there is one. given: (label, digest) of what it reads, by layers.

    Errors: those of reading a stage's files, when the key by layers is unknown.
    """
    plain = _keys(step, parent, given, world)
    record = cache.get(plain.key)
    contents = _contents(step)
    if contents is None:
        return plain, record
    if record is not None and record.facts.get(AFTER) and record.facts.get(BY_CONTENT):
        keys = Keys(key=record.facts[BY_CONTENT], after=record.facts[AFTER], alias=plain.key)
        cache.get(keys.key)  # is in use, too, and travels with this build's cache
        return keys, record
    keys = replace(_keys(step, parent, contents(world), world), alias=plain.key)
    record = cache.get(keys.key)
    if record is not None:
        record_alias(keys, record, cache)
    return keys, record


def record_alias(keys: Keys, record: StepRecord, cache: Cache) -> None:
    """Errors: DiskFull, StoreError."""
    if keys.alias:
        cache.put(keys.alias, replace(record, facts={**record.facts, **keys.facts()}))


def _keys(step: Step, parent: str, given: Sequence[tuple[str, str]], world: World) -> Keys:
    digests = [digest for _, digest in given]
    after = cache_key(parent, step, digests)
    return Keys(key=cache_key(f"link {world.timing}", step, digests) if is_independent(step) else after, after=after)


def _contents(step: Step) -> Callable[[World], list[tuple[str, str]]] | None:
    """How to digest what it reads of stages and images; None when it reads none."""
    if isinstance(step, CopyStep) and step.origin is not None and step.patterns:
        return lambda world: copy_contents(step, world)
    if isinstance(step, RunStep) and any(getattr(mount, "origin", None) is not None for mount in step.mounts):
        return lambda world: mount_contents(step, world)
    return None
