"""Blobs on their way out: out of reach at once, removed when nobody can believe in them any more.

    trash/ALGORITHM-HEX.TOKEN.RANDOM    moved a moment ago; the token (owner.py) tells by whom
    trash/ALGORITHM-HEX.at-NS.RANDOM    out of reach since NS at the latest, by the clock of the file system

Each move makes a name that never was: a blob that was taken back and is moved again waits anew. A reader that does not
find a blob takes it back itself. Why this is right where hosts see old names for a while: decision 0043.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..oci.digest import Digest, InvalidDigest
from ..values import dataclass
from . import atomic
from .layout import Layout
from .owner import Owner

_TIMED = re.compile(r"\.at-([0-9]+)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """One blob in trash/. since: ns, from when on it is surely out of reach; None: that is not known yet."""

    digest: Digest
    path: Path
    since: int | None


class Trash:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def move(self, digest: Digest) -> None:
        """Out of its place. Errors: OSError (FileNotFoundError when it is not there)."""
        atomic.move(self._layout.blob(digest), self._name(digest, Owner.current().token))

    def take_back(self, digest: Digest) -> bool:
        """Whether it was here and is at its place again."""
        prefix = f"{digest.algorithm}-{digest.hex}"
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._layout.trash):
                if name.startswith(prefix):
                    with contextlib.suppress(FileNotFoundError):
                        os.rename(self._layout.trash / name, self._layout.blob(digest))
                        return True
        return False

    def put_back(self, leaving: Leaving) -> None:
        """To its place, also where it seems to be there already: that may be an old name. Errors: OSError."""
        with contextlib.suppress(FileNotFoundError):  # somebody took it back
            atomic.move(leaving.path, self._layout.blob(leaving.digest))

    def listed(self) -> list[Leaving]:
        """All of it; what has no time yet gets the present one, whoever moved it.

        Errors: OSError, DiskFull, StoreError.
        """
        found = list(self._entries())
        if any(leaving.since is None for leaving in found):
            now = self._layout.now()  # read after the names: whatever has one was moved before
            for leaving in found:
                if leaving.since is None:
                    with contextlib.suppress(FileNotFoundError):
                        os.rename(leaving.path, self._name(leaving.digest, f"at-{now}"))
            found = [leaving for leaving in self._entries() if leaving.since is not None]
        return found

    def _entries(self) -> Iterator[Leaving]:
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._layout.trash)):
                algorithm, _, rest = name.partition("-")
                timed = _TIMED.search(name)
                with contextlib.suppress(InvalidDigest):
                    yield Leaving(digest=Digest(algorithm, rest.partition(".")[0]), path=self._layout.trash / name,
                                  since=int(timed[1]) if timed else None)

    def _name(self, digest: Digest, why: str) -> Path:
        return self._layout.trash / f"{digest.algorithm}-{digest.hex}.{why}.{os.urandom(4).hex()}"
