"""python-prctl and our own calls do the same, and what they do is what the kernel shows."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import prctl
import pytest

from rootless_builder.sandbox import linux, privileges
from rootless_builder.sandbox.privileges import CAPABILITIES, Calls, WithLinux, WithPrctl

BOTH = [WithPrctl(), WithLinux()]
KEEP = privileges.capability_numbers(("CAP_CHOWN", "CAP_SETUID", "CAP_CHECKPOINT_RESTORE"))


def in_a_child(action: Callable[[], str]) -> str:
    """What `action` answers in a process of its own, whose privileges may be spoiled."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, action().encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text


def status(*fields: str) -> str:
    text = Path("/proc/self/status").read_text()
    return " ".join(re.search(rf"^{field}:\s*(\S+)", text, re.MULTILINE)[1] for field in fields)  # type: ignore[index]


def everything(calls: Calls) -> str:
    privileges.die_with_parent(calls)
    privileges.adopt_orphans(calls)
    privileges.hide_memory(calls)
    privileges.bound(privileges.mask(KEEP), calls)
    privileges.forbid_new_privileges(calls)
    return (f"death {prctl.get_pdeathsig()} subreaper {int(prctl.get_child_subreaper())} "
            f"dumpable {int(prctl.get_dumpable())} {status('CapBnd', 'CapInh', 'CapAmb', 'NoNewPrivs')} "
            f"{[calls.in_bounding_set(number) for number in range(41)].count(True)}")


def test_both_ways_give_the_same_result() -> None:
    first, second = (in_a_child(lambda calls=calls: everything(calls)) for calls in BOTH)
    assert first == second
    kept = privileges.mask(KEEP) & int(status("CapBnd"), 16)
    assert first == (f"death {int(signal.SIGKILL)} subreaper 1 dumpable 0 {kept:016x} {0:016x} {0:016x} 1 "
                     f"{kept.bit_count()}")


def test_python_prctl_is_used_where_it_is_installed() -> None:
    assert privileges.CALLS.name == "python-prctl"


@pytest.mark.parametrize("calls", BOTH, ids=lambda calls: calls.name)
def test_a_capability_beyond_the_kernels_last_is_an_error(calls: Calls) -> None:
    with pytest.raises((OSError, ValueError)):
        calls.in_bounding_set(63)


def test_the_numbers_are_the_kernels() -> None:
    """By python-prctl's table, which comes from libcap."""
    for name, number in CAPABILITIES.items():
        assert getattr(prctl, name, number) == number
    assert CAPABILITIES["CAP_CHECKPOINT_RESTORE"] == 40
    with pytest.raises(KeyError):
        privileges.capability_numbers(("CAP_NONSENSE",))


def test_reduce_leaves_what_was_there_and_wanted() -> None:
    def action() -> str:
        privileges.reduce(privileges.mask(KEEP))
        return status("CapPrm", "CapEff", "CapInh")

    kept = privileges.mask(KEEP) & int(status("CapPrm"), 16)
    assert in_a_child(action) == f"{kept:016x} {kept:016x} {0:016x}"


def test_signals_are_those_of_a_fresh_program() -> None:
    def action() -> str:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        privileges.forget_ignored_signals()
        privileges.restore_signals()
        return status("SigBlk", "SigIgn", "SigCgt")

    glibcs_own = 3 << 31  # signals 32 and 33, which nobody can reset, and exec does
    assert [int(word, 16) & ~glibcs_own for word in in_a_child(action).split()] == [0, 0, 0]


def test_the_kernels_refusal_is_an_oserror() -> None:
    for action in (lambda: linux.setns(0), lambda: linux.mount("none", "/no/such", "tmpfs", 0),
                   lambda: linux.pidfd_open(1 << 22), lambda: linux.umount2("/no/such", 0),
                   lambda: linux.prctl(9999), lambda: linux.sethostname("x" * 100), lambda: linux.unshare(1)):
        with pytest.raises(OSError):
            action()
