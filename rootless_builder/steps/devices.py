"""`RUN --device`: the CDI devices of this host that a step is given, and what stands for them in its sandbox.

    deviceNodes    the host's own nodes, bound: who may open one is what the host says
    mounts         bound, as their options say
    env            beside the step's own

A device is given when `--allow device` or its own annotation says so, as BuildKit has it.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..cdi.registry import AUTOALLOW_KEY, Registry, read_registry
from ..cdi.specs import CdiDevice, DeviceNode, HostMount
from ..errors import IechorError, SourceError, UnsupportedError, UsageError
from ..language.instructions import Device
from ..language.numbers import is_true
from ..language.suggest import notes
from ..sandbox.mounts import Bind, Mount, Tmpfs
from .runsettings import DeviceAccess


def given(asked: Iterable[Device], access: DeviceAccess) -> tuple[CdiDevice, ...]:
    """Each device once, in the order asked for. Errors: SourceError, UsageError, UnsupportedError."""
    found = {device.name: device for one in asked for device in named(one, access)[0]}
    return tuple(found.values())


def named(asked: Device, access: DeviceAccess) -> tuple[tuple[CdiDevice, ...], str]:
    """The devices that `asked` means; where there is none to give, why: an error if it is required.

    Errors: SourceError, UsageError, UnsupportedError.
    """
    known = access.known.get("", lambda: read_registry(access.folders))
    name = access.aliases.get(asked.name, asked.name)
    found = known.find(name)
    if not found:
        return (), _lacking(asked, SourceError(
            f"cannot give the RUN its device {name}: it is not registered on this host",
            hint=f"put a CDI file for it into {' or '.join(map(str, access.folders))}, or leave ,required out",
            notes=(*notes(name, [device.name for device in known.devices]), *known.problems)))
    _check_allowed(found, known, asked, access)
    odd = next((device for device in found if device.edits.refused or device.shared.refused), None)
    if odd is not None:
        what = (*odd.shared.refused, *odd.edits.refused)[0]
        return (), _lacking(asked, UnsupportedError(
            f"cannot give the RUN its device {odd.name}: {odd.file} has {what}, which only root can carry out",
            hint="have the file written without them, or leave ,required out"))
    return found, ""


def _check_allowed(found: Sequence[CdiDevice], known: Registry, asked: Device, access: DeviceAccess) -> None:
    if access.all_allowed or asked.name in access.aliases:
        return
    allowed = {device.name for name in access.allowed for device in known.find(name)}
    forbidden = [device.name for device in found
                 if device.name not in allowed and not is_true(device.annotations.get(AUTOALLOW_KEY, ""))]
    if forbidden:
        raise UsageError(f"cannot give the RUN the device {', '.join(forbidden)}: it is not allowed",
                         hint=f"allow it with --allow device={forbidden[0]}, or all with --allow device")


def _lacking(asked: Device, error: IechorError) -> str:
    if asked.required:
        raise error
    return "; ".join([error.message, *error.notes])


def edits_of(given: Iterable[CdiDevice]) -> tuple[list[Mount], list[str]]:
    """(mounts, environment) of these devices; what all devices of one file share comes once, and first.

    Errors: SourceError, UnsupportedError.
    """
    mounts: list[Mount] = []
    env: list[str] = []
    files: set[Path] = set()
    for device in given:
        both = (device.edits,) if device.file in files else (device.shared, device.edits)
        files.add(device.file)
        for edits in both:
            env += edits.env
            mounts += [_node(node, device) for node in edits.nodes]
            mounts += [_mount(mount, device) for mount in edits.mounts]
    return mounts, env


def _node(node: DeviceNode, device: CdiDevice) -> Mount:
    return Bind(source=_there(node.host_path, device), target=node.path)


def _mount(mount: HostMount, device: CdiDevice) -> Mount:
    if mount.type == "tmpfs":
        return Tmpfs(target=mount.path, read_only="ro" in mount.options)
    if mount.type not in ("", "bind", "none"):
        raise UnsupportedError(f"cannot give the RUN its device {device.name}: {device.file} mounts a file system of "
                               f"type {mount.type}", hint="have it written as a bind mount")
    return Bind(source=_there(mount.host_path, device), target=mount.path, read_only="ro" in mount.options,
                recursive="rbind" in mount.options, nosuid="nosuid" in mount.options, noexec="noexec" in mount.options)


def _there(path: str, device: CdiDevice) -> str:
    if not os.path.lexists(path):
        raise SourceError(f"cannot give the RUN its device {device.name}: {device.file} names {path}, and there is no "
                          "such", hint="mend that file, or the driver it was written for")
    return path

