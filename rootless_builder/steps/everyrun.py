"""`iechor build --mount`: what every RUN of a build sees, besides what its own --mount says."""

import os
from collections.abc import Iterable

from ..errors import IechorfileError, SourceError, UnsupportedError, UsageError
from ..language.mounts import parse_mount
from ..sandbox.mounts import Bind, Mount, Tmpfs


def mounts(texts: Iterable[str]) -> tuple[Mount, ...]:
    """Each --mount. Errors: UsageError, UnsupportedError, SourceError."""
    return tuple(_mount(text) for text in texts)


def _mount(text: str) -> Mount:
    try:
        flag = parse_mount(text)
        asked = flag.resolve(lambda value: value)
    except IechorfileError as error:
        raise UsageError(error.message, hint=error.hint, notes=error.notes) from None
    if asked.type not in ("bind", "tmpfs") or asked.from_:
        raise UnsupportedError(f"cannot mount {text} for every RUN: only type=bind of a path, and type=tmpfs",
                               hint="write it as RUN --mount in the file")
    if not asked.target.startswith("/"):
        raise UsageError(f"cannot mount {text}: the target is no absolute path", hint="write target=/PATH")
    if asked.type == "tmpfs":
        return Tmpfs(target=asked.target, size=asked.size)
    read_only = any(key in ("ro", "readonly", "rw", "readwrite") for key, _ in flag.fields) and asked.readonly
    source = os.path.abspath(os.path.expanduser(asked.source))
    if not asked.source or not os.path.exists(source):
        raise SourceError(f"cannot mount {text}: there is no {asked.source or 'source'}", hint="write source=PATH")
    return Bind(source=source, target=asked.target, read_only=read_only)
