"""Whether killed commands have left anything that the next one is to sweep: a look at names alone."""

import os

_OF_A_MODE = ("run", "gone", "tmp")
_OF_A_STORE = ("tmp", "leases", "claims")
_RESUMABLE = "partial."  # a download that waits to be gone on with (store/layout.py)


def in_scratch(scratch: str) -> bool:
    """Also what belongs to commands that still work."""
    return any(names(os.path.join(scratch, mode, kind)) for mode in names(scratch) for kind in _OF_A_MODE)


def in_store(store: str) -> bool:
    """The same of a store."""
    return any(not name.startswith(_RESUMABLE) for kind in _OF_A_STORE for name in names(os.path.join(store, kind)))


def names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
