"""Errors of the sandbox that callers tell apart, and their way over the pipe from the child.

    SandboxError
    ├── ExecFailed      the command could not be started: .status 127 (not found) or 126 (not executable)
    └── UserNotFound    USER or -u names nobody in the image
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from ..errors import IechorError, NamespaceError, OwnershipError, SandboxError


class ExecFailed(SandboxError):
    """status: what a shell would answer, 126 or 127."""

    def __init__(self, message: str, *, status: int = 127, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class UserNotFound(SandboxError):
    pass


_KINDS: Mapping[str, type[IechorError]] = MappingProxyType({
    kind.__name__: kind for kind in (NamespaceError, OwnershipError, SandboxError, ExecFailed, UserNotFound)})


@contextmanager
def act(intent: str, *, hint: str | None = None) -> Iterator[None]:
    """OSError inside becomes SandboxError "cannot INTENT: cause"."""
    try:
        yield
    except OSError as error:
        raise SandboxError(f"cannot {intent}: {cause(error)}", hint=hint) from error


def cause(error: OSError) -> str:
    """ "No such file or directory: /a", without Python's "[Errno 2]"."""
    text = error.strerror or str(error)
    name = error.filename
    if name and not str(name).startswith("/proc/self/fd/"):
        return f"{text}: {os.fsdecode(name) if isinstance(name, bytes) else name}"
    return text


def encode(error: IechorError) -> dict[str, Any]:
    kind = type(error).__name__
    coded: dict[str, Any] = {"kind": kind if kind in _KINDS else "SandboxError", "message": error.message,
                             "hint": error.hint}
    if isinstance(error, ExecFailed):
        coded["status"] = error.status
    return coded


def decode(coded: Mapping[str, Any]) -> IechorError:
    extra = {"status": coded["status"]} if "status" in coded else {}
    return _KINDS[coded["kind"]](coded["message"], hint=coded["hint"], **extra)
