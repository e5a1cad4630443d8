"""The caller's signals while a container or an exec'ed command stands in the foreground."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from ..errors import Interrupted

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STRIKES = 3  # so many times Ctrl-C or SIGTERM, and the container is killed


class SignalProxy:
    """While open, signals sent to us go to the container's pid 1; earlier handlers come back at the end.

    The handler itself sends, so nothing the rest of the process waits for can hold a signal up. Before there is
    a target, those that end a program end us (Interrupted), and the others are kept. pid 1 has no default actions
    (pid_namespaces(7)): a command without a handler for SIGINT or SIGTERM never sees it, so the third one becomes
    SIGKILL.
    """

    def __init__(self, *, warn: Callable[[str], None] = lambda text: None) -> None:
        self._target: Callable[[int], None] | None = None
        self._resize: Callable[[], None] | None = None
        self._kept: list[int] = []
        self._before: dict[int, Any] = {}
        self._warn = warn
        self.strikes = 0

    def __enter__(self) -> Self:
        for number in FORWARDED:
            before = signal.getsignal(number)
            if number == signal.SIGHUP and before is signal.SIG_IGN:  # nohup stays nohup
                continue
            self._before[number] = signal.signal(number, self._handle)
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._handle_resize)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)

    def connect(self, target: Callable[[int], None], resize: Callable[[], None] | None = None) -> None:
        """From now on to `target`; what came before is sent first."""
        self._target, self._resize = target, resize
        while self._kept:
            target(self._kept.pop(0))

    def disconnect(self) -> None:
        """The target has ended: signals are only counted."""
        self._target, self._resize = lambda number: None, None

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self.strikes += 1
        if self._target is None and number in ENDING:
            raise Interrupted(number)
        if self._target is None:
            self._kept.append(number)
        elif self.strikes >= STRIKES:
            self._target(signal.SIGKILL)
        else:
            self._target(number)
            if self.strikes == STRIKES - 1:
                self._warn("the container has not ended; once more kills it")

    def _handle_resize(self, _number: int, _frame: FrameType | None) -> None:
        if self._resize is not None:
            self._resize()
