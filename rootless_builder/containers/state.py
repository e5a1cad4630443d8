"""What a container leaves on disk: one folder each, below the node-local scratch.

    ROOT/                       scratch/containers
    ├── .gone-ID/               being removed
    ├── names/NAME → ID         a symbolic link, made exclusively: two containers never share a name
    └── ID/                     0700
        ├── maker.json          who puts it together; while there is no config.json, commands do not see it
        ├── config.json         ContainerConfig: what was asked; written once
        ├── spec.json           SandboxSpec, for the monitor
        ├── state.json          ContainerState: what happened; replaced atomically by the monitor alone
        ├── log                 what the application wrote (logs.py)
        ├── control             socket of the monitor (channel.py)
        ├── monitor.log         the monitor's own complaints
        ├── hosts, hostname, resolv.conf, volumes/N/
        └── …                   the root file system (scratch makes it)

A container whose monitor is gone reads as exited, whatever its state.json says.
"""

import enum
import errno
import json
import os
from pathlib import Path
from typing import Any

from ..errors import ContainerError, DiskFull
from ..values import asdict, dataclass, field, replace
from .marks import ProcessMark
from .options import PublishedPort

LOST = 137  # a monitor that is killed takes its container along by SIGKILL


class Status(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """What `iechor run` was asked, as far as later commands need it. created: seconds since the epoch."""

    id: str
    name: str
    image: str
    image_id: str
    command: tuple[str, ...]
    created: float
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    hostname: str = ""
    tty: bool = False
    interactive: bool = False
    remove: bool = False
    stop_signal: int = 15
    timeout: float | None = None
    network: str = "host"
    ports: tuple[PublishedPort, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, source: dict[str, Any]) -> "ContainerConfig":
        lists = {key: tuple(source[key]) for key in ("command", "env")}
        return cls(**source | lists | {"ports": tuple(PublishedPort(**port) for port in source["ports"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What became of a container. Times: seconds since the epoch, 0 for not yet. ports: as really taken."""

    status: Status
    monitor: ProcessMark | None = None
    init: ProcessMark | None = None
    started: float = 0.0
    finished: float = 0.0
    exit_code: int = 0
    ports: tuple[PublishedPort, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"status": self.status.value}

    @classmethod
    def from_json(cls, source: dict[str, Any]) -> "ContainerState":
        marks = {key: ProcessMark(**source[key]) if source[key] else None for key in ("monitor", "init")}
        ports = tuple(PublishedPort(**port) for port in source["ports"])
        return cls(**source | marks | {"status": Status(source["status"]), "ports": ports})

    def observed(self) -> "ContainerState":
        """As it is now: without its monitor no container goes on."""
        if self.status is Status.EXITED or (self.monitor is not None and self.monitor.alive):
            return self
        return replace(self, status=Status.EXITED, exit_code=LOST, finished=self.finished or self.started)


@dataclass(frozen=True, slots=True)
class Container:
    """One folder."""

    folder: Path
    config: ContainerConfig

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def state(self) -> ContainerState:
        """Errors: ContainerError when the container has been removed meanwhile."""
        try:
            return ContainerState.from_json(json.loads((self.folder / "state.json").read_bytes())).observed()
        except FileNotFoundError:
            raise missing(self.name) from None
        except (ValueError, KeyError, TypeError) as error:
            raise ContainerError(f"cannot read the state of container {self.name}: {error}",
                                 hint=f"remove it: iechor rm -f {self.name}") from None

    def write_state(self, state: ContainerState) -> None:
        write_json(self.folder / "state.json", state.to_json())


def missing(name: str) -> ContainerError:
    return ContainerError(f'no container with name or ID "{name}" found', hint="list them: iechor ps -a")


def write_json(target: Path, value: Any) -> None:
    """As write_private."""
    write_private(target, json.dumps(value))


def write_private(target: Path, text: str) -> None:
    """Replaces `target` atomically, mode 0600. Errors: DiskFull, OSError."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as stream:
            stream.write(text)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"cannot write {target}: {error.strerror}",
                           hint="free space, or set IECHOR_SCRATCH to a larger disk") from error
        raise
