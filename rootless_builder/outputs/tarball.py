"""type=tar: the files of an image as one tar, with their owners, modes, times, devices and extended attributes.

They come from the image's tree in memory: nothing is unpacked, so the plain user's tar is that of real root.
"""

from ..layer.writer import write_layer
from ..oci.reference import Reference
from ..paths import ImagePath
from ..store.images import Image
from ..tree.changes import ChangeSet, Put
from ..values import dataclass
from .files import STDOUT, check_file, whole_file
from .output import Exported, Exporting


@dataclass(frozen=True, slots=True, kw_only=True)
class TarOutput:
    """part: a folder within the tar, for the one platform; "" for its top."""

    dest: str
    part: str = ""
    names: tuple[Reference, ...] = ()
    named_here: bool = False
    sends: bool = False

    @property
    def to_stdout(self) -> bool:
        return self.dest == STDOUT

    def check(self) -> None:
        check_file(self.dest)

    def export(self, image: Image, world: Exporting) -> Exported:
        """Errors: DiskFull, UsageError, StoreError."""
        tree = world.store.trees.load(image.layers)
        places = ((ImagePath("/".join(filter(None, (self.part, path)))), node) for path, node in tree.walk())
        files = ChangeSet(tuple(Put(place, node) for place, node in places if place))  # the root is the reader's own
        with whole_file(self.dest) as fd:
            write_layer(files, fd, clamp=world.clamp, forced=world.forced)
        return Exported()
