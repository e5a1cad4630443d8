"""Seconds of each fuzzer, always the same inputs; minutes of new ones in `make soak`; and all that ever crashed."""

import random
from collections.abc import Callable

import pytest

from tests.hostile.fuzz import SLOW, TARGETS, Tally, attempt, fuzz
from tests.tarbytes import END, file, header, padded, record

EXECUTIONS = {"layout": 500, "credentials": 300, "compressed": 2000, "tar": 3000}  # else 5000
SOAK_SECONDS = 600

FOUND = {
    # A record without a blank has no length: it was read as one of length 0, for ever.
    "a pax record that never ends": ("tar", header(b"x", b"x", size=30) + padded(record(b"path", b"ab") + bytes(19)) +
                                     file() + END),
    "a Retry-After date that overflows": ("http", b"Wednesday, 21-Oct-15 07:28:00 -99999999999999999999"),
    "a Retry-After day that overflows": ("http", b"Wed, 21 Oct 99999999999999999999 07:28:00 GMT"),
    "a tag that is a number": ("layout", b'[{"Config":"config","RepoTags":[5],"Layers":["layer"]}]'),
    "a tag that is nothing": ("layout", b'[{"Config":"config","RepoTags":[false],"Layers":["layer"]}]'),
    "a short name that means another registry": ("reference", b"docker.io/evil.example/debian:12"),
    "an index of more records than paths": ("index", bytes.fromhex(
        "6965696e6465783140010000000000009e000000000000007a000000000000001700000000000000300000000000000078017bcb"
        "c8ca404db0849109619c7e462488c30213e180301881d41246b8280303541d924eb042883a76986e04ad0061320329901a10f8cf"
        "c8066110208955b78411643a2ae81046e58378298c29fae9f97949402a0784f3f3d2195252cbf4f34a737218f206083014331417"
        "241615a7960c10602881c50b285640ecd2e2d422bdc424983028e85080040a8f0116f800e1f481973028005080040a8f0116f800"
        "e1f481973028e85080040a8f0116f800e1f48197")),
    "credentials that are deep": ("credentials", b'{"auths":' * 5000),
    "a credential helper that is no text": ("credentials", b'{"credsStore":"\\ud800"}'),
    "a media type that is no text": ("manifest", b'{"schemaVersion":2,"manifests":[],"artifactType":"\\ud800"}'),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_crashed_once_is_refused_or_read(name: str) -> None:
    target, data = FOUND[name]
    tally = Tally()
    attempt(TARGETS[target], data, tally)
    assert tally.crashes == {}


@pytest.mark.parametrize("name", TARGETS)
def test_the_samples_are_good(name: str) -> None:
    """Else the damage would only try the first check of each reader."""
    tally = Tally()
    for sample in TARGETS[name].samples:
        attempt(TARGETS[name], sample, tally)
    assert (tally.refused, tally.crashes) == (0, {})


@pytest.mark.parametrize("name", TARGETS)
def test_damage_is_refused_or_harmless(name: str) -> None:
    tally = fuzz(TARGETS[name], seed=6, executions=EXECUTIONS.get(name, 5000))
    assert tally.crashes == {} and tally.executions >= 300


@pytest.mark.soak
@pytest.mark.timeout(2 * SOAK_SECONDS)
@pytest.mark.parametrize("name", TARGETS)
def test_ten_minutes_of_damage_never_seen_before(name: str, record_property: Callable[[str, object], None]) -> None:
    tally = fuzz(TARGETS[name], seed=random.SystemRandom().randrange(1 << 32), seconds=SOAK_SECONDS)
    record_property("executions", tally.executions)
    record_property("refused", tally.refused)
    assert tally.crashes == {} and tally.slowest < SLOW
