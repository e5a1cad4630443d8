from folder import folder
from measure import check

from rootless_builder._layercore import TarSink

_, root = folder()
header = bytearray(512)
sink = TarSink(-1)


def refused(path: object, size: int) -> None:
    TarSink(-1).add(header, root, path, size)  # type: ignore[arg-type]


check(lambda: sink.add(header, root, b"b/c", 300_000), lambda: refused(b"b/c", 5), lambda: refused(b"link", 1000),
      lambda: refused("text", 1), lambda: refused(b"a", -1), lambda: refused(b"a\0", 1000))
header.append(0)  # no buffer of it is held any more
