import os
import socket
from pathlib import Path

from measure import check

import rootless_builder
from rootless_builder._fakeroot import install_filter, serve

proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
null = os.open("/dev/null", os.O_RDONLY)
view = next(Path(rootless_builder.__file__).parent.glob("_view*.so")).read_bytes()
table = bytearray(b"FRT1" + bytes(4) + (1).to_bytes(8, "little") + bytes(36))
table[16], table[24:26] = 7, b"\xa4\x81"


def listener() -> int:
    """Of a process that ends at once."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            socket.send_fds(theirs, [b"x"], [install_filter(False)])
            os._exit(0)
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(pid, 0)
    return fds[0]


def served(mounts: object = (), view: bytes = b"", dev: int = 0) -> None:
    serve(listener(), proc, table, dev, -1, -1, mounts, view)  # type: ignore[arg-type]


def refused(table: bytes = b"", mounts: object = ()) -> None:
    """A listener that is none is closed all the same."""
    serve(os.dup(null), proc, table, 0, -1, -1, mounts, b"")  # type: ignore[arg-type]


check(served, lambda: served(((b"/proc", table), (b"/dev", b"")), view), lambda: served((), b"no object"),
      lambda: refused(b"no table"), lambda: refused(b"", ((b"/none", b""),)), lambda: serve(),
      lambda: refused(b"", ((1, 2),)), lambda: refused(b"", ((b"/", b""),) * 100))  # type: ignore[call-arg]
table.append(0)  # no buffer of it is held any more
