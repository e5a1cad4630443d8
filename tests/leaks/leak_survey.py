from folder import folder
from measure import check

from rootless_builder._layercore import survey

_, root = folder()
check(lambda: survey(root), lambda: survey(root, [b"a", b"b"], [b"b/c"]), lambda: survey(root, [b"none"]),
      lambda: survey(root, ["x"]), lambda: survey(root, None, 7), lambda: survey(root, [b"a\0"]), lambda: survey(-1))
