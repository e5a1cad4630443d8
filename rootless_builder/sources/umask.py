"""What of a mode counts in a key: everything but what a umask decided (docs/decisions/0031).

A clone of a commit has files of 0666 and 0777 less the umask of whoever cloned it. What the umask of a context took
away is told by its folders; those bits count as the owner's where they are missing, and where one is there after all,
somebody meant it, and the mode counts as it is. With the umask given, no two modes count as one.
"""

import os
import stat

GROUP_AND_OTHERS = 0o077
PRIVATE = 0o077  # of a folder that mkdtemp made: it says nothing about what was cloned into it


def umask_of(root_fd: int) -> int:
    """What all folders at the top of the context lack, itself among them; where they differ, what it lacks itself."""
    own = GROUP_AND_OTHERS & ~os.fstat(root_fd).st_mode
    with os.scandir(root_fd) as entries:
        found = {GROUP_AND_OTHERS & ~entry.stat(follow_symlinks=False).st_mode for entry in entries
                 if entry.is_dir(follow_symlinks=False)}
    if own != PRIVATE:
        found.add(own)
    return found.pop() if len(found) == 1 else own


def counted(mode: int, umask: int) -> int:
    """mode: permission bits, the special ones too. With umask 0 the mode itself."""
    if mode & umask:
        return mode | stat.S_IFREG  # told apart from one that has the bit by the owner's
    owner = mode >> 6 & 7
    return mode | umask & (owner << 3 | owner)
