"""`iechor check`: what is wrong with the store, and with --repair what was done about it."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import IechorError
from . import tables
from .call import Call

if TYPE_CHECKING:
    from ..store.repair import Repaired
    from ..store.verify import Verdict

SOUND, DAMAGED = 0, 14  # 14: that of StoreError


def check(call: Call) -> int:
    """0 when the store is sound, or has been mended without losing an image."""
    from .. import catalog

    options = call.options
    settings = call.settings()
    scratch = None
    with suppress(IechorError):  # one that cannot be written holds nothing that this user would use
        scratch = call.scratch(settings)()
    with call.store(settings) as store:
        verdict, repaired = catalog.check(store, scratch=scratch, quick=options.quick, repair=options.repair)
    if options.format:
        print(tables.fill(options.format, told(verdict, repaired)))
    else:
        show(verdict, repaired)
    healed = repaired is not None and not repaired.lost
    return SOUND if healed or not verdict.damages else DAMAGED


def told(verdict: "Verdict", repaired: "Repaired | None") -> dict[str, Any]:
    """What --format sees."""
    return {"Sound": not verdict.damages, "Blobs": verdict.blobs, "Bytes": verdict.bytes, "Images": verdict.images,
            "Steps": verdict.steps, "Left": verdict.left,
            "Damages": [{"Kind": one.kind, "Path": str(one.path), "What": one.what} for one in verdict.damages],
            "Removed": repaired.removed if repaired else 0, "Lost": list(repaired.lost) if repaired else []}


def show(verdict: "Verdict", repaired: "Repaired | None") -> None:
    for damage in verdict.damages:
        print(f"damaged {damage.kind}: {damage.path}: {damage.what}")
    print(f"{'Damaged' if verdict.damages else 'Sound'}: {verdict.images} images, {verdict.blobs} blobs "
          f"({tables.size(verdict.bytes)}), {verdict.steps} cached steps")
    if verdict.left and repaired is None:
        print(f"{verdict.left} files are left of processes that were killed; iechor prune removes them")
    if repaired is None:
        if verdict.damages:
            print("hint: iechor check --repair removes what is damaged, and makes again what can be", file=sys.stderr)
        return
    print(f"Mended: {repaired.removed} files removed")
    for name in repaired.lost:
        print(f"lost: {name}: pull or build it again")
