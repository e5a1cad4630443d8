"""What RUN may use of the user's: --secret, --ssh, --ulimit and --shm-size of `iechor build`, as values."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SourceError, UsageError
from ..steps.runsettings import DeviceAccess

if TYPE_CHECKING:
    from ..contexts.fetchauth import FetchAuth
    from ..contexts.secrets import Secret
    from ..sandbox.spec import Limit

UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
SHM_SIZE = 64 << 20  # bytes
ENTITLEMENTS = ("network.host", "security.insecure", "buildx.local.delete")


def secrets(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, "Secret"]:
    """Each --secret by its id; a file is read when a RUN asks for it. Errors: UsageError, SourceError."""
    found = {}
    for text in texts:
        name, secret = _secret(text, environ)
        found[name] = secret
    return found


def fetch_auth(texts: Sequence[str], environ: Mapping[str, str]) -> "FetchAuth":
    """Those of them that open URLs and repositories. Errors: UsageError, SourceError."""
    from ..contexts.fetchauth import FetchAuth

    return FetchAuth(secrets(texts, environ) if texts else {})


def _secret(text: str, environ: Mapping[str, str]) -> "tuple[str, Secret]":
    import csv

    from ..contexts.secrets import Secret

    fields = {}
    for field in next(csv.reader([text]), []):
        key, equals, value = field.partition("=")
        if not equals or key.lower() not in ("id", "src", "source", "env", "type"):
            raise UsageError(f'cannot use --secret "{text}": {field!r} is not understood',
                             hint="write --secret id=ID,src=PATH or --secret id=ID,env=NAME")
        fields[{"source": "src"}.get(key.lower(), key.lower())] = value
    name, kind = fields.get("id", ""), fields.get("type", "")
    if not name or kind not in ("", "env", "file"):
        raise UsageError(f'cannot use --secret "{text}": {"it has no id" if not name else f"there is no type {kind}"}',
                         hint="write --secret id=ID,src=PATH or --secret id=ID,env=NAME")
    path, variable = fields.get("src", ""), fields.get("env", "")
    if kind == "env" and path:
        path, variable = "", path
    if not path and not variable:  # as docker: a variable of that name, else a file
        path, variable = (name, "") if kind == "file" or (not kind and name not in environ) else ("", name)
    if variable:
        if variable not in environ:
            raise SourceError(f"cannot read the secret {name}: the variable {variable} is not set")
        return name, Secret(value=environ[variable].encode("utf-8", "surrogateescape"))
    place = Path(path).expanduser().absolute()
    if not os.path.isfile(place):
        raise SourceError(f"cannot read the secret {name}: there is no file {path}")
    return name, Secret(path=place)


def agents(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Each --ssh by its id: one socket, or keys. Errors: UsageError, SourceError."""
    found = {}
    for text in texts:
        name, _, rest = text.partition("=")
        paths = [path for path in rest.split(",") if path] or [environ.get("SSH_AUTH_SOCK", "")]
        if not paths[0]:
            raise UsageError(f"cannot forward the SSH agent for --ssh {name}: SSH_AUTH_SOCK is not set",
                             hint="start an agent, or name a socket or a key: --ssh default=PATH")
        places = [Path(path).expanduser().absolute() for path in paths]
        for place in places:
            if not place.exists():
                raise SourceError(f"cannot use --ssh {text}: there is no {place}")
        if len(places) > 1 and any(place.is_socket() for place in places):
            raise UsageError(f"cannot use --ssh {text}: a socket stands alone", hint="give one socket, or keys")
        found[name or "default"] = tuple(map(str, places))
    return found


def devices(texts: Iterable[str], folders: tuple[Path, ...]) -> DeviceAccess:
    """What --allow says of CDI devices; the rest of it is allowed anyway. Errors: UsageError."""
    every, allowed = False, list[str]()
    aliases: dict[str, str] = {}
    for text in texts:
        kind, _, rest = text.partition("=")
        if kind != "device":
            if text not in ENTITLEMENTS:
                raise UsageError(f'cannot use --allow "{text}": there is no such entitlement',
                                 hint=f"there are device, device=NAME, {', '.join(ENTITLEMENTS)}")
            continue
        if not rest:
            every = True
            continue
        name, *more = rest.split(",")
        alias = next((field.removeprefix("alias=") for field in more), "")
        if len(more) > 1 or (more and not (more[0].startswith("alias=") and alias)):
            raise UsageError(f'cannot use --allow "{text}": {more[-1]!r} is not understood',
                             hint="write --allow device=NAME or --allow device=NAME,alias=OTHER")
        allowed += [] if alias else [name]
        aliases |= {alias: name} if alias else {}
    return DeviceAccess(folders=folders, all_allowed=every, allowed=tuple(allowed), aliases=aliases)


def limits(texts: Sequence[str]) -> tuple["Limit", ...]:
    """Of RUN. Errors: UsageError."""
    if not texts:
        return ()
    from ..containers.options import Ulimit
    from ..sandbox.spec import Limit

    parsed = [Ulimit.parse(text) for text in texts]
    return tuple(Limit(name=one.name, soft=one.soft, hard=one.hard) for one in parsed)


def shm_size(text: str | None) -> int:
    """Bytes, of a number with k, m, g or t. Errors: UsageError."""
    if text is None:
        return SHM_SIZE
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.lower())
    if match is None or not float(match[1]):
        raise UsageError(f'cannot use --shm-size "{text}": not a size', hint="write a number and k, m or g: 128m")
    return int(float(match[1]) * UNITS[match[2]])
