"""Durations, integers, booleans and sizes as Go reads them."""

import pytest

from rootless_builder.language import numbers


@pytest.mark.parametrize(("text", "value"), [
    ("0", 0), ("3s", 3_000_000_000), ("1m30s", 90_000_000_000), ("1.5h", 5_400_000_000_000), (".5s", 500_000_000),
    ("-1ms", -1_000_000), ("+1us", 1_000), ("1\u00b5s", 1_000), ("1\u03bcs", 1_000), ("2ns", 2), ("1.s", 10**9),
    ("2562047h47m16.854775807s", (1 << 63) - 1), ("0.1234567890123456789s", 123_456_789),
])
def test_nanoseconds(text: str, value: int) -> None:
    assert numbers.nanoseconds(text) == value


@pytest.mark.parametrize("text", ["", "-", "5", "s", ".s", "1x", "1s5", "1 s", "1e3s", "2562048h", "9" * 40 + "s",
                                  "1h-1m"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        numbers.nanoseconds(text)


def test_integer() -> None:
    assert numbers.integer("-0012", bits=32) == -12
    assert numbers.integer("0755", bits=32, base=8, signed=False) == 0o755
    for text in ("", "1_0", "0x3", " 1", "2147483648", "-2147483649", "\u0663"):
        with pytest.raises(ValueError):
            numbers.integer(text, bits=32)
    with pytest.raises(ValueError):
        numbers.integer("+1", bits=32, signed=False)


def test_size() -> None:
    assert [numbers.size(text) for text in ("100", "64m", "1.5GiB", "1 kb", "2TB", "1_0.5_0k", "9" * 30)] == [
        100, 64 << 20, 3 << 29, 1024, 2 << 40, 10752, (1 << 63) - 1]
    for text in ("", "m", "1__0", "1_", "_1", "1_.5", "12x", "-5m", "100bb", "1  m", "1.2.3", "12ib"):
        with pytest.raises(ValueError):
            numbers.size(text)


def test_boolean() -> None:
    assert numbers.boolean("T") and not numbers.boolean("False")
    with pytest.raises(ValueError):
        numbers.boolean("yes")
