"""`iechor unshare`: a command of the host's, as root sees the host; what it creates is the user's own on disk.

    user namespace 0 → the user ─ mount and pid namespace, the host's root stays ─ the fakeroot supervisor, its root "/"

The supervisor keeps the owners for as long as the command lives, or in a table from one call to the next. In the
other id modes the kernel keeps them, and no supervisor is needed.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from .errors import DiskFull, OwnershipError, UsageError
from .sandbox import fakeroot
from .sandbox.handle import PIPE
from .sandbox.idmap import IdMap, IdMode
from .sandbox.launcher import launch
from .sandbox.privileges import CAPABILITIES
from .sandbox.spec import FakerootSpec, SandboxSpec
from .sandbox.supervise import OnOutput, supervise
from .sandbox.terminal import size_of
from .values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UnshareRequest:
    """table: a file of owners, read at the start where it exists and written at the end; it holds those of files on
    the file system of `cwd`. environ: all of the command's environment. fsync: what it syncs is really synced.
    """

    argv: tuple[str, ...]
    cwd: str
    environ: Mapping[str, str]
    mode: IdMode
    table: Path | None = None
    fsync: bool = True


def unshare(request: UnshareRequest, *, tty: bool = False, on_output: OnOutput | None = None) -> int:
    """The command's exit code, 128 + N when signal N ended it. It has our own streams (tty: 0 and 1 are a terminal);
    with on_output it has an empty stdin, and on_output(stream, data) gets what it writes.

    Errors: UsageError, OwnershipError, NamespaceError, SandboxError, ExecFailed (.status 126 or 127), DiskFull.
    """
    if request.table is not None and request.mode is not IdMode.FAKEROOT:
        raise UsageError(f"cannot keep owners in {request.table}: with --userns={request.mode.value} the kernel keeps "
                         "them on disk", hint="leave --table out")
    ours = on_output is None
    with launch(spec_of(request, tty=tty), stdin=0 if ours else None, stdout=1 if ours else PIPE,
                stderr=2 if ours else PIPE) as sandbox:
        status = supervise(sandbox, on_output=on_output, forward_signals=ours,
                           terminal=(0, 1) if tty else None)
        table = sandbox.final_table()
    if request.table is not None and table is not None:
        write_table(request.table, table)
    return status.code


def spec_of(request: UnshareRequest, *, tty: bool = False) -> SandboxSpec:
    """Errors: OwnershipError when no supervisor can run here, UsageError for a table that is none."""
    emulation = None
    if request.mode is IdMode.FAKEROOT:
        support = fakeroot.available()
        if not support.usable:
            raise OwnershipError(f"cannot play root: {support.reason}", hint=support.hint)
        emulation = FakerootSpec(table=readable_table(request.table), dev=os.stat(request.cwd).st_dev,
                                 fsync=request.fsync)
    env = tuple(f"{key}={value}" for key, value in request.environ.items())
    return SandboxSpec(root="", argv=request.argv, env=env, cwd=request.cwd, ids=ids_of(request.mode), init=True,
                       tty=tty, size=size_of(0, 1) if tty else (), fakeroot=emulation, capabilities=tuple(CAPABILITIES),
                       confined=False)


def ids_of(mode: IdMode) -> IdMap | None:
    if mode is IdMode.FAKEROOT:
        return IdMap.single(os.geteuid(), os.getegid())
    return IdMap.nested() if mode is IdMode.SUBUID else None


def readable_table(path: Path | None) -> str:
    """Its absolute name, "" where there is none yet. Errors: UsageError."""
    if path is None or not path.exists():
        return ""
    try:
        for _ in fakeroot.decode(path.read_bytes()):
            pass
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name another file with --table") from None
    return str(path.absolute())


def write_table(path: Path, table: bytes) -> None:
    """Whole or not at all. Errors: DiskFull."""
    try:
        with ExitStack() as undo:
            fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            undo.callback(os.unlink, name)
            with open(fd, "wb") as stream:
                stream.write(table)
            os.replace(name, path)
            undo.pop_all()
    except OSError as error:
        raise DiskFull(f"cannot write {path}: {error.strerror}", hint="name another file with --table") from error
