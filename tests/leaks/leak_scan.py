from folder import folder
from measure import check

from rootless_builder._layercore import scan

_, root = folder()
check(lambda: scan(root), lambda: scan(-1), lambda: scan("x"))
