"""Image configs (image spec, config.md), with docker's Healthcheck, OnBuild and Shell inside.

    ImageConfig
    ├── config: RunConfig          what a container of the image is started with
    │   └── healthcheck: Healthcheck
    ├── rootfs_diff_ids            digests of the uncompressed layers, the lowest first
    └── history: (History, …)      one for each instruction; those not `empty_layer` are the layers

What we do not know is kept in `extra` and written back. The digest of the bytes is the image's ID.
"""

from collections.abc import Mapping
from typing import Any

from ..values import dataclass, field
from . import document
from .digest import Digest
from .platform import Platform

_WHAT = "image config"
CONFIG_LIMIT = 4 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """`test` is () (inherit), ("NONE",), ("CMD", …) or ("CMD-SHELL", line); times are nanoseconds, 0 = default."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    @classmethod
    def from_json(cls, source: document.Object) -> "Healthcheck":
        return cls(
            test=document.texts(source, "Test", _WHAT) or (),
            interval=document.number(source, "Interval", _WHAT),
            timeout=document.number(source, "Timeout", _WHAT),
            start_period=document.number(source, "StartPeriod", _WHAT),
            start_interval=document.number(source, "StartInterval", _WHAT),
            retries=document.number(source, "Retries", _WHAT),
        )

    def to_json(self) -> dict[str, Any]:
        times = {"Interval": self.interval, "Timeout": self.timeout, "StartPeriod": self.start_period,
                 "StartInterval": self.start_interval, "Retries": self.retries}
        return {"Test": list(self.test)} | {key: value for key, value in times.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One instruction. `created` is RFC 3339."""

    created: str | None = None
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False

    @classmethod
    def from_json(cls, source: document.Object) -> "History":
        return cls(
            created=document.text(source, "created", _WHAT) or None,
            created_by=document.text(source, "created_by", _WHAT),
            comment=document.text(source, "comment", _WHAT),
            author=document.text(source, "author", _WHAT),
            empty_layer=document.flag(source, "empty_layer", _WHAT),
        )

    def to_json(self) -> dict[str, Any]:
        return document.compact({
            "created": self.created, "created_by": self.created_by, "comment": self.comment,
            "author": self.author, "empty_layer": self.empty_layer or None,
        })


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """`config` of an image config. env is ("K=V", …); an entrypoint or cmd of None is not the same as ()."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: str = ""
    shell: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    onbuild: tuple[str, ...] = ()
    args_escaped: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, source: document.Object) -> "RunConfig":
        healthcheck = document.mapping(source, "Healthcheck", _WHAT)
        env = document.texts(source, "Env", _WHAT) or ()
        if not all("=" in pair[1:] for pair in env):
            raise document.refuse(_WHAT, "Env", "a list of NAME=VALUE")
        return cls(
            user=document.text(source, "User", _WHAT),
            env=env,
            entrypoint=document.texts(source, "Entrypoint", _WHAT),
            cmd=document.texts(source, "Cmd", _WHAT),
            working_dir=document.text(source, "WorkingDir", _WHAT),
            exposed_ports=document.key_set(source, "ExposedPorts", _WHAT),
            volumes=document.key_set(source, "Volumes", _WHAT),
            labels=document.text_map(source, "Labels", _WHAT),
            stop_signal=document.text(source, "StopSignal", _WHAT),
            shell=document.texts(source, "Shell", _WHAT),
            healthcheck=Healthcheck.from_json(healthcheck) if healthcheck else None,
            onbuild=document.texts(source, "OnBuild", _WHAT) or (),
            args_escaped=document.flag(source, "ArgsEscaped", _WHAT),
            extra={key: value for key, value in source.items() if key not in _RUN_KEYS},
        )

    def to_json(self) -> dict[str, Any]:
        return dict(self.extra) | document.compact({
            "User": self.user,
            "Env": list(self.env) or None,
            "Entrypoint": _list(self.entrypoint),
            "Cmd": _list(self.cmd),
            "WorkingDir": self.working_dir,
            "ExposedPorts": {port: {} for port in self.exposed_ports},
            "Volumes": {path: {} for path in self.volumes},
            "Labels": dict(self.labels),
            "StopSignal": self.stop_signal,
            "Shell": _list(self.shell),
            "Healthcheck": self.healthcheck.to_json() if self.healthcheck else None,
            "OnBuild": list(self.onbuild) or None,
            "ArgsEscaped": self.args_escaped or None,
        })


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """`created` is RFC 3339 as the spec has it, or None."""

    architecture: str
    os: str
    variant: str = ""
    created: str | None = None
    author: str = ""
    config: RunConfig = RunConfig()
    rootfs_diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, data: bytes) -> "ImageConfig":
        """Bytes of a config blob. Errors: UnsafeArchive."""
        if len(data) > CONFIG_LIMIT:
            raise document.refuse(_WHAT, "length", f"at most {CONFIG_LIMIT} bytes")
        source = document.load(data, _WHAT)
        rootfs = document.mapping(source, "rootfs", _WHAT)
        if document.text(rootfs, "type", _WHAT) not in ("layers", ""):
            raise document.refuse(_WHAT, "rootfs.type", '"layers"')
        return cls(
            architecture=document.text(source, "architecture", _WHAT),
            os=document.text(source, "os", _WHAT),
            variant=document.text(source, "variant", _WHAT),
            created=document.text(source, "created", _WHAT) or None,
            author=document.text(source, "author", _WHAT),
            config=RunConfig.from_json(document.mapping(source, "config", _WHAT)),
            rootfs_diff_ids=tuple(map(Digest.parse, document.texts(rootfs, "diff_ids", _WHAT) or ())),
            history=tuple(map(History.from_json, document.mappings(source, "history", _WHAT))),
            extra={key: value for key, value in source.items() if key not in _IMAGE_KEYS},
        )

    def to_json(self) -> bytes:
        """Canonical bytes: the same value always gives the same bytes, and so the same image ID."""
        return document.dump(dict(self.extra) | document.compact({
            "architecture": self.architecture,
            "os": self.os,
            "variant": self.variant,
            "created": self.created,
            "author": self.author,
            "rootfs": {"type": "layers", "diff_ids": list(map(str, self.rootfs_diff_ids))},
            "history": [entry.to_json() for entry in self.history] or None,
        }) | {"config": self.config.to_json()})

    @property
    def platform(self) -> Platform:
        return Platform(self.os, self.architecture, self.variant).normal()


_RUN_KEYS = frozenset({"User", "Env", "Entrypoint", "Cmd", "WorkingDir", "ExposedPorts", "Volumes", "Labels",
                       "StopSignal", "Shell", "Healthcheck", "OnBuild", "ArgsEscaped"})
_IMAGE_KEYS = frozenset({"architecture", "os", "variant", "created", "author", "config", "rootfs", "history"})


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)
