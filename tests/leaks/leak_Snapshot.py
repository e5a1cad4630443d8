from folder import folder
from measure import check

from rootless_builder._layercore import Snapshot, scan

_, root = folder()
snapshot = scan(root)
check(lambda: snapshot.get(b"b/c"), lambda: snapshot.get(b"none"), lambda: snapshot.get("text"), lambda: len(snapshot),
      lambda: Snapshot())
