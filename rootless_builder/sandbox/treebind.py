"""A part of another tree than the root, bound into it: what `RUN --mount=from=…` shows."""

import os
import stat

from ..values import dataclass
from . import linux
from .mounts import KernelOverlay, Place, bind, fd_path, restrict
from .rootdir import is_directory_in_root, open_in_root


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeBind:
    """overlay: the tree's layers, mounted where nobody sees them (its own target does not count); None: the tree is
    `folder`, of the host. source: a path in it, through its own symlinks and never out of it. owners: the owner table
    of its files for the fakeroot supervisor; "": it has none, and what is recorded is forgotten with the command.
    """

    overlay: KernelOverlay | None = None
    folder: str = ""
    source: str = "/"
    target: str
    read_only: bool = False
    owners: str = ""

    def describe(self) -> str:
        return f"mount {self.source} of another tree on {self.target}"

    def execute(self, place: Place) -> None:
        tree = self._tree(place)
        directory = is_directory_in_root(tree, self.source)
        if directory is None:
            raise FileNotFoundError(2, f"there is no {self.source} in what is mounted")
        source = open_in_root(tree, self.source, directory=directory)
        mode = os.fstat(source).st_mode
        point = place.directory if stat.S_ISDIR(mode) else place.file
        bind(fd_path(source), point(self.target))
        flags = linux.MOUNT_ATTR_NODEV | (linux.MOUNT_ATTR_RDONLY if self.read_only else 0)
        restrict(open_in_root(place.root_fd, self.target, directory=directory), flags, recursive=False)

    def _tree(self, place: Place) -> int:
        if self.overlay is None:
            return os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        name = f"tree-{place.staged}"
        place.staged += 1
        os.mkdir(name, 0o700, dir_fd=place.staging_fd)
        point = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.staging_fd)
        self.overlay.mount_on(fd_path(point))
        os.close(point)
        return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.staging_fd)  # the overlay's root
