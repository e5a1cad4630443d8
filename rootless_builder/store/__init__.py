"""The store on disk. `Store` is the way in; everything else is reached through it."""

from .buildcache import BuildCache, Cache, NoCache, StepRecord
from .gc import Policy, Report
from .images import Image, ImageRecord, LayerRef, Removed
from .store import Store

__all__ = ["BuildCache", "Cache", "Image", "ImageRecord", "LayerRef", "NoCache", "Policy", "Removed", "Report",
           "StepRecord", "Store"]
