"""What `-p -v --tmpfs --ulimit --add-host --stop-signal` mean, and what they refuse."""

import signal

import pytest

from rootless_builder.containers.options import (
    HostEntry,
    PublishedPort,
    TmpfsMount,
    Ulimit,
    Volume,
    signal_number,
)
from rootless_builder.errors import UnsupportedError, UsageError


def port(host_ip: str, host_port: int, container_port: int) -> PublishedPort:
    return PublishedPort(host_ip=host_ip, host_port=host_port, container_port=container_port)


@pytest.mark.parametrize(("text", "ports"), [
    ("8000", [port("", 0, 8000)]),
    ("8000:80", [port("", 8000, 80)]),
    ("8000:80/tcp", [port("", 8000, 80)]),
    ("127.0.0.1:8000:80", [port("127.0.0.1", 8000, 80)]),
    ("127.0.0.1::80", [port("127.0.0.1", 0, 80)]),
    ("[::1]:8000:80", [port("::1", 8000, 80)]),
    ("8000-8002:80-82", [port("", 8000, 80), port("", 8001, 81), port("", 8002, 82)]),
    ("80-81", [port("", 0, 80), port("", 0, 81)]),
])
def test_published_ports(text: str, ports: list[PublishedPort]) -> None:
    assert list(PublishedPort.parse(text)) == ports


@pytest.mark.parametrize("text", ["", "x", "80:", "80:x", "0:0", "70000", "80:70000", "1.2.3:80:80", "1-3:1-2", "9-8",
                                  "localhost:80:80", "80/sctpx", "-1", "1:2:3:4"])
def test_ports_that_are_refused_name_what_was_typed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        PublishedPort.parse(text)
    assert f'"{text}"' in str(caught.value)
    assert caught.value.hint


def test_udp_says_that_it_is_not_carried_out() -> None:
    with pytest.raises(UnsupportedError, match="udp is not carried out yet"):
        PublishedPort.parse("53:53/udp")


def test_a_port_is_shown_as_podman_shows_it() -> None:
    assert str(port("", 8000, 80)) == "0.0.0.0:8000->80/tcp"
    assert str(port("::1", 8000, 80)) == "[::1]:8000->80/tcp"


def test_volumes() -> None:
    assert Volume.parse("/a:/b") == Volume(source="/a", target="/b")
    assert Volume.parse("./a:/b:ro,z") == Volume(source="./a", target="/b", read_only=True)
    assert Volume.parse("/a:/b:noexec") == Volume(source="/a", target="/b", options=("noexec",))
    assert Volume.parse("/data") == Volume(source=None, target="/data")


@pytest.mark.parametrize("text", ["", "data", "/a:b", "/a:/b:shiny", "/a:/", "/a:/b/../c", ":/b", "/a:/b:ro:x"])
def test_volumes_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Volume.parse(text)


def test_a_named_volume_is_not_carried_out_and_the_hint_mends_it() -> None:
    with pytest.raises(UnsupportedError) as caught:
        Volume.parse("data:/b")
    assert "./data:/b" in str(caught.value.hint)


def test_tmpfs() -> None:
    assert TmpfsMount.parse("/run") == TmpfsMount(target="/run")
    assert TmpfsMount.parse("/run:size=64m,mode=755,ro,noexec") == TmpfsMount(
        target="/run", size=64 << 20, mode=0o755, read_only=True, options=("noexec",))
    for text in ("run", "/run:size=lots", "/run:mode=9", "/run:fast"):
        with pytest.raises(UsageError):
            TmpfsMount.parse(text)


def test_ulimits() -> None:
    assert Ulimit.parse("nofile=64:128") == Ulimit(name="nofile", soft=64, hard=128)
    assert Ulimit.parse("core=0") == Ulimit(name="core", soft=0, hard=0)
    assert Ulimit.parse("nproc=10:-1") == Ulimit(name="nproc", soft=10, hard=-1)
    for text in ("nofile", "nofile=x", "files=1", "nofile=2:1", "nofile=-1:1", "nofile=-5"):
        with pytest.raises(UsageError):
            Ulimit.parse(text)


def test_host_entries() -> None:
    assert list(HostEntry.parse("db:10.0.0.5").lines("127.0.0.1")) == ["10.0.0.5\tdb\n"]
    assert list(HostEntry.parse("a;b:[::1]").lines("127.0.0.1")) == ["::1\ta\n", "::1\tb\n"]
    assert list(HostEntry.parse("up:host-gateway").lines("10.0.2.2")) == ["10.0.2.2\tup\n"]
    for text in ("db", "db:there", ":1.2.3.4", "a b:1.2.3.4"):
        with pytest.raises(UsageError):
            HostEntry.parse(text)


def test_signals_by_name_and_number() -> None:
    assert signal_number("TERM") == signal_number("sigterm") == signal_number("15") == signal.SIGTERM
    assert signal_number("SIGRTMIN+3") == signal.SIGRTMIN + 3
    assert signal_number("RTMAX-1") == signal.SIGRTMAX - 1
    for text in ("", "0", "65", "NOPE", "SIG", "TERM+1", "RTMIN+99"):
        with pytest.raises(UsageError):
            signal_number(text)
