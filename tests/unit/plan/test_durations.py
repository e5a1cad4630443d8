"""Go's words for a duration, as time.Duration.String() has them."""

import pytest

from rootless_builder.plan.durations import spoken


@pytest.mark.parametrize("nanoseconds, text", [
    (0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (1_000_000, "1ms"), (250_000_000, "250ms"), (1_000_000_000, "1s"),
    (1_500_000_000, "1.5s"), (90_000_000_000, "1m30s"), (60_000_000_000, "1m0s"), (3_600_000_000_000, "1h0m0s"),
    (3_723_004_000_000, "1h2m3.004s"), (90_000_000_000_000, "25h0m0s"), (1_000_000_001, "1.000000001s"),
])
def test_it_is_said_as_go_says_it(nanoseconds: int, text: str) -> None:
    assert spoken(nanoseconds) == text
