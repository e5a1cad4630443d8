"""Where the sandbox meets the fakeroot supervisor: what P1 holds ready for it, and how the command comes under it."""

import os
import socket
from collections.abc import Callable

from ..errors import SandboxError
from . import fakeroot, mounts, plainfilter, wall
from .failures import act
from .fakeroot import MountTable
from .spec import FakerootSpec, SandboxSpec, with_owners
from .tracing import Gate

MOST_MOUNTS = 64  # FR_MOUNTS_MAX in native/fakeroot.h


def prepare_supervisor(spec: SandboxSpec, final: int | None,
                       control: socket.socket | None) -> Callable[[int], object] | None:
    """P1, in its own namespaces, host's files in sight: what the supervisor needs of them. The answer serves a listener
    until no process under the filter is left, and writes the tables to `final`. None where nobody is to be served.

    control: takes the listeners of those who join the container later. Errors: SandboxError.
    """
    emulated = spec.fakeroot
    if emulated is None or emulated.lost:
        return None
    uppers = [mount.upper for mount in spec.mounts
              if isinstance(mount, mounts.KernelOverlay) and mount.target == "/" and mount.upper]
    host_proc = wall.enclosed("/proc")
    table = _open_table(emulated.table) if emulated.table else None
    upper = wall.enclosed(uppers[0]) if uppers else -1
    if len(with_owners(spec)) > MOST_MOUNTS:
        raise SandboxError(f"cannot mount more than {MOST_MOUNTS} trees and caches in one step")
    others = tuple(MountTable(path=mount.target, table_fd=_open_table(mount.owners)) for mount in with_owners(spec))
    view = fakeroot.open_view(emulated)

    def serve(listener: int) -> object:
        wall.around_supervisor()
        return fakeroot.serve(listener, host_proc=host_proc, spec=emulated, table_fd=table, mounts=others,
                              final_fd=final, upper_fd=upper, view_fd=view,
                              control_fd=-1 if control is None else control.fileno())

    return serve


def _open_table(path: str) -> int:
    with act(f"open the owner table {path}"):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def filter_installer(spec: FakerootSpec | None, server: socket.socket | None,
                     gate: Gate | None) -> Callable[[], None] | None:
    """How the command-to-be loads the filter: it hands its listener to the P1 that serves it from then on. Where
    owners are lost, it waits at the gate for its tracer.
    """
    return None if spec is None else lambda: _install(spec, server, gate)


def _install(spec: FakerootSpec, server: socket.socket | None, gate: Gate | None) -> None:
    if server is None:
        raise SandboxError("cannot show the container's owners to a process that joins it: another process started it",
                           hint="Run `iechor exec`, which asks the container's monitor.")
    if spec.lost:
        plainfilter.install(traced=gate is not None and gate.wait())
        return
    listener = fakeroot.install(spec)
    socket.send_fds(server, [b"1"], [listener])
    os.close(listener)
