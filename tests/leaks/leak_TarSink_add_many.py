from folder import folder
from measure import check

from rootless_builder._layercore import TarSink

_, root = folder()
sink = TarSink(-1)


def refused(entries: object) -> None:
    TarSink(-1).add_many(root, entries)  # type: ignore[arg-type]


check(lambda: sink.add_many(root, [(bytes(512), b"b/c", 300_000), (bytes(512), None, 0)]), lambda: refused([()]),
      lambda: refused([(bytes(512), b"a", 5)]), lambda: refused([(bytes(512), "text", 5)]), lambda: refused(7),
      lambda: refused([(bytes(512), b"a", "x")]))
