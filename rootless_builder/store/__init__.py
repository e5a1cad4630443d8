"""The store on disk. `Store` is the way in; everything else is reached through it.

What is named here is imported when somebody asks for it: a cached build does without most of the room.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .buildcache import BuildCache, Cache, NoCache, StepRecord
    from .gc import Policy, Report
    from .images import Image, ImageRecord, LayerRef, Removed
    from .store import Store

__all__ = ["BuildCache", "Cache", "Image", "ImageRecord", "LayerRef", "NoCache", "Policy", "Removed", "Report",
           "StepRecord", "Store"]
_PLACES = {**dict.fromkeys(("BuildCache", "Cache", "NoCache", "StepRecord"), "buildcache"),
           **dict.fromkeys(("Policy", "Report"), "gc"), "Store": "store",
           **dict.fromkeys(("Image", "ImageRecord", "LayerRef", "Removed"), "images")}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(name)
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
