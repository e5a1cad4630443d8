from folder import folder
from measure import check

from rootless_builder._layercore import diff, scan

top, root = folder()
before = scan(root)
(top / "a").unlink()
(top / "new").touch()
after = scan(root)
check(lambda: diff(before, after), lambda: diff(after, before), lambda: diff(before, None), lambda: diff(before))
