"""The kernel's calls that Python lacks: three lines each, one way to fail (OSError with the call's own errno).

The only ctypes of the package. Works on glibc and musl: libc functions where both have them, syscall(2) with the
number where one of them lacks it (numbers above 423 are the same on every architecture).
"""

import ctypes
import os
import types

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_NR_PIDFD_SEND_SIGNAL = 424
_NR_PIDFD_OPEN = 434
_NR_CLOSE_RANGE = 436
_NR_MOUNT_SETATTR = 442
_NR_PTRACE = 101 if os.uname().machine == "x86_64" else 117
_NR_OPEN_TREE = 428
_NR_LANDLOCK_CREATE_RULESET = 444
_NR_LANDLOCK_RESTRICT_SELF = 446
_NR_KEYCTL = 250 if os.uname().machine == "x86_64" else 219
_NR_RT_SIGACTION = 13 if os.uname().machine == "x86_64" else 134  # 134: of the generic table (aarch64, riscv64)
CLOSE_RANGE_CLOEXEC = 4
KEYCTL_JOIN_SESSION_KEYRING = 1
OPEN_TREE_CLONE = 1
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1

_LINUX_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
for _name in ("unshare", "setns", "mount", "umount2", "pivot_root", "sethostname", "prctl", "capset", "capget"):
    getattr(_libc, _name)  # looked up now, once for all forks of the server


def _check(result: int, what: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _path(path: str | bytes | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def unshare(flags: int) -> None:
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int = 0) -> None:
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """mount(2). `data` is at most one page."""
    _check(_libc.mount(_path(source), _path(target), _path(fstype), ctypes.c_ulong(flags), _path(data)), target)


def umount2(target: str, flags: int) -> None:
    _check(_libc.umount2(_path(target), ctypes.c_int(flags)), target)


def pivot_root(new_root: str, put_old: str) -> None:
    _check(_libc.pivot_root(_path(new_root), _path(put_old)), new_root)


def mount_setattr(dir_fd: int, path: str, flags: int, *, attr_set: int = 0, attr_clr: int = 0) -> None:
    """Kernel 5.12; ENOSYS before."""
    attr = (ctypes.c_uint64 * 4)(attr_set, attr_clr, 0, 0)
    _check(_libc.syscall(ctypes.c_long(_NR_MOUNT_SETATTR), ctypes.c_int(dir_fd), _path(path), ctypes.c_uint(flags),
                         ctypes.byref(attr), ctypes.c_size_t(ctypes.sizeof(attr))), path or "mount_setattr")


def sethostname(name: str) -> None:
    encoded = os.fsencode(name)
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))), name)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """The calls with plain numbers. Each argument is a long, as the kernel takes it."""
    return _check(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(arg2), ctypes.c_ulong(arg3),
                              ctypes.c_ulong(arg4), ctypes.c_ulong(arg5)), "prctl")


def set_name(name: str) -> None:
    """The name that ps shows of this thread: at most 15 bytes."""
    _check(_libc.prctl(ctypes.c_int(PR_SET_NAME), ctypes.c_char_p(os.fsencode(name)[:15]), ctypes.c_ulong(0),
                       ctypes.c_ulong(0), ctypes.c_ulong(0)), "prctl")


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def set_seccomp_filter(program: bytes) -> None:
    """program: struct sock_filter, one after the other. Needs CAP_SYS_ADMIN or no_new_privs."""
    prog = _Program(len(program) // 8, program)
    _check(_libc.prctl(ctypes.c_int(PR_SET_SECCOMP), ctypes.c_ulong(2), ctypes.byref(prog), ctypes.c_ulong(0),
                       ctypes.c_ulong(0)), "prctl")


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """The three sets as 64-bit masks, bit N for capability N."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    for half in (0, 1):
        for place, mask in enumerate((effective, permitted, inheritable)):
            data[half * 3 + place] = mask >> (32 * half) & 0xFFFFFFFF
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")


def capget() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) as 64-bit masks."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
    low, high = data[0:3], data[3:6]
    return tuple(low[place] | high[place] << 32 for place in range(3))  # type: ignore[return-value]


def close_range_cloexec(first: int) -> None:
    """Mark every fd from `first` on close-on-exec. Kernel 5.11; the caller closes one by one where it is ENOSYS."""
    _check(_libc.syscall(ctypes.c_long(_NR_CLOSE_RANGE), ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF),
                         ctypes.c_uint(CLOSE_RANGE_CLOEXEC)), "close_range")


def pidfd_open(pid: int) -> int:
    """A close-on-exec fd that is readable once `pid` has ended. Kernel 5.3."""
    return _check(_libc.syscall(ctypes.c_long(_NR_PIDFD_OPEN), ctypes.c_int(pid), ctypes.c_uint(0)), "pidfd_open")


def pidfd_send_signal(fd: int, number: int) -> None:
    """Kernel 5.1. ESRCH once the process has ended."""
    _check(_libc.syscall(ctypes.c_long(_NR_PIDFD_SEND_SIGNAL), ctypes.c_int(fd), ctypes.c_int(number), None,
                         ctypes.c_uint(0)), "pidfd_send_signal")


def set_default_action(number: int) -> None:
    """SIG_DFL by the raw call: libc refuses to touch the signals it keeps for itself (32, 33)."""
    action = (ctypes.c_ulong * 4)(0, 0, 0, 0)  # struct kernel_sigaction: handler, flags, restorer, mask
    _check(_libc.syscall(ctypes.c_long(_NR_RT_SIGACTION), ctypes.c_int(number), action, None, ctypes.c_size_t(8)),
           "rt_sigaction")


_PEEKDATA, _GETREGSET, _SETREGSET, _GET_SYSCALL_INFO = 2, 0x4204, 0x4205, 0x420E
_NT_PRSTATUS, _NT_ARM_SYSTEM_CALL = 1, 0x404
# bytes of the register set → its words' size and the indices of (system call's number, result)
_REGISTERS = types.MappingProxyType({27 * 8: (8, 15, 10), 17 * 4: (4, 11, 6)})  # x86-64, i386


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    return _check(_libc.syscall(ctypes.c_long(_NR_PTRACE), ctypes.c_long(request), ctypes.c_long(pid),
                                ctypes.c_void_p(address), ctypes.c_void_p(data)), "ptrace")


def ptrace_peek(pid: int, address: int) -> int:
    """The 8 bytes at `address`, as an unsigned number."""
    word = ctypes.c_uint64()
    ptrace(_PEEKDATA, pid, address, ctypes.addressof(word))
    return word.value


def ptrace_stopped_call(pid: int) -> tuple[int, int, tuple[int, ...]]:
    """AUDIT_ARCH_*, number and the six arguments of the call that a seccomp filter stopped (Linux 5.3)."""
    info = (ctypes.c_uint64 * 16)()
    ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info))
    return info[0] >> 32, info[3], tuple(info[4:10])


def ptrace_answer_zero(pid: int) -> None:
    """The stopped call is not carried out, and answered 0."""
    registers = bytearray(512)
    array = (ctypes.c_ubyte * len(registers)).from_buffer(registers)
    vector = _IoVec(ctypes.addressof(array), len(registers))
    ptrace(_GETREGSET, pid, _NT_PRSTATUS, ctypes.addressof(vector))
    if vector.length in _REGISTERS:
        size, number, result = _REGISTERS[vector.length]
        registers[number * size:(number + 1) * size] = b"\xff" * size
        registers[result * size:(result + 1) * size] = bytes(size)
    else:  # aarch64: x0, and a register set for the number
        registers[0:8] = bytes(8)
        none = ctypes.c_int(-1)
        other = _IoVec(ctypes.addressof(none), ctypes.sizeof(none))
        ptrace(_SETREGSET, pid, _NT_ARM_SYSTEM_CALL, ctypes.addressof(other))
    ptrace(_SETREGSET, pid, _NT_PRSTATUS, ctypes.addressof(vector))


def open_tree(path: str) -> int:
    """A close-on-exec O_PATH fd of a copy of the mounts at `path` that hangs nowhere: ".." of its root is itself.
    Kernel 5.2; needs CAP_SYS_ADMIN, and `path` in our own mount namespace.
    """
    flags = OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC
    return _check(_libc.syscall(ctypes.c_long(_NR_OPEN_TREE), ctypes.c_int(-100), _path(path), ctypes.c_uint(flags)),
                  path)


def join_new_session_keyring() -> None:
    """An empty one of our own takes the place of the inherited one."""
    _check(_libc.syscall(ctypes.c_long(_NR_KEYCTL), ctypes.c_int(KEYCTL_JOIN_SESSION_KEYRING), None), "keyctl")


def landlock_scope(scoped: int) -> None:
    """landlock(7), of the calling thread and all it will start: nothing but LANDLOCK_SCOPE_*, so that mount(2) and
    every file stay as they are. Kernel 6.12 (EINVAL or E2BIG before); needs CAP_SYS_ADMIN or no_new_privs.
    """
    attr = (ctypes.c_uint64 * 3)(0, 0, scoped)  # struct landlock_ruleset_attr
    rules = _check(_libc.syscall(ctypes.c_long(_NR_LANDLOCK_CREATE_RULESET), ctypes.byref(attr),
                                 ctypes.c_size_t(ctypes.sizeof(attr)), ctypes.c_uint(0)), "landlock_create_ruleset")
    try:
        _check(_libc.syscall(ctypes.c_long(_NR_LANDLOCK_RESTRICT_SELF), ctypes.c_int(rules), ctypes.c_uint(0)),
               "landlock_restrict_self")
    finally:
        os.close(rules)
