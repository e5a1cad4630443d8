"""EXPOSE arguments: [ip:][host:]port[-port][/proto] → ("8000/tcp", …), as docker's nat package reads them.

The address and the host's port are checked and dropped: an image says what it listens on, nothing more.
"""

import ipaddress
from collections.abc import Iterable

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535


def exposed_ports(words: Iterable[str]) -> tuple[str, ...]:
    """Every port of every word, in order. Errors: ValueError, its text fit for the user."""
    return tuple(port for word in words for port in _word(word))


def _word(word: str) -> list[str]:
    rest, _, protocol = word.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f'invalid port: "{word}": invalid proto: {protocol}')
    address, host, container = _split(rest)
    if address:
        _check_address(address)
    if not container:
        raise ValueError(f'invalid port: "{word}": no port specified')
    first, last = _range(container, f"invalid containerPort: {container}")
    if host:
        low, high = _range(host, f"invalid hostPort: {host}")
        if high - low != last - first and last != first:
            raise ValueError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _split(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _check_address(address: str) -> None:
    try:
        ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"invalid IP address: {address}") from None


def _range(text: str, complaint: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    ends = (first, last if dash else first)
    if not all(end.isascii() and end.isdigit() and int(end) <= MAX_PORT for end in ends):
        raise ValueError(complaint)
    low, high = int(ends[0]), int(ends[1])
    if high < low:
        raise ValueError(complaint)
    return low, high
