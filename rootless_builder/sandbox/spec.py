"""The whole contract between the launcher and the sandbox's child: frozen values, JSON both ways."""

import enum
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from ..values import dataclass, fields, is_dataclass, prepare
from . import mounts
from .discarded import DiscardedBind
from .idmap import Extent, IdMap, IdMode
from .mounts import Mount
from .treebind import TreeBind

DEFAULT_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
                        "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT",
                        "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Network(enum.Enum):
    """HOST: the one we run in. NONE: a new one with lo alone. PRIVATE: a new one with published ports, and a way out
    where pasta or slirp4netns works.
    """

    HOST = "host"
    NONE = "none"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A TCP port of the host that leads to one inside (PRIVATE only). host_ip "": all addresses; host_port 0: any."""

    host_ip: str = ""
    host_port: int
    container_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """name as setrlimit(2) has it after RLIMIT_, lower case: nofile, nproc, core … -1: unlimited."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FakerootSpec:
    """table: the file with the initial owner table ("" for none). dev: st_dev its inodes are on. fsync: sync calls
    are really done. lost: no supervisor, plainfilter.py instead. view: programs may be lent a library that knows the
    table (native/shim.c); without it they say the same, and take longer.
    """

    table: str = ""
    dev: int = 0
    fsync: bool = False
    lost: bool = False
    view: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A path in the container and its owner, for what the supervisor's table does not speak of: mounts. Fakeroot
    mode only; the other modes have owners on the disk.
    """

    path: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """root: the folder that becomes / (a mount point for a KernelOverlay, or the tree itself); "": none, the host's own
    root stays, and mounts, hostname and read_only have no meaning.
    make_cwd: a cwd that is not there is made, as the user's own.
    env: "K=V"; HOME is added from the image's passwd where it is missing, nothing else is.
    user: "", name, uid, name:group, uid:gid …, resolved from the image's own /etc/passwd and /etc/group.
    ids: None for no user namespace. init: a reaper of ours is pid 1, and forwards signals; else the command is.
    tty: the command gets a terminal of its own (Sandbox.master is the other end), stdio is not used. size: its rows and
    columns, () for those of the caller's once it follows them.
    confined: seccomp refuses what no build needs (denied.py). scoped: Landlock hides the host's abstract sockets.
    read_only: the root itself; volumes, tmpfs and /dev stay as they are.
    proot: the program; then there are no namespaces, and ids, hostname, capabilities and fakeroot have no meaning.
    """

    root: str
    mounts: tuple[Mount, ...] = ()
    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    make_cwd: bool = False
    user: str = ""
    ids: IdMap | None = None
    hostname: str = ""
    network: Network = Network.HOST
    ports: tuple[Port, ...] = ()
    limits: tuple[Limit, ...] = ()
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    init: bool = False
    tty: bool = False
    size: tuple[int, ...] = ()
    fakeroot: FakerootSpec | None = None
    given: tuple[Given, ...] = ()
    no_new_privileges: bool = False
    confined: bool = True
    scoped: bool = False
    read_only: bool = False
    proot: str = ""

    @property
    def needs_launcher(self) -> bool:
        """Whether the child waits, once it has its namespaces, for the launcher to map ids or bring up a network."""
        return (self.ids is not None and self.ids.mode is IdMode.SUBUID) or self.network is Network.PRIVATE

    def to_json(self) -> str:
        return json.dumps(_encode(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "SandboxSpec":
        """The inverse of to_json. KeyError, TypeError or ValueError for anything else."""
        return _decode(cls, json.loads(text))  # type: ignore[no-any-return]


def with_owners(spec: SandboxSpec) -> tuple[TreeBind, ...]:
    """The mounts for which the fakeroot supervisor has a table, in their order."""
    return tuple(mount for mount in spec.mounts if isinstance(mount, TreeBind) and mount.owners)


_MOUNTS: Mapping[str, type] = types.MappingProxyType({
    kind.__name__: kind for kind in (mounts.Bind, mounts.FileBind, mounts.Tmpfs, mounts.Proc, mounts.Dev, mounts.Sysfs,
                                     mounts.KernelOverlay, TreeBind, DiscardedBind)})
_INNER: Mapping[str, type] = types.MappingProxyType({
    "ids": IdMap, "uids": Extent, "gids": Extent, "limits": Limit, "ports": Port, "fakeroot": FakerootSpec,
    "overlay": mounts.KernelOverlay, "given": Given})


def prepare_classes(*more: type) -> None:
    """For a process that forks others: what a spec is read into, and `more`, is compiled once for all of them."""
    for kind in (SandboxSpec, *_MOUNTS.values(), *_INNER.values(), *more):
        prepare(kind)


def _encode(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if is_dataclass(value):
        coded = {item.name: _encode(getattr(value, item.name)) for item in fields(value)}
        if type(value).__name__ in _MOUNTS:
            coded["kind"] = type(value).__name__
        return coded
    return value


def _decode(kind: type, data: Mapping[str, Any]) -> Any:
    return kind(**{name: _decode_field(kind, name, value) for name, value in data.items() if name != "kind"})


def _decode_field(kind: type, name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode_field(kind, name, item) for item in value)
    if isinstance(value, dict):
        return _decode(_MOUNTS[value["kind"]] if name == "mounts" else _INNER[name], value)
    annotation = typing.cast(Any, kind).__value_fields__[name].type
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return annotation(value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of the command and all it waited for. Seconds; peak_memory: bytes of the largest single process."""

    user_seconds: float
    system_seconds: float
    peak_memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """code: the command's own, or 128 + signal. usage: None where the sandbox was killed before it could tell."""

    code: int
    signal: int | None = None
    usage: Usage | None = None
    timed_out: bool = False
