"""The host's root, before the container's takes its place; or for good, where SandboxSpec.root is "".

Real root may be in a chroot (a rescue system, a build chroot): its "/" is then a folder of some mount, and neither can
that mount be made private by name nor will pivot_root(2) have it. From our own mount namespace both can be helped: up
to the top of it and back, and the root bound to a place where it is a mount.
"""

import errno
import os
from collections.abc import Callable

from . import linux
from .failures import act
from .mounts import Place


def set_propagation(flag: int) -> bool:
    """MS_PRIVATE or MS_SLAVE for every mount of our namespace. Whether we are in a chroot that is no mount point.

    Errors: OSError.
    """
    try:
        linux.mount(None, "/", None, linux.MS_REC | flag)
        return False
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(here)
    os.chroot("proc")  # the working directory is above the root now, and ".." leads on to the namespace's own
    while not os.path.samestat(os.stat("."), os.stat("..")):
        os.chdir("..")
    os.chroot(".")
    linux.mount(None, "/", None, linux.MS_REC | flag)
    os.fchdir(here)
    os.chroot(".")
    os.close(here)
    return True


def make_private(folder: str) -> None:
    """P1, in its own mount namespace: nothing that is mounted from here on is seen outside, and the root is a mount.
    folder: where the container's root will be. Errors: OSError.
    """
    if set_propagation(linux.MS_PRIVATE):
        linux.mount("/", folder, None, linux.MS_BIND | linux.MS_REC)
        os.chroot(folder)
        os.chdir("/")


def keep_root(mount_proc: Callable[[int], None]) -> Place:
    """P1, host's files in sight and they stay. What the host mounts later (home folders by autofs) is seen, too.
    /proc alone is covered, by that of the new pid namespace: then "self" is the command's, and the fakeroot
    supervisor, who stands outside, resolves paths the quick way.
    """
    with act("make the mounts slaves of the host's"):
        set_propagation(linux.MS_SLAVE)
    place = Place(root="/", root_fd=os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), staging_fd=-1,
                  own_network=False, host_root=False, mount_proc=mount_proc)
    try:
        mount_proc(os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except PermissionError:  # parts of the outer one are masked: it stays, and shows outer pids
        pass
    return place
