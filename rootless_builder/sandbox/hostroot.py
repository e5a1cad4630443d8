"""The host's own root as the command's, in a mount namespace of its own: SandboxSpec.root is "".

Nothing is covered but /proc, which has to be that of the new pid namespace: then "self" is the command's, and the
fakeroot supervisor, who stands outside, resolves paths the quick way.
"""

import os

from . import linux
from .failures import act
from .mounts import Place


def keep_root() -> Place:
    """Pid 1, host's files in sight and they stay. What the host mounts later (home folders by autofs) is seen, too."""
    with act("make the mounts slaves of the host's"):
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
    place = Place(root="/", root_fd=os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), staging_fd=-1,
                  own_network=False, host_root=False)
    try:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    except PermissionError:  # parts of the outer one are masked: it stays, and shows outer pids
        pass
    return place
