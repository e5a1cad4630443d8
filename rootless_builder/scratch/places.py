"""Every path of a scratch folder. All of it is node-local and may be deleted at any moment but while it is in use.

    SCRATCH/                      owned by the user, writable by nobody else
    ├── fakeroot.1/ subuid.1/ host.1/    0700; one for each id mode, which never share an unpacked file
    │   ├── layers/ID/            a layer unpacked once: root/ (a lower of overlays), layer.json, owners
    │   ├── run/TOKEN/            one RUN: upper/, work/, root/ (mount point, or the tree checked out), lowers.json
    │   ├── caches/ID/            a `RUN --mount=type=cache` (caches.py)
    │   ├── stubs/                lowest lower: the mount points that every container needs
    │   ├── tmp/                  being unpacked; the name tells by whom
    │   └── gone/                 being removed
    ├── containers/ID/rootfs/     as run/TOKEN/, for as long as the container exists
    ├── contexts/                 what folders of the host held (contexts/memory.py)
    ├── answers/                  what builds said that had nothing to do (answers/)
    └── tars/                     layers inflated for random access (store/trees.py)

The number is the format of what lies below: another version of iechor uses another folder.
"""

import contextlib
import fcntl
import os
import stat
import struct
import sys
from pathlib import Path

from ..errors import StoreError
from ..sandbox.idmap import IdMode
from ..store import atomic
from ..values import dataclass
from .walk import FOLDER

FORMAT = 1
REMEDY = "free space there (`iechor prune`; everything in it may be deleted), or set IECHOR_SCRATCH to a larger disk"
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # ioctl_iflags(2)
_TOP_OF_TREES = 0x20000  # FS_TOPDIR_FL


def in_first_namespace() -> bool:
    """Whether no user namespace is around us: only there overlayfs keeps its marks in trusted.* attributes."""
    try:
        return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Places:
    """root: the scratch folder. mode: whose files these are."""

    root: Path
    mode: IdMode

    @property
    def own(self) -> Path:
        return self.root / f"{self.mode.value}.{FORMAT}"

    @property
    def layers(self) -> Path:
        return self.own / "layers"

    @property
    def runs(self) -> Path:
        return self.own / "run"

    @property
    def stubs(self) -> Path:
        return self.own / "stubs"

    @property
    def caches(self) -> Path:
        return self.own / "caches"

    @property
    def tmp(self) -> Path:
        return self.own / "tmp"

    @property
    def gone(self) -> Path:
        return self.own / "gone"

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    @property
    def tars(self) -> Path:
        return self.root / "tars"

    def container(self, container_id: str) -> Path:
        return self.containers / container_id / "rootfs"


def make_places(root: Path, mode: IdMode) -> Places:
    """The folders, made where they are missing. Errors: StoreError when others could write there, DiskFull."""
    places = Places(Path(os.path.abspath(root)), mode)
    with atomic.explained("make the scratch folder", places.root, remedy=REMEDY):
        atomic.make_folder(places.root)
        _check_owner(places.root)
        for folder in (places.own, *_folders(places)):
            if not folder.is_dir():
                atomic.make_folder(folder)
                _spread(folder)
        _check_owner(places.own)
        if os.stat(places.own).st_gid != os.getegid():  # a set-gid folder above: files would have a foreign group
            for folder in (places.own, *_folders(places)):
                os.chown(folder, -1, os.getegid())
                os.chmod(folder, 0o700)
    return places


def _folders(places: Places) -> tuple[Path, ...]:
    return places.layers, places.runs, places.caches, places.tmp, places.gone


def _spread(folder: Path) -> None:
    """Asks ext4 to begin what is made in `folder` in an empty part of the disk, as it does below its root (chattr +T).

    Else a new tree lies where the last one was removed, and a file system without a journal goes over all inodes
    freed there in the last minutes, for each file that is made.
    """
    fd = os.open(folder, FOLDER)
    try:
        with contextlib.suppress(OSError):  # other file systems have no such flag
            flags = bytearray(struct.calcsize("l"))
            fcntl.ioctl(fd, _GET_FLAGS, flags)
            fcntl.ioctl(fd, _SET_FLAGS, struct.pack("I", int.from_bytes(flags[:4], sys.byteorder) | _TOP_OF_TREES))
    finally:
        os.close(fd)


def _check_owner(folder: Path) -> None:
    """A folder in /var/tmp may have been put there by somebody else; and who can write in it can do as we can."""
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StoreError(f"cannot use the scratch folder {folder}: it is not a folder of uid {os.geteuid()}",
                         hint="set IECHOR_SCRATCH to a folder of your own on a local disk")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise StoreError(f"cannot use the scratch folder {folder}: others can write in it "
                         f"(mode {stat.S_IMODE(status.st_mode):04o})", hint=f"run: chmod 0700 {folder}")
