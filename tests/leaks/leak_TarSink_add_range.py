import os

from folder import folder
from measure import check

from rootless_builder._layercore import TarSink

top, _ = folder()
fd = os.open(top / "b/c", os.O_RDONLY)
header = bytearray(512)
sink = TarSink(-1)


def refused(offset: int, size: int) -> None:
    TarSink(-1).add_range(header, fd, offset, size)


check(lambda: sink.add_range(header, fd, 10, 1000), lambda: refused(299_999, 5), lambda: refused(-1, 0),
      lambda: sink.add_range("text", fd, 0, 0))
header.append(0)  # no buffer of it is held any more
