"""Where the sandbox meets the fakeroot supervisor: what P1 holds ready for it, and how the command comes under it."""

import os
import socket
from collections.abc import Callable

from ..errors import OwnershipError, SandboxError
from . import fakeroot, mounts, plainfilter, wall
from .failures import act
from .fakeroot import MountTable
from .plan import CAUSE, Op, Step, failure
from .spec import FakerootSpec, SandboxSpec, with_owners

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


def filter_of(spec: FakerootSpec | None, listener_to: int, *, traced: bool) -> Step | None:
    """How the command-to-be loads the filter. listener_to: as LISTENER has it in plan.py. traced: where owners are
    lost, it waits at the gate for its tracer. Errors: OwnershipError.
    """
    if spec is None:
        return None
    if spec.lost:
        return plainfilter.step(gated=traced)
    return Step(op=Op.LISTENER, a=listener_to, b=int(spec.fsync), failures=(_NO_LISTENER,))


_NO_LISTENER = failure(OwnershipError(f"cannot start the fakeroot supervisor: seccomp: {CAUSE}",
                                      hint="use --userns=subuid, or --userns=host as root"))
