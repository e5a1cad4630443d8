"""Pid 1 of a container that is not the command itself: what ends is reaped, what is signalled is passed on."""

import os
import signal
from typing import Any

NOT_FORWARDED = frozenset((signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTSTP, signal.SIGTTIN,
                           signal.SIGTTOU, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP,
                           signal.SIGSYS))
AWAITED = frozenset(map(int, signal.valid_signals() - NOT_FORWARDED | {signal.SIGCHLD}))


def await_command(command: int) -> int:
    """Pid 1: its wait status. Signals wait until they are asked for, and are passed on; orphans are reaped."""
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    while True:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == command:
                return ended[1]
        number = signal.sigwait(AWAITED)
        if number != signal.SIGCHLD:
            os.kill(command, number)


def forward_signals(command: int) -> None:
    """To the command, from now on."""
    def forward(number: int, _: Any) -> None:
        try:
            os.kill(command, number)
        except ProcessLookupError:
            pass

    for number in signal.valid_signals() - NOT_FORWARDED:
        signal.signal(number, forward)
