"""What `RUN --mount` asks for, variables gone. All of a mount is part of the step's key but what secrets hold.

    StepMount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount

By BuildKit's convert_runmount.go, convert_secrets.go and convert_ssh.go.
"""

from typing import TYPE_CHECKING

from ..errors import IechorfileError
from ..language import instructions as i
from ..language.mounts import RunMount
from ..paths import absolute, basename, image_path
from ..values import dataclass, field

if TYPE_CHECKING:
    from .lower import Lowering

SECRETS = "/run/secrets"
AGENTS = "/run/buildkit/ssh_agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Of the mount's own folder or file."""

    mode: int
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """origin: as of a CopyStep. source: a path in it, "/a/b". What is written there is lost."""

    target: str
    origin: int | str | None
    source: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMount:
    """A folder kept under `id`. origin: what it begins with, None: nothing. access: of a folder of its own, which then
    begins empty; None: it is the tree itself. What a cache holds is no input, and so neither is which one it is.
    """

    target: str
    id: str = field(compare=False)
    sharing: str = field(compare=False)
    origin: int | str | None
    source: str
    read_only: bool
    access: Access | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TmpfsMount:
    """size: bytes, 0: no limit of ours."""

    target: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMount:
    """target: of the file, "" for none; env: the variable, "" for none."""

    id: str
    target: str
    env: str
    required: bool
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class SshMount:
    id: str
    target: str
    required: bool
    access: Access


StepMount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount


def step_mounts(low: "Lowering", this: i.Run) -> tuple[StepMount, ...]:
    """Errors: IechorfileError."""
    found: list[StepMount] = []
    for flag in this.mounts:
        mount = flag.resolve(low.expand, span=this.span)
        agents = sum(isinstance(one, SshMount) for one in found)
        found.append(_mount(low, this, mount, agents))
    return tuple(found)


def _mount(low: "Lowering", this: i.Run, mount: RunMount, agents: int) -> StepMount:
    if mount.type == "secret":
        return _secret(low, mount)
    if mount.type == "ssh":
        return _ssh(low, mount, agents)
    target = _target(low, mount.target)
    if target == "/":
        raise IechorfileError(f'invalid mount target "{mount.target}"', hint="mount it on a folder below /")
    if mount.type == "tmpfs":
        return TmpfsMount(target=target, size=mount.size)
    origin = low.arguments.graph.origin(mount.from_, low.stage, this) if mount.from_ else None
    source = absolute(image_path(mount.source))
    if mount.type == "bind":
        return BindMount(target=target, origin=origin, source=source, read_only=mount.readonly)
    own = source == "/" and not (mount.mode is None and mount.uid is None and mount.gid is None)
    return CacheMount(
        target=target, id=mount.id or absolute(image_path(mount.target)), sharing=mount.sharing or "shared",
        origin=origin, source=source, read_only=mount.readonly, access=_access(mount, 0o755) if own else None)


def _secret(low: "Lowering", mount: RunMount) -> SecretMount:
    name = mount.source or mount.id or basename(image_path(mount.target))
    target = mount.target
    if mount.env is None and not target:
        target = f"{SECRETS}/{basename(image_path(name))}"
    return SecretMount(id=name, target=_target(low, target) if target else "", required=mount.required,
                       env="" if mount.env is None else mount.env or name, access=_access(mount, 0o400))


def _ssh(low: "Lowering", mount: RunMount, agents: int) -> SshMount:
    if mount.source:
        raise IechorfileError("ssh does not support source", hint="name the agent with id")
    target = _target(low, mount.target) if mount.target else f"{AGENTS}.{agents}"
    return SshMount(id=mount.id or "default", target=target, required=mount.required, access=_access(mount, 0o600))


def _access(mount: RunMount, mode: int) -> Access:
    return Access(mode=mode if mount.mode is None else mount.mode, uid=mount.uid or 0, gid=mount.gid or 0)


def _target(low: "Lowering", target: str) -> str:
    return absolute(image_path(target, cwd=image_path(low.config.working_dir)))
