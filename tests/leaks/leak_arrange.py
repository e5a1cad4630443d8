from measure import check

from rootless_builder._layercore import arrange, read_headers
from tests.tarbytes import file, hard_link, symlink

data = b"".join(file(b"f%d" % number) for number in range(200)) + symlink(b"s", b"t") + hard_link(b"l", b"f1")
records, paths, targets = map(bytearray, read_headers(data, 0, 0, 1 << 40, 0)[:3])
twice = records + records
check(lambda: arrange(records, paths, targets, 0, 1000), lambda: arrange(records, paths, targets, 0, 5),
      lambda: arrange(twice, paths, targets, 0, 1000), lambda: arrange(records, "text", targets, 0, 1))
records.append(0)  # no buffer of them is held any more
paths.append(0)
targets.append(0)
