"""What a process may still do: bounding set, death signal, subreaper, dumpable, no_new_privs.

The only importer of python-prctl. Where that is not installed (it needs libcap's headers to build), the same calls
are made by linux.py; tests hold the two equal.
"""

import os
import signal
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from . import linux

try:
    import prctl
except ImportError:
    prctl = None

IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)  # by Python
LIBC_SIGNALS = (32, 33)  # glibc's own: whoever started us with posix_spawn (make) may have left them ignored
CAPABILITIES: Mapping[str, int] = MappingProxyType({name: number for number, name in enumerate((
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"))})


class Calls(Protocol):
    """Each raises OSError (EINVAL for a capability that the kernel does not know)."""

    name: str

    def set_death_signal(self, number: int) -> None: ...
    def set_subreaper(self, on: bool) -> None: ...
    def set_dumpable(self, on: bool) -> None: ...
    def set_no_new_privileges(self) -> None: ...
    def in_bounding_set(self, capability: int) -> bool: ...
    def drop_from_bounding_set(self, capability: int) -> None: ...


class WithPrctl:
    """Through python-prctl."""

    name = "python-prctl"

    def set_death_signal(self, number: int) -> None:
        prctl.set_pdeathsig(number)

    def set_subreaper(self, on: bool) -> None:
        prctl.set_child_subreaper(int(on))

    def set_dumpable(self, on: bool) -> None:
        prctl.set_dumpable(int(on))

    def set_no_new_privileges(self) -> None:
        prctl.set_no_new_privs(1)

    def in_bounding_set(self, capability: int) -> bool:
        return bool(prctl.capbset_read(capability))

    def drop_from_bounding_set(self, capability: int) -> None:
        prctl.capbset_drop(capability)


class WithLinux:
    """Through linux.py."""

    name = "ctypes"

    def set_death_signal(self, number: int) -> None:
        linux.prctl(linux.PR_SET_PDEATHSIG, number)

    def set_subreaper(self, on: bool) -> None:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, int(on))

    def set_dumpable(self, on: bool) -> None:
        linux.prctl(linux.PR_SET_DUMPABLE, int(on))

    def set_no_new_privileges(self) -> None:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)

    def in_bounding_set(self, capability: int) -> bool:
        return bool(linux.prctl(linux.PR_CAPBSET_READ, capability))

    def drop_from_bounding_set(self, capability: int) -> None:
        linux.prctl(linux.PR_CAPBSET_DROP, capability)


CALLS: Calls = WithLinux() if prctl is None else WithPrctl()


def capability_numbers(names: Iterable[str]) -> frozenset[int]:
    """KeyError for a name that capabilities(7) does not have."""
    return frozenset(CAPABILITIES[name] for name in names)


def mask(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in numbers)


def bound(keep: int, calls: Calls = CALLS) -> None:
    """Leave `keep` alone (bit N: capability N) in the bounding set: what exec can ever give again. Needs CAP_SETPCAP.

    Our own permitted and effective sets stay as they are until the exec.
    """
    for number in range(64):
        try:
            present = calls.in_bounding_set(number)
        except (OSError, ValueError):
            break  # beyond the kernel's last one
        if present and not keep >> number & 1:
            calls.drop_from_bounding_set(number)
    effective, permitted, _ = linux.capget()
    linux.capset(effective, permitted, 0)
    linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)


def reduce(keep: int) -> None:
    """Leave of the sets in force what is in `keep`: for a command that stays root inside."""
    effective, permitted, _ = linux.capget()
    linux.capset(effective & keep, permitted & keep, 0)


def die_with_parent(calls: Calls = CALLS) -> None:
    """SIGKILL when the thread that forked us ends. The caller checks that this has not happened yet."""
    calls.set_death_signal(signal.SIGKILL)


def hide_memory(calls: Calls = CALLS) -> None:
    """Our memory, environment and fds in /proc become unreadable for others of our uid."""
    calls.set_dumpable(False)


def adopt_orphans(calls: Calls = CALLS) -> None:
    """Children of our children become ours when their parent is killed."""
    calls.set_subreaper(True)


def forbid_new_privileges(calls: Calls = CALLS) -> None:
    calls.set_no_new_privileges()


def forget_ignored_signals() -> None:
    """For a process that forks others: what its own caller ignored is no longer ignored, but for IGNORED."""
    restore_signals(frozenset(map(int, signal.valid_signals())) - {signal.SIGKILL, signal.SIGSTOP})
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def restore_signals(numbers: Iterable[int] = IGNORED) -> None:
    """Default dispositions of `numbers` and nothing blocked: what a fresh program may expect. (Exec sees to handlers.)
    """
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    for kept in LIBC_SIGNALS:
        linux.set_default_action(kept)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
