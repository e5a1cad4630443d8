import ctypes
import errno
import os
import struct

from measure import check

from rootless_builder._fakeroot import install_filter

SECCOMP = 277 if os.uname().machine == "aarch64" else 317

# A process has one listener at most: with another's in its place, ours is refused each time.
libc = ctypes.CDLL(None, use_errno=True)
allow = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
program = struct.pack("@HP", 1, ctypes.addressof(allow))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.syscall(SECCOMP, 1, 1 << 3, program) >= 0


def refused() -> None:
    try:
        install_filter(False)
    except OSError as error:
        assert error.errno == errno.EBUSY


check(refused, lambda: install_filter(), lambda: install_filter(False, 1))  # type: ignore[call-arg]
