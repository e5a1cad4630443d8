"""`--volume SOURCE:TARGET:U`: a folder of the host that is the step's own user's, as podman has it.

    fakeroot       on this disk everything stays the caller's; the step sees its user as the owner of what is there when
                   it begins, by an owner table of the mount's own
    subuid, host   the files are given to that user, really and for good
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SourceError
from ..sandbox.idmap import IdMode
from ..sandbox.mounts import Bind, Mount
from ..sandbox.treebind import TreeBind
from ..scratch.owners import OwnerRecord, encode
from ..scratch.places import Places


@contextmanager
def owned(volume: Mount, owner: tuple[int, int], places: Places) -> Iterator[Mount]:
    """`volume` as `owner` (uid, gid in the image) is to see it; what is mounted below it is not seen in fakeroot mode.

    Errors: SourceError, where a file can be given to nobody else or not be looked at.
    """
    assert isinstance(volume, Bind)
    try:
        found = list(_files(volume.source))
    except OSError as error:
        raise SourceError(f"cannot read {error.filename} of the volume {volume.target}: {error.strerror}") from error
    if places.mode is not IdMode.FAKEROOT:
        _give(found, owner, volume)
        yield volume
        return
    device = found[0][1].st_dev
    records = {seen.st_ino: OwnerRecord(ino=seen.st_ino, mode=seen.st_mode, uid=owner[0], gid=owner[1])
               for _, seen in found if seen.st_dev == device}
    with tempfile.NamedTemporaryFile(dir=places.tmp, prefix="volume-") as table:
        table.write(encode(records.values()))
        table.flush()
        folder, name = ((volume.source, "/") if stat.S_ISDIR(found[0][1].st_mode) else
                        (os.path.dirname(volume.source), f"/{os.path.basename(volume.source)}"))
        yield TreeBind(folder=folder, source=name, target=volume.target, read_only=volume.read_only, owners=table.name)


def _give(found: list[tuple[str, os.stat_result]], owner: tuple[int, int], volume: Bind) -> None:
    for path, seen in found:
        if (seen.st_uid, seen.st_gid) != owner:
            try:
                os.chown(path, *owner, follow_symlinks=False)
            except OSError as error:
                raise SourceError(f"cannot give {path} of the volume {volume.target} to {owner[0]}:{owner[1]}: "
                                  f"{error.strerror}", hint="leave U out, or give it away yourself first") from error


def _files(source: str) -> Iterator[tuple[str, os.stat_result]]:
    """The source itself, then all below it. Errors: OSError."""
    yield source, os.stat(source)
    if not Path(source).is_dir():
        return

    def refused(error: OSError) -> None:
        raise error

    for folder, names, files in os.walk(source, onerror=refused):
        for name in (*names, *files):
            path = os.path.join(folder, name)
            yield path, os.lstat(path)
