"""Two processes that begin the same step: the later one waits, unless the first is gone."""

import os
import time
from pathlib import Path

from rootless_builder.store import Store
from rootless_builder.store.claims import claimed

HOLD = """
from rootless_builder.store.claims import claimed
with claimed(store.layout, "key", made=lambda: False, waiting=lambda: None):
    print("mine", flush=True)
    sys.stdin.readline()
print("given back", flush=True)
time.sleep(60)
"""


def test_the_later_one_waits_until_the_first_is_done(store: Store, others) -> None:  # type: ignore[no-untyped-def]
    other = others.start(HOLD)
    assert other.stdout.readline() == "mine\n"
    said: list[str] = []

    def waiting() -> None:
        said.append("waiting")
        other.stdin.write("\n")
        other.stdin.flush()

    with claimed(store.layout, "other", made=lambda: False, waiting=waiting):
        assert not said  # another step
    with claimed(store.layout, "key", made=lambda: False, waiting=waiting):
        assert said == ["waiting"]
        assert other.stdout.readline() == "given back\n"
    assert os.listdir(store.layout.claims) == []


def test_nobody_waits_for_the_dead(store: Store, others) -> None:  # type: ignore[no-untyped-def]
    other = others.start(HOLD)
    assert other.stdout.readline() == "mine\n"
    other.kill()
    other.wait()
    with claimed(store.layout, "key", made=lambda: False, waiting=lambda: 1 / 0):
        assert len(os.listdir(store.layout.claims)) == 1


def test_what_killed_processes_claimed_is_swept(store: Store, others, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    other = others.start(HOLD)
    assert other.stdout.readline() == "mine\n"
    Store.open(tmp_path / "store").close()
    assert len(os.listdir(store.layout.claims)) == 1
    other.kill()
    other.wait()
    Store.open(tmp_path / "store").close()
    assert os.listdir(store.layout.claims) == []


def test_waiting_ends_when_the_result_is_there(store: Store, others) -> None:  # type: ignore[no-untyped-def]
    other = others.start(HOLD)
    assert other.stdout.readline() == "mine\n"
    began = time.monotonic()
    with claimed(store.layout, "key", made=lambda: time.monotonic() > began + 0.1, waiting=lambda: None):
        pass
    assert len(os.listdir(store.layout.claims)) == 1  # still the other's


def test_a_process_that_nobody_here_can_see_is_not_waited_for(store: Store) -> None:
    store.layout.claims.mkdir()
    with claimed(store.layout, "key", made=lambda: False, waiting=lambda: None):
        mine = next(store.layout.claims.iterdir())
    mine.symlink_to("0123456789ab-1-1")  # of another host
    with claimed(store.layout, "key", made=lambda: False, waiting=lambda: 1 / 0):
        pass
