"""What a plain user can do where the host allows no user namespace: proot(1), if it is installed."""

import errno

from ..errors import NamespaceError
from .idmap import IdMode, find_program


def proot_instead(mode: IdMode) -> str:
    """The program, for a plain user who is refused a user namespace; else "". Tries one out only where something
    says that it may be refused.
    """
    program = find_program("proot") if mode is IdMode.FAKEROOT else None
    if program is None:
        return ""
    from .causes import userns_cause

    if userns_cause(errno.EPERM).name == "unknown":
        return ""
    import tempfile
    from pathlib import Path

    from .probe import probe

    with tempfile.TemporaryDirectory() as folder:
        return "" if probe(Path(folder)).mount == 0 else program


def with_detour(error: NamespaceError) -> NamespaceError:
    """The refusal of a RUN; and what the user can do without an administrator."""
    if find_program("proot") is None:
        way = "With proot installed, --allow-lost-owners would run it all the same"
    else:
        way = "Or give --allow-lost-owners: proot runs it then"
    error.hint = f"{error.hint or ''} {way}, and all that RUN makes or changes is root's.".strip()
    return error
