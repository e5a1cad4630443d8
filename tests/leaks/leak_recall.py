from folder import folder
from measure import check

from rootless_builder._layercore import learn, recall, remember, survey

_, root = folder()
found = survey(root)
contents = bytearray(32 * len(found))
learn(root, found, contents)
memory = remember(found, contents, b"", 1 << 62)
check(lambda: recall(found, memory, bytearray(32 * len(found))), lambda: recall(found, memory[:-3], contents),
      lambda: recall(found, memory, bytearray(5)), lambda: recall(7, memory, contents),
      lambda: recall(found, "text", contents))
