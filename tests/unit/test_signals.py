"""Names of signals (rootless_builder/signals.py)."""

import pytest

from rootless_builder.signals import number_of


@pytest.mark.parametrize(("name", "number"), [
    ("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-2", 62), ("SIGFOO", None),
    ("0", None), ("65", None), ("", None), ("SIG_IGN", None), ("RTMIN+40", None),
])
def test_signals(name, number):
    assert number_of(name) == number
