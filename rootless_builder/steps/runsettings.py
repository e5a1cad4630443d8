"""How every RUN of a build is run, as values: nothing of the sandbox is imported before a RUN has to be run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..once import Once
from ..values import dataclass, field

if TYPE_CHECKING:
    from ..cdi.registry import Registry
    from ..contexts.secrets import Secret
    from ..sandbox.launcher import Launcher
    from ..sandbox.mounts import Mount
    from ..sandbox.spec import Limit
    from ..scratch.scratch import Scratch

SHM_SIZE = 64 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAccess:
    """Which CDI devices a RUN may have. folders: of their files, the weakest first; all_allowed: every one; allowed:
    names; aliases: what a build file says → the device that is meant, which is allowed. known: read when it is asked
    for.
    """

    folders: tuple[Path, ...] = ()
    all_allowed: bool = False
    allowed: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict, compare=False)
    known: "Once[str, Registry]" = field(default_factory=Once, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How every RUN of a build is run. binds: from --volume and --mount; owned: those volumes that belong to the
    user of the RUN; compat_volumes: what RUN changes below a VOLUME is not kept; hostname: "" for ours;
    cache_namespace: caches of one id in two namespaces are two; add_hosts: (name, address); logs: a folder.

    resolv_conf, hosts: the text of the host's own files. scratch, launcher: made at the first RUN, not before.
    lose_owners: no supervisor can run here, and the user allowed to go on without. secrets, agents: by id, of
    --secret and --ssh (a socket, or keys). proot: the program, where the sandbox can have no namespace. environ: the
    user's, for ssh-agent. shm_size: bytes of /dev/shm.
    """

    scratch: "Callable[[], Scratch]"
    launcher: "Callable[[], Launcher]"
    logs: Path
    network: str = "default"
    binds: "tuple[Mount, ...]" = ()
    owned: "tuple[Mount, ...]" = ()
    compat_volumes: bool = False
    hostname: str = ""
    cache_namespace: str = ""
    add_hosts: tuple[tuple[str, str], ...] = ()
    resolv_conf: str = ""
    hosts: str = ""
    lose_owners: bool = False
    proot: str = ""
    secrets: "Mapping[str, Secret]" = field(default_factory=dict)
    agents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    shm_size: int = SHM_SIZE
    limits: "tuple[Limit, ...]" = ()
    devices: DeviceAccess = DeviceAccess()
