"""The values `iechor run` takes on its command line, each parsed once, with the grammar in its docstring.

    -p      PublishedPort      [[IP:][HOST[-HOST]]:]CONTAINER[-CONTAINER][/tcp]
    -v      Volume             [SOURCE:]TARGET[:OPTION,...]
    --tmpfs TmpfsMount         TARGET[:OPTION,...]
    --ulimit Ulimit            NAME=SOFT[:HARD]
    --add-host HostEntry       NAME:IP
    --stop-signal, -s          signal_number: TERM | SIGTERM | 15 | RTMIN+3

Every parser raises UsageError with the text as it was typed.
"""

import enum
import ipaddress
import re
import resource
from collections.abc import Iterator

from .. import signals
from ..errors import UnsupportedError, UsageError
from ..values import dataclass


class Network(enum.Enum):
    """Which network the container has: the host's, none but lo, or its own with published ports."""

    HOST = "host"
    NONE = "none"
    PRIVATE = "private"


class PullPolicy(enum.Enum):
    """When `run` asks the registry: always, when the image is missing here, never."""

    ALWAYS = "always"
    MISSING = "missing"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """A TCP port of the host that leads into the container. host_port 0: any free one. host_ip "": all addresses."""

    host_ip: str
    host_port: int
    container_port: int

    @classmethod
    def parse(cls, text: str) -> "tuple[PublishedPort, ...]":
        """One `-p`; a range gives one value for each port. Errors: UnsupportedError."""
        wanted = f'cannot publish port "{text}"'
        body, _, protocol = text.partition("/")
        if protocol not in ("", "tcp"):
            if protocol in ("udp", "sctp"):
                raise UnsupportedError(f"{wanted}: {protocol} is not carried out yet", hint="publish a TCP port")
            raise UsageError(f'{wanted}: unknown protocol "{protocol}"', hint="write HOST:CONTAINER[/tcp]")
        head, colon, container = body.rpartition(":")
        host_ip, host = _host_part(head, wanted) if colon else ("", "")
        targets = _port_range(container, wanted)
        if host in ("", "0"):
            return tuple(cls(host_ip=host_ip, host_port=0, container_port=port) for port in targets)
        sources = _port_range(host, wanted)
        if len(sources) != len(targets):
            raise UsageError(f"{wanted}: the two ranges differ in length", hint="write ranges of equal length")
        return tuple(cls(host_ip=host_ip, host_port=source, container_port=target)
                     for source, target in zip(sources, targets, strict=True))

    def __str__(self) -> str:
        """As `iechor ps` shows it: 127.0.0.1:8000->8000/tcp."""
        address = self.host_ip or "0.0.0.0"
        if ":" in address:
            address = f"[{address}]"
        return f"{address}:{self.host_port}->{self.container_port}/tcp"


def _host_part(text: str, wanted: str) -> tuple[str, str]:
    """ "IP:HOST", "[IPv6]:HOST" or "HOST" → (IP or "", HOST or "")."""
    address, colon, host = text.rpartition(":")
    if not colon:
        return "", text
    address = address.removeprefix("[").removesuffix("]") if address.startswith("[") else address
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise UsageError(f'{wanted}: "{address}" is not an IP address',
                         hint="write [IP:]HOST:CONTAINER, for example 127.0.0.1:8000:8000") from None
    return address, host


def _port_range(text: str, wanted: str) -> range:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise UsageError(f'{wanted}: "{text}" is not a port', hint="write HOST:CONTAINER, for example 8000:80")
    begin, end = int(first), int(last) if dash else int(first)
    if not 1 <= begin <= end <= 65535:
        raise UsageError(f'{wanted}: "{text}" is not a port between 1 and 65535',
                         hint="write HOST:CONTAINER, for example 8000:80")
    return range(begin, end + 1)


VOLUME_OPTIONS = frozenset(("ro", "rw", "z", "Z", "rbind", "bind", "private", "rprivate",
                            "nosuid", "nodev", "noexec", "suid", "dev", "exec"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A folder or file of the host at `target`. source None: a fresh folder of the container (anonymous volume).

    `source` is as typed; a relative one (./x, ../x) is taken from the caller's folder. options: flags that
    narrow the mount (nosuid, nodev, noexec, bind = not recursive); z, Z mean nothing without SELinux labels.
    """

    source: str | None
    target: str
    read_only: bool = False
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Volume":
        """Errors: UnsupportedError."""
        wanted = f'cannot mount volume "{text}"'
        parts = text.split(":")
        if len(parts) == 1:
            source, target, options = None, parts[0], []
        elif len(parts) in (2, 3):
            source, target = parts[0], parts[1]
            options = [word for word in parts[2].split(",") if word] if len(parts) == 3 else []
        else:
            raise UsageError(f"{wanted}: too many colons", hint="write SOURCE:TARGET[:ro]")
        check_target(target, wanted)
        if source is not None and not source.startswith(("/", ".")):
            if not source:
                raise UsageError(f"{wanted}: the source is empty", hint="write SOURCE:TARGET[:ro]")
            raise UnsupportedError(f"{wanted}: named volumes are not carried out yet",
                                   hint=f"name a folder of the host: ./{source}:{target}")
        for word in options:
            if word not in VOLUME_OPTIONS:
                raise UsageError(f'{wanted}: unknown option "{word}"',
                                 hint="options are ro, rw, nosuid, nodev, noexec")
        return cls(source=source, target=target, read_only="ro" in options,
                   options=tuple(word for word in options if word in ("nosuid", "nodev", "noexec", "bind")))


@dataclass(frozen=True, slots=True, kw_only=True)
class TmpfsMount:
    """A fresh tmpfs at `target`; size in bytes (0: the kernel's default), mode of its root."""

    target: str
    size: int = 0
    mode: int = 0o1777
    read_only: bool = False
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "TmpfsMount":
        wanted = f'cannot mount tmpfs "{text}"'
        target, _, rest = text.partition(":")
        check_target(target, wanted)
        size, mode, flags = 0, 0o1777, []
        for word in filter(None, rest.split(",")):
            name, _, value = word.partition("=")
            if name == "size":
                size = byte_count(value, wanted)
            elif name == "mode" and re.fullmatch("[0-7]{3,4}", value):
                mode = int(value, 8)
            elif word in ("ro", "rw", "nosuid", "nodev", "noexec", "suid", "dev", "exec"):
                flags.append(word)
            else:
                raise UsageError(f'{wanted}: unknown option "{word}"',
                                 hint="options are size=BYTES, mode=OCTAL, ro, noexec")
        return cls(target=target, size=size, mode=mode, read_only="ro" in flags,
                   options=tuple(word for word in flags if word in ("nosuid", "nodev", "noexec")))


def check_target(target: str, wanted: str) -> None:
    """A mount point is an absolute path inside the container, and not its root."""
    if not target.startswith("/"):
        raise UsageError(f'{wanted}: the target "{target}" is not an absolute path',
                         hint="name the mount point from the container's root on, for example /data")
    if not target.strip("/.") or ".." in target.split("/"):
        raise UsageError(f'{wanted}: "{target}" cannot be a mount point',
                         hint="name a folder below /, for example /data")


def byte_count(text: str, wanted: str) -> int:
    """ "64m" → bytes; the suffixes b, k, m, g are powers of 1024."""
    match = re.fullmatch(r"(\d+)([kmg]?)b?", text.lower())
    if match is None:
        raise UsageError(f'{wanted}: "{text}" is not a size', hint="write bytes, or a number with k, m or g")
    return int(match[1]) << 10 * (" kmg".index(match[2]) if match[2] else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """A resource limit, setrlimit(2): its name in lower case without RLIMIT_; -1 is unlimited."""

    name: str
    soft: int
    hard: int

    @classmethod
    def parse(cls, text: str) -> "Ulimit":
        name, _, values = text.partition("=")
        soft, colon, hard = values.partition(":")
        known = sorted(key[7:].lower() for key in vars(resource) if key.startswith("RLIMIT_"))
        if name not in known:
            raise UsageError(f'cannot set ulimit "{text}": unknown name "{name}"',
                             hint=f"names are {', '.join(known)}")
        try:
            low = _limit(soft)
            high = _limit(hard) if colon else low
        except ValueError:
            raise UsageError(f'cannot set ulimit "{text}": not a number',
                             hint="write NAME=SOFT[:HARD], -1 for unlimited") from None
        if high != -1 and (low == -1 or low > high):
            raise UsageError(f'cannot set ulimit "{text}": the soft limit is above the hard one',
                             hint="write NAME=SOFT:HARD")
        return cls(name=name, soft=low, hard=high)


def _limit(text: str) -> int:
    value = -1 if text == "unlimited" else int(text)
    if value < -1:
        raise ValueError(text)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEntry:
    """A line of /etc/hosts. address "host-gateway" stays as typed: what it is depends on the network."""

    name: str
    address: str

    @classmethod
    def parse(cls, text: str) -> "HostEntry":
        name, colon, address = text.partition(":")
        address = address.removeprefix("[").removesuffix("]")
        try:
            if address != "host-gateway":
                ipaddress.ip_address(address)
            if not colon or not re.fullmatch(r"[\w.;-]+", name):
                raise ValueError(name)
        except ValueError:
            raise UsageError(f'cannot add host "{text}": not NAME:IP',
                             hint="write NAME:IP, for example db:10.0.0.5") from None
        return cls(name=name, address=address)

    def lines(self, gateway: str) -> Iterator[str]:
        for name in self.name.split(";"):
            yield f"{gateway if self.address == 'host-gateway' else self.address}\t{name}\n"


def signal_number(text: str) -> int:
    """ "TERM", "SIGTERM", "15", "SIGRTMIN+3" → the number. UsageError else."""
    number = signals.number_of(text.strip())
    if number is None:
        raise UsageError(f'unknown signal "{text}"', hint="name a signal as kill -l lists it, for example TERM or 15")
    return number
