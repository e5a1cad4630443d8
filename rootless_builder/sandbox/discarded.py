"""A folder of the host whose changes are thrown away: `--volume SOURCE:TARGET:O`, podman's overlay volume."""

import contextlib
import os

from ..values import dataclass
from . import linux
from .idmap import in_initial_namespace
from .mounts import KernelOverlay, Place, fd_path, restrict
from .rootdir import open_in_root


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardedBind:
    """An overlay above `source`, whose upper is in memory and gone with the sandbox. What is mounted below `source`
    is not seen. A missing source is an error.
    """

    source: str
    target: str

    def describe(self) -> str:
        return f"mount an overlay of {self.source} on {self.target}"

    def execute(self, place: Place) -> None:
        name = f"discarded-{place.staged}"
        place.staged += 1
        for folder in (name, f"{name}/upper", f"{name}/work"):
            os.mkdir(folder, 0o755, dir_fd=place.staging_fd)
        here = f"{fd_path(place.staging_fd)}/{name}"
        shown = os.stat(self.source)  # what the folder itself shows is the upper's
        with contextlib.suppress(OSError):  # owners that this namespace does not have
            os.chown(f"{here}/upper", shown.st_uid, shown.st_gid)
        os.chmod(f"{here}/upper", shown.st_mode & 0o7777)
        KernelOverlay(lowers=(self.source,), upper=f"{here}/upper", work=f"{here}/work",
                      userxattr=not in_initial_namespace()).mount_on(place.directory(self.target))
        restrict(open_in_root(place.root_fd, self.target, directory=True), linux.MOUNT_ATTR_NODEV, recursive=False)
