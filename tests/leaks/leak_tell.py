from folder import folder
from measure import check

from rootless_builder._layercore import survey, tell

_, root = folder()
found = survey(root)
contents = bytearray(32 * len(found))
modes = bytes(4 * 4096)
check(lambda: tell(found, contents, 0, 0, modes), lambda: tell(found, contents, 0, 1 << 40, modes),
      lambda: tell(found, b"", 0, 0, modes),
      lambda: tell(found, contents, -1, 0, modes), lambda: tell(7, contents, 0, 0, modes),
      lambda: tell(found, contents, 0, 0, b"short"))
