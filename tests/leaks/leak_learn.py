from folder import folder
from measure import check

from rootless_builder._layercore import learn, survey

top, root = folder()
found = survey(root)
(top / "gone").write_bytes(b"")
lost = survey(root, [b"gone"])
(top / "gone").unlink()
check(lambda: learn(root, found, bytearray(32 * len(found))), lambda: learn(root, found, bytearray(5)),
      lambda: learn(root, lost, bytearray(32)), lambda: learn(-1, found, bytearray(32 * len(found))),
      lambda: learn(root, 7, bytearray(5)))
