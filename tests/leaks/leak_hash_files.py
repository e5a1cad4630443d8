from folder import folder
from measure import check

from rootless_builder._layercore import hash_files

_, root = folder()
check(lambda: hash_files(root, [b"a", b"b/c"]), lambda: hash_files(root, [b"a", b"none"]),
      lambda: hash_files(root, [b"link"]), lambda: hash_files(root, [b"a", "text"]), lambda: hash_files(root, 5),
      lambda: hash_files(root, [b"b"]))
