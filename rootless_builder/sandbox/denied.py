"""The calls that no build needs, and the seccomp filter that refuses them to every command of a RUN or a container.

They speak to the kernel of the host, not to the container: its keys, modules, clocks, swap, other file systems by
handle, or parts of it where bugs were found again and again. A user namespace refuses most of them already; what
is in this table is refused before the kernel's own code for it is reached. docs/security.md has the same table.

Not here, though Docker's profile denies them to a plain container: mount, unshare, setns, pivot_root, ptrace. Builds
make root file systems and sandboxes of their own (mmdebstrap, bubblewrap) and run debuggers; the namespaces bound
what these can do.
"""

import errno
import functools
import os
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ..errors import SandboxError
from . import linux
from .plan import CAUSE, Op, Step, failure

LOAD, JUMP, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_SET, RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS …
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000  # SECCOMP_RET_*
NUMBER, ARCHITECTURE, REQUEST = 0, 4, 24  # offsets in struct seccomp_data; REQUEST: the second argument, low half
X32 = 0x40000000  # of a call's number: x86-64's ABI with 32-bit pointers
LEAF = 4  # so many numbers are compared one after the other
NEVER = -1
X86_64, I386, AARCH64, ARM, RISCV64 = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0xC00000F3  # AUDIT_ARCH_*
TIOCSTI, TIOCLINUX = 0x5412, 0x541C

REASONS: Mapping[str, str] = MappingProxyType({
    "keys": "the user's session keyring is inherited: tickets and tokens in it are not the build's",
    "modules": "code for the host's kernel",
    "boot": "another kernel, or none",
    "tracing": "watches or extends the host's kernel; a rich source of its bugs",
    "handles": "opens files by number, past the root of the container (real root)",
    "faults": "lets a program stop the kernel in the middle of a copy: what exploits are made of",
    "rings": "works behind every filter; programs fall back to read and write",
    "ports": "the machine's hardware",
    "swap": "the host's memory and disks, their accounts and quotas",
    "pages": "moves memory of other processes between nodes; tells where the kernel put it",
    "log": "the host's kernel log, with addresses and what other users' programs did",
    "clock": "the host's clock",
    "old": "nobody has used it for decades",
    "terminal": "types into the terminal of whoever started the build (TIOCSTI, TIOCLINUX)",
})


class Denied(NamedTuple):
    """numbers: for x86-64, i386, the generic table (aarch64, riscv64) and arm; NEVER where there is no such call.
    answer: ENOSYS where programs then do without, as on a kernel that lacks it.
    """

    name: str
    reason: str
    numbers: tuple[int, int, int, int]
    answer: int = errno.EPERM


CALLS = (
    Denied("add_key", "keys", (248, 286, 217, 309)),
    Denied("request_key", "keys", (249, 287, 218, 310)),
    Denied("keyctl", "keys", (250, 288, 219, 311)),
    Denied("init_module", "modules", (175, 128, 105, 128)),
    Denied("finit_module", "modules", (313, 350, 273, 379)),
    Denied("delete_module", "modules", (176, 129, 106, 129)),
    Denied("kexec_load", "boot", (246, 283, 104, 347)),
    Denied("kexec_file_load", "boot", (320, NEVER, 294, 401)),
    Denied("reboot", "boot", (169, 88, 142, 88)),
    Denied("bpf", "tracing", (321, 357, 280, 386)),
    Denied("perf_event_open", "tracing", (298, 336, 241, 364)),
    Denied("lookup_dcookie", "tracing", (212, 253, 18, 249)),
    Denied("open_by_handle_at", "handles", (304, 342, 265, 371)),
    Denied("userfaultfd", "faults", (323, 374, 282, 388)),
    Denied("io_uring_setup", "rings", (425, 425, 425, 425), errno.ENOSYS),
    Denied("io_uring_enter", "rings", (426, 426, 426, 426), errno.ENOSYS),
    Denied("io_uring_register", "rings", (427, 427, 427, 427), errno.ENOSYS),
    Denied("iopl", "ports", (172, 110, NEVER, NEVER)),
    Denied("ioperm", "ports", (173, 101, NEVER, NEVER)),
    Denied("swapon", "swap", (167, 87, 224, 87)),
    Denied("swapoff", "swap", (168, 115, 225, 115)),
    Denied("acct", "swap", (163, 51, 89, 51)),
    Denied("quotactl", "swap", (179, 131, 60, 131)),
    Denied("quotactl_fd", "swap", (443, 443, 443, 443)),
    Denied("move_pages", "pages", (279, 317, 239, 344)),
    Denied("migrate_pages", "pages", (256, 294, 238, 400)),
    Denied("syslog", "log", (103, 103, 116, 103)),
    Denied("settimeofday", "clock", (164, 79, 170, 79)),
    Denied("clock_settime", "clock", (227, 264, 112, 262)),
    Denied("clock_settime64", "clock", (NEVER, 404, NEVER, 404)),
    Denied("stime", "clock", (NEVER, 25, NEVER, NEVER)),
    Denied("nfsservctl", "old", (180, 169, 42, 169), errno.ENOSYS),
    Denied("uselib", "old", (134, 86, NEVER, 86), errno.ENOSYS),
    Denied("vm86", "old", (NEVER, 166, NEVER, NEVER), errno.ENOSYS),
    Denied("vm86old", "old", (NEVER, 113, NEVER, NEVER), errno.ENOSYS),
)
IOCTL = Denied("ioctl", "terminal", (16, 54, 29, 54))
# What the fakeroot supervisor, besides all of that, has no use for once it serves: a process to start, a mount to
# make, somebody to trace (it reads their memory by process_vm_readv), a connection.
SUPERVISORS = (
    Denied("execve", "", (59, 11, 221, 11)),
    Denied("execveat", "", (322, 358, 281, 387)),
    Denied("ptrace", "", (101, 26, 117, 26)),
    Denied("mount", "", (165, 21, 40, 21)),
    Denied("umount2", "", (166, 52, 39, 52)),
    Denied("pivot_root", "", (155, 217, 41, 218)),
    Denied("setns", "", (308, 346, 268, 375)),
    Denied("unshare", "", (272, 310, 97, 337)),
    Denied("open_tree", "", (428, 428, 428, 428)),
    Denied("move_mount", "", (429, 429, 429, 429)),
    Denied("fsopen", "", (430, 430, 430, 430)),
    Denied("fsconfig", "", (431, 431, 431, 431)),
    Denied("fsmount", "", (432, 432, 432, 432)),
    Denied("fspick", "", (433, 433, 433, 433)),
    Denied("mount_setattr", "", (442, 442, 442, 442)),
    Denied("connect", "", (42, 362, 203, 283)),
)
SUPERVISED = (*CALLS, *SUPERVISORS)
# Of each machine: its own calls and those of the older programs that it runs; the place in Denied.numbers.
MACHINES: Mapping[str, tuple[tuple[int, int], ...]] = MappingProxyType({
    "x86_64": ((X86_64, 0), (I386, 1)), "aarch64": ((AARCH64, 2), (ARM, 3)), "riscv64": ((RISCV64, 2),)})


@functools.cache
def program(machine: str, calls: tuple[Denied, ...] = CALLS) -> bytes:
    """struct sock_filter, one after the other. KeyError for a machine whose calls we do not know.

    A call that is always allowed costs nothing where the kernel keeps a map of these (5.11): none looks at arguments
    but ioctl. Others find their number in about six comparisons.
    """
    code = [_line(LOAD, ARCHITECTURE)]
    for audit, place in MACHINES[machine]:
        block = [_line(LOAD, NUMBER)]
        if audit == X86_64:
            block += [_line(JUMP_SET, X32, 0, 1), _line(RETURN, ERRNO | errno.ENOSYS)]
        answers = {call.numbers[place]: call.answer for call in calls if call.numbers[place] != NEVER}
        block += _search(sorted({**answers, IOCTL.numbers[place]: 0}.items()))
        code += [_line(JUMP_EQUAL, audit, 1, 0), _line(JUMP, len(block)), *block]
    return b"".join([*code, _line(RETURN, KILL)])  # a table of calls that nobody has looked at


def _search(answers: Sequence[tuple[int, int]]) -> list[bytes]:
    """(number, errno; 0: a question of what ioctl is asked), by number: which half, until a few are left."""
    if len(answers) > LEAF:
        middle = len(answers) // 2
        below, above = _search(answers[:middle]), _search(answers[middle:])
        return [_line(JUMP_GREATER_EQUAL, answers[middle][0], len(below), 0), *below, *above]
    code = []
    for number, answer in answers:
        found = [_line(RETURN, ERRNO | answer)] if answer else [
            _line(LOAD, REQUEST), _line(JUMP_EQUAL, TIOCSTI, 1, 0), _line(JUMP_EQUAL, TIOCLINUX, 0, 1),
            _line(RETURN, ERRNO | errno.EPERM), _line(RETURN, ALLOW)]
        code += [_line(JUMP_EQUAL, number, 0, len(found)), *found]
    return [*code, _line(RETURN, ALLOW)]


def _line(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, value)


def prepare() -> None:
    """For a process that forks others: the filters are made once, for all of them."""
    for calls in (CALLS, SUPERVISED):
        if os.uname().machine in MACHINES:
            program(os.uname().machine, calls)


def steps(calls: tuple[Denied, ...] = CALLS) -> tuple[Step, ...]:
    """Filters the process and all it will start. Needs the user namespace's CAP_SYS_ADMIN, or no_new_privs. Nothing on
    a machine whose calls we do not know.
    """
    machine = os.uname().machine
    if machine not in MACHINES:
        return ()
    return (Step(op=Op.FILTER, data=program(machine, calls), failures=(_REFUSED,)),)


def install(calls: tuple[Denied, ...]) -> None:
    """The same, of the calling thread. Errors: OSError."""
    for step in steps(calls):
        linux.set_seccomp_filter(step.data)


_REFUSED = failure(SandboxError(
    f"cannot refuse the command what no build needs: seccomp: {CAUSE}",
    hint="a kernel with CONFIG_SECCOMP_FILTER is needed; --security-opt seccomp=unconfined (iechor run) or "
         "RUN --security=insecure does without"))
