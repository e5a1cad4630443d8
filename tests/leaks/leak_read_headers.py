from measure import check

from rootless_builder._layercore import read_headers
from tests.tarbytes import file, hard_link, header, symlink

data = bytearray(file(b"a", b"x" * 700) + symlink(b"s", b"t") + hard_link(b"l", b"a") + file(b"b" * 90) * 200 +
                 header(b"dev", b"3"))
check(lambda: read_headers(data, 0, 0, 1 << 40, 0), lambda: read_headers(data, 512, 0, 5, 0),
      lambda: read_headers(data, -1, 0, 0, 0), lambda: read_headers("text", 0, 0, 0, 0))
data.append(0)  # no buffer of it is held any more
