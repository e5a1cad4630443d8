"""Durations as Go prints them: that is how a HEALTHCHECK stands in an image's history."""

UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"))
SMALL = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns"))


def spoken(nanoseconds: int) -> str:
    """"1h2m3.004s", "1.5s", "250ms", "0s"; nothing negative."""
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 1_000_000_000:
        size, name = next(one for one in SMALL if nanoseconds >= one[0])
        return _decimal(nanoseconds, size) + name
    told = ""
    for size, name in UNITS:
        if told or nanoseconds >= size:
            told += f"{nanoseconds // size}{name}"
        nanoseconds %= size
    return f"{told}{_decimal(nanoseconds, 1_000_000_000)}s"


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)
