from folder import folder
from measure import check

from rootless_builder._layercore import survey, tell

_, root = folder()
found = survey(root)
contents = bytearray(32 * len(found))
check(lambda: tell(found, contents, 0, 0), lambda: tell(found, contents, 0, 1 << 40), lambda: tell(found, b"", 0, 0),
      lambda: tell(found, contents, -1, 0), lambda: tell(7, contents, 0, 0))
