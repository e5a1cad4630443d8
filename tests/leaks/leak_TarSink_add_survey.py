from folder import folder
from measure import check

from rootless_builder._layercore import TarSink, survey

top, root = folder()
found = survey(root)
sink = TarSink(-1)
(top / "gone").write_bytes(b"x")
lost = survey(root, [b"gone"])
(top / "gone").unlink()
modes = bytes(16384)


def added(sink: TarSink, *changed: object, first: int = 0, strip: int = 0) -> None:
    given = [root, found, bytearray(32 * len(found)), first, strip, b"x/", 0, 0, 1 << 62, modes, [b"aaa"], 1 << 20]
    given[:len(changed)] = changed
    sink.add_survey(*given)  # type: ignore[arg-type]


check(lambda: added(sink), lambda: added(TarSink(-1), root, lost, bytearray(32)), lambda: added(sink, root, found, b""),
      lambda: added(sink, first=-1), lambda: added(TarSink(-1), strip=9), lambda: added(sink, root, 7),
      lambda: added(sink, root, found, bytearray(32 * len(found)), 0, 0, b"", 0, 0, 0, b"short"),
      lambda: added(sink, root, found, bytearray(32 * len(found)), 0, 0, b"", 0, 0, 0, None, [b"x"]),
      lambda: added(sink, root, found, bytearray(32 * len(found)), 0, 0, b"", 0, 0, 0, None, 7))
