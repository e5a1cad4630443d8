"""`iechor run`, top to bottom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .containers.options import HostEntry, Network, PublishedPort, PullPolicy, TmpfsMount, Ulimit, Volume
from .oci.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What `iechor run` was asked; every value is parsed already (containers/options.py has the parsers).

    env: "K=V" only. network None: the host's, private with `ports`. caller: where relative `volumes` begin.
    """

    image: str
    command: tuple[str, ...] = ()
    entrypoint: str | None = None
    env: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    remove: bool = False
    init: bool = False
    read_only: bool = False
    no_new_privileges: bool = False
    name: str | None = None
    hostname: str | None = None
    network: Network | None = None
    ports: tuple[PublishedPort, ...] = ()
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    hosts: tuple[HostEntry, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: int | None = None
    timeout: float | None = None
    pull: PullPolicy = PullPolicy.MISSING
    platform: Platform | None = None
    cidfile: Path | None = None
    caller: Path = Path("/")
