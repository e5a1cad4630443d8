"""Once: one makes, the others take, errors too."""

import threading

import pytest

from rootless_builder.errors import SourceError
from rootless_builder.once import Once


def test_many_ask_and_one_makes() -> None:
    once: Once[str, object] = Once()
    calls: list[int] = []
    ready = threading.Barrier(8)
    found: list[object] = []

    def make() -> object:
        calls.append(1)
        return object()

    def ask() -> None:
        ready.wait(30)
        found.append(once.get("key", make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 1 and len(found) == 8 and len(set(map(id, found))) == 1
    assert once.known("key") is found[0] and once.known("other") is None


def test_an_error_is_kept() -> None:
    once: Once[int, int] = Once()

    def fail() -> int:
        raise SourceError("gone")

    for _ in range(2):
        with pytest.raises(SourceError, match="gone"):
            once.get(1, fail)
    assert once.known(1) is None
