import os
import struct
import tempfile

from measure import check

from rootless_builder._layercore import make_files

ROW = struct.Struct("<QQqIII")
data = bytearray(b"12345678")
names = bytearray(b"a\0b\0")
wanted = bytearray(ROW.pack(0, 8, -1, 0o4751, 2**32 - 1, 2**32 - 1) + ROW.pack(8, 0, 10**18, 0o600, 1, 1))
with tempfile.TemporaryDirectory() as folder:
    fd = os.open(folder, os.O_RDONLY)

    def anew() -> None:
        make_files(fd, data, wanted, names)
        for name in ("a", "b"):
            os.unlink(name, dir_fd=fd)

    check(anew, lambda: make_files(fd, data, wanted, b"a\0"), lambda: make_files(fd, data, wanted, "text"),
          lambda: make_files(fd, b"", wanted, names))
data.append(0)  # no buffer of them is held any more
wanted.append(0)
names.append(0)
