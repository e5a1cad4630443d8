"""A second wall behind the namespaces, for the day one of our own lines is wrong (docs/decisions/0034).

    command      Landlock scope: no abstract socket of the host's (D-Bus, X11, containerd); its own session keyring
    supervisor   P1 of fakeroot mode, which carries out calls for the command: no fd of it leads out of what it serves
                 by "..", and seccomp refuses it to start a program, mount, trace or connect

Landlock's rules for files are used for neither: a process under them can no longer mount, which builds do, and
a supervisor under them may not read the memory of those who are not.
"""

import contextlib
import os

from . import denied, linux
from .plan import Op, Step
from .spec import SandboxSpec


def enclosed(path: str) -> int:
    """P1, root of its user and mount namespace, host's files in sight: an fd of a folder above which there is nothing.
    Before Linux 5.2, or where an outer filter forbids it: of the folder as it is. Errors: OSError.
    """
    try:
        return linux.open_tree(path)
    except OSError:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def around_supervisor() -> None:
    """P1, the container's root is its own: from here on it only serves."""
    with contextlib.suppress(OSError):  # no seccomp: then there was no listener to serve either
        denied.install(denied.SUPERVISED)


def around_command(spec: SandboxSpec) -> tuple[Step, ...]:
    """Of the command's process, as root of its user namespace, before its user. Old kernels: without."""
    return (*((Step(op=Op.KEYRING),) if spec.root else ()),
            *((Step(op=Op.SCOPE, a=linux.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET),) if spec.scoped else ()))
