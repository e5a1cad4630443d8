"""What this process has read of a store, for whoever wants to know later whether it is still so (answers/)."""

from pathlib import Path


class Seen:
    """files: bytes of names, images, records, manifests and configs as they were read; None: there was none.
    sizes: of blobs that were looked for; None likewise. whole: nothing else counted. Threads may share it.
    """

    def __init__(self) -> None:
        self.files: dict[Path, bytes | None] = {}
        self.sizes: dict[Path, int | None] = {}
        self.whole = True

    def file(self, path: Path, data: bytes | None) -> None:
        """A file that was another one before: somebody, ourselves perhaps, has written it meanwhile."""
        if self.files.setdefault(path, data) != data:
            self.whole = False

    def blob(self, path: Path, size: int | None) -> None:
        if self.sizes.setdefault(path, size) != size:
            self.whole = False

    def elsewhere(self) -> None:
        """Something that is not in the store was read: an archive, a registry, a URL."""
        self.whole = False
