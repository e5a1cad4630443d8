"""One file of the Container Device Interface (its SPEC.md): what a command is given with a device.

    cdiVersion: "0.6.0"
    kind: vendor.com/class
    annotations: {KEY: VALUE}        of every device of the file
    containerEdits: {…}              with any of them
    devices:
    - name: NAME                     the device vendor.com/class=NAME
      annotations: {KEY: VALUE}
      containerEdits:
        env: [NAME=VALUE]
        deviceNodes: [{path, hostPath}]
        mounts: [{hostPath, containerPath, type, options}]
        hooks, netDevices            programs of the host and interfaces: a plain user's sandbox can have neither
        intelRdt, additionalGids     belong to a runtime that is root: nothing of them is done

JSON, or YAML where PyYAML is installed: what vendors' tools write by default.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..values import dataclass

REFUSED = ("hooks", "netDevices")
_KNOWN = ("env", "deviceNodes", "mounts", "intelRdt", "additionalGids", *REFUSED)
_VERSION = re.compile(r"[01]\.\d+\.\d+")
_KIND = re.compile(r"([A-Za-z](?:[\w.-]*[A-Za-z0-9])?)/([A-Za-z](?:[\w.-]*[A-Za-z0-9])?)", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9](?:[\w.:-]*[A-Za-z0-9])?", re.ASCII)


class SpecError(ValueError):
    """Why a file is no CDI specification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    """path: in the sandbox; host_path: the node of this host."""

    path: str
    host_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMount:
    """type: "" for a bind mount."""

    host_path: str
    path: str
    type: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """env: "NAME=VALUE". refused: which of REFUSED there are."""

    env: tuple[str, ...] = ()
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[HostMount, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiDevice:
    """name: qualified, vendor.com/class=NAME. shared: the edits that come with any device of its file."""

    name: str
    annotations: Mapping[str, str]
    edits: Edits
    shared: Edits
    file: Path


def read_spec(path: Path) -> tuple[CdiDevice, ...]:
    """The devices of one file. Errors: SpecError, OSError."""
    spec = _fields(_document(path), "the file")
    version, kind = str(spec.get("cdiVersion", "")), str(spec.get("kind", ""))
    if not _VERSION.fullmatch(version):
        raise SpecError(f"its cdiVersion is {version!r}")
    if not _KIND.fullmatch(kind):
        raise SpecError(f"its kind {kind!r} is not of the form vendor.com/class")
    shared, common = _edits(spec.get("containerEdits")), _annotations(spec.get("annotations"))
    found: dict[str, CdiDevice] = {}
    for one in _list(spec.get("devices"), "devices"):
        fields = _fields(one, "a device")
        name = str(fields.get("name", ""))
        if not _NAME.fullmatch(name) or name in found:
            raise SpecError(f"its device {name!r} is there twice" if name in found else
                            f"its device {name!r} has no proper name")
        edits = _edits(fields.get("containerEdits"))
        found[name] = CdiDevice(name=f"{kind}={name}", edits=edits, shared=shared, file=path,
                                annotations={**common, **_annotations(fields.get("annotations"))})
    if not found:
        raise SpecError("it has no devices")
    return tuple(found.values())


def _document(path: Path) -> Any:
    text = path.read_bytes()
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise SpecError(f"it is no JSON: {error}") from None
    try:
        import yaml
    except ImportError:
        raise SpecError("it is YAML, and PyYAML is not installed: install it, or write the file as JSON") from None
    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"it is no YAML: {' '.join(str(error).split())}") from None


def _edits(value: Any) -> Edits:
    fields = _fields(value, "containerEdits")
    unknown = next((name for name in fields if name not in _KNOWN), None)
    if unknown is not None:
        raise SpecError(f"it has the edit {unknown!r}, which is not known")
    env = tuple(map(str, _list(fields.get("env"), "env")))
    if any(not name.partition("=")[0] or "=" not in name for name in env):
        raise SpecError("its env has an entry that is not of the form NAME=VALUE")
    return Edits(env=env, nodes=tuple(map(_node, _list(fields.get("deviceNodes"), "deviceNodes"))),
                 mounts=tuple(map(_mount, _list(fields.get("mounts"), "mounts"))),
                 refused=tuple(name for name in REFUSED if fields.get(name)))


def _node(value: Any) -> DeviceNode:
    fields = _fields(value, "a device node")
    path = _path(fields, "path")
    return DeviceNode(path=path, host_path=_path(fields, "hostPath") if fields.get("hostPath") else path)


def _mount(value: Any) -> HostMount:
    fields = _fields(value, "a mount")
    options = tuple(map(str, _list(fields.get("options"), "options")))
    return HostMount(host_path=_path(fields, "hostPath"), path=_path(fields, "containerPath"),
                     type=str(fields.get("type") or ""), options=options)


def _path(fields: Mapping[str, Any], key: str) -> str:
    path = fields.get(key)
    if not isinstance(path, str) or not path.startswith("/"):
        raise SpecError(f"its {key} {path!r} is no absolute path")
    return path


def _annotations(value: Any) -> dict[str, str]:
    """A switch is written as YAML has it, too."""
    return {str(key): str(one).lower() if isinstance(one, bool) else str(one)
            for key, one in _fields(value, "annotations").items()}


def _fields(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SpecError(f"{what} should be a table")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise SpecError(f"its {what} should be a list")
    return value
