"""Numbers as Go reads them: durations ("1h30m", "1.5s", "500ms"), integers, booleans, sizes."""

import math
import re

_UNITS = {"ns": 1, "us": 1_000, "\u00b5s": 1_000, "\u03bcs": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
          "m": 60_000_000_000, "h": 3_600_000_000_000}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_LIMIT = 1 << 63
_DIGITS = "[0-9](?:_?[0-9])*"
_NUMBER = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")


def nanoseconds(text: str) -> int:
    """Raises ValueError with the cause."""
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    if unsigned == "0":
        return 0
    total, position = 0, 0
    while position < len(unsigned) or not total and not unsigned:
        match = _PART.match(unsigned, position)
        if match is None or not (match[1] or match[2]):
            raise ValueError(f"{text!r} is not a duration such as 30s or 1m30s")
        if match[3] not in _UNITS:
            raise ValueError(f"{text!r} has the unknown unit {match[3]!r}")
        total += _scaled(match[1], match[2] or "", _UNITS[match[3]])
        position = match.end()
        if total > _LIMIT:
            raise ValueError(f"{text!r} is too long")
    if text.startswith("-"):
        return -total
    if total > _LIMIT - 1:
        raise ValueError(f"{text!r} is too long")
    return total


def _scaled(whole: str, fraction: str, unit: int) -> int:
    value = int(whole or "0") if len(whole) < 30 else _LIMIT + 1
    if value > _LIMIT // unit:
        raise ValueError("the duration is too long")
    value *= unit
    digits = 0
    scale = 1.0
    for digit in fraction:  # digits that no longer fit are dropped, as Go drops them
        if digits > (_LIMIT - 1) // 10 or digits * 10 + int(digit) > _LIMIT:
            break
        digits = digits * 10 + int(digit)
        scale *= 10
    return value + int(float(digits) * (float(unit) / scale)) if digits else value


def integer(text: str, *, bits: int, base: int = 10, signed: bool = True) -> int:
    """Digits only, no blanks, no underscores. Raises ValueError."""
    digits = "01234567" if base == 8 else "0123456789"
    body = text[1:] if signed and text[:1] in ("-", "+") else text
    if not body or body.strip(digits):
        raise ValueError(f"{text!r} is not a number")
    body = body.lstrip("0") or "0"
    value = int(body, base) if len(body) < 30 else 1 << 64
    value = -value if text.startswith("-") else value
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise ValueError(f"{text!r} is out of range")
    return value


def boolean(text: str) -> bool:
    """Raises ValueError."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def is_true(text: str) -> bool:
    """As BuildKit reads a switch that is no flag: what is neither is off."""
    try:
        return boolean(text)
    except ValueError:
        return False


def size(text: str) -> int:
    """Bytes: "64m", "1.5GiB", "100"; units are powers of 1024, in any case. Raises ValueError."""
    match = re.fullmatch(r"(.*[0-9.])? ?([^0-9. ]*)", text, re.DOTALL)
    number, unit = (match[1] or "", match[2].lower()) if match else ("", "")
    power = "bkmgtp".find(unit[:1]) if unit else 0
    if power < 0 or unit[1:] not in ("", "b", "ib") or (unit[:1] == "b" and len(unit) > 1):
        raise ValueError(f"{text!r} is not a size such as 64m")
    value = _float(number)
    if value < 0 or math.isinf(value) or math.isnan(value):
        raise ValueError(f"{text!r} is not a size such as 64m")
    return min(int(value * 1024**power), _LIMIT - 1)  # beyond: Go leaves it to the machine, this is arm64's answer


def _float(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)
