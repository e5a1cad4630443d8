"""The same sandbox where the kernel lacks the younger calls: really, a seccomp filter answers ENOSYS for them.

(Not with a subordinate range: a filter needs no_new_privs, under which the set-uid newuidmap does not work.)
"""

import json

import pytest

from rootless_builder.sandbox.mounts import Bind, standard
from tests.sandbox.conftest import box_of

LACKING = """
import ctypes, struct
def rule(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
missing = (434, 436, 437, 442)  # pidfd_open, close_range, openat2, mount_setattr
program = rule(0x20, 0, 0, 0)
for place, number in enumerate(missing):
    program += rule(0x15, len(missing) - place, 0, number)
program += rule(6, 0, 0, 0x7FFF0000) + rule(6, 0, 0, 0x50000 | 38)
buffer = ctypes.create_string_buffer(program)
libc = ctypes.CDLL(None)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(program) // 8, ctypes.addressof(buffer)))) == 0
try:
    os.pidfd_open(os.getpid())
except OSError as error:
    assert error.errno == 38
"""

STEPS = """
spec = read_spec(open("spec.json").read(), ids)
def step(script, timeout=None, **fields):
    return finished(launch(dataclasses.replace(spec, argv=("sh", "-c", script), **fields)), timeout)
print(json.dumps({
    "fds": step("ls /proc/self/fd")["out"].split(),
    "volume": step("touch /v/x; cat /v/file; grep ' /v ' /proc/self/mountinfo | cut -d' ' -f6"),
    "root": step("touch /x", read_only=True)["err"],
    "sys": step("touch /sys/x")["err"],
    "timeout": step("echo up; setsid sleep 77123 & sleep 77123", timeout=0.3, init=True),
    "signal": step("kill -9 $PPID; sleep 1; echo alive", init=False)["out"],
    "left": [name for name in os.listdir("/proc") if name.isdecimal() and os.path.exists(f"/proc/{name}/cmdline")
             and b"77123" in open(f"/proc/{name}/cmdline", "rb").read() and str(os.getpid()) != name],
}))
"""


@pytest.mark.parametrize("who", ["plain", "root"])
def test_without_the_younger_calls(who: str) -> None:
    with box_of(who) as box:
        folder = box.person.home / "volume"
        folder.mkdir()
        (folder / "file").write_text("host\n")
        mounts = (*standard(), Bind(source=str(folder), target="/v", read_only=True, nosuid=True))
        box.person.write("spec.json", box.spec("true", mounts=mounts).to_json())
        done = box.script(LACKING + STEPS)
        assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["fds"] == ["0", "1", "2", "3"]
    assert "Read-only file system" in told["volume"]["err"]
    host, flags = told["volume"]["out"].split()
    assert host == "host" and {"ro", "nosuid", "nodev"} <= set(flags.split(","))
    assert "Read-only file system" in told["root"]
    assert "Read-only file system" in told["sys"]
    assert told["timeout"]["timed_out"] and told["timeout"]["out"] == "up\n"
    assert told["signal"] == "alive\n"
    assert told["left"] == []
