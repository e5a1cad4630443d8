from folder import folder
from measure import check

from rootless_builder._layercore import learn, remember, survey

_, root = folder()
found = survey(root)
contents = bytearray(32 * len(found))
learn(root, found, contents)
memory = remember(found, contents, b"", 0)
check(lambda: remember(found, contents, memory, 0), lambda: remember(found, bytes(32 * len(found)), b"x" * 100, 5),
      lambda: remember(found, b"", b"", 0), lambda: remember(found, contents, 5, 0), lambda: remember(5, b"", b"", 0))
