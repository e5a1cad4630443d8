"""Go's path matching, which COPY and ADD sources follow (filepath.Match): "*", "?", "[a-z]", "[^a]", "\\\\x".

No wildcard matches "/". A pattern that is malformed matches nothing and is an error: ValueError.
"""

import re
from functools import lru_cache


def has_wildcards(name: str) -> bool:
    """Does an unescaped "*", "?" or "[" stand in `name`?"""
    escaped = False
    for char in name:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in "*?[":
            return True
    return False


def matches(pattern: str, name: str) -> bool:
    """Does the whole of `name`, one path component, match `pattern`? Errors: ValueError (bad pattern)."""
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            group, at = _group(pattern, at)
            out.append(group)
        else:
            if char == "\\":
                if at == len(pattern):
                    raise ValueError(f"bad pattern: {pattern}")
                char = pattern[at]
                at += 1
            out.append(re.escape(char))
    return re.compile("".join(out), re.DOTALL)


def _group(pattern: str, at: int) -> tuple[str, int]:
    """One "[…]" from behind its "[": (regular expression, where it ends)."""
    negated = pattern[at:at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while True:
        if pattern[at:at + 1] == "]" and ranges:
            inner = "".join(ranges)
            return (f"[^/{inner}]" if negated else f"(?!/)[{inner}]"), at + 1
        low, at = _member(pattern, at)
        high = low
        if pattern[at:at + 1] == "-":
            high, at = _member(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")


def _member(pattern: str, at: int) -> tuple[str, int]:
    char = pattern[at:at + 1]
    if char in ("", "-", "]"):
        raise ValueError(f"bad pattern: {pattern}")
    if char == "\\":
        at += 1
        char = pattern[at:at + 1]
    if not char or at + 1 == len(pattern):
        raise ValueError(f"bad pattern: {pattern}")
    return char, at + 1
