"""Names of signals as docker takes them, for STOPSIGNAL, `stop` and `kill`: SIGTERM, TERM, 15, SIGRTMIN+3."""

import re
import signal


def number_of(name: str) -> int | None:
    """The number, or None for what is no signal of Linux."""
    if name.isascii() and name.isdigit():
        return int(name) if 1 <= int(name) <= 64 else None
    word = name.upper().removeprefix("SIG")
    known = getattr(signal, f"SIG{word}", None)
    if isinstance(known, signal.Signals):
        return int(known)
    found = re.fullmatch(r"RTM(?:IN(?:\+(\d{1,2}))?|AX(?:-(\d{1,2}))?)", word)
    if not found:
        return None
    number = 34 + int(found[1] or 0) if word.startswith("RTMIN") else 64 - int(found[2] or 0)
    return number if 34 <= number <= 64 else None


def is_signal(name: str) -> bool:
    return number_of(name) is not None
