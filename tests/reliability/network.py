"""A store on a network, and two hosts that use it.

It is seen through two FUSE mounts of one folder, as two NFS clients would see it: names and attributes cached for as
long as the test says, no xattrs, no chown, locks of one mount unknown to the other. The mounts are bindfs, or sshfs of
an sshd on this machine, which has no hard links and is slow besides. What runs `elsewhere` has a PID
namespace of its own, so that neither side can tell whether a process of the other lives.
"""

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import TMP, Person

BINDFS = ("bindfs", "--xattr-none", "--chown-deny", "--chgrp-deny", "-o")


@contextlib.contextmanager
def seen_by_two(user: Person, folder: str, seconds: int) -> Iterator[tuple[Path, Path]]:
    """Two mounts of one folder of their home, made if it is not there; seconds: for which each believes what it saw."""
    points = user.home / "host1", user.home / "host2"
    caches = f"allow_other,attr_timeout={seconds},entry_timeout={seconds},negative_timeout={seconds}"
    (user.home / folder).mkdir(mode=0o700, exist_ok=True)
    os.chown(user.home / folder, user.uid, user.gid)
    with contextlib.ExitStack() as stack:
        for point in points:
            point.mkdir(exist_ok=True)
            subprocess.run([*BINDFS, caches, user.home / folder, point], check=True)
            stack.callback(subprocess.run, ["umount", "-l", point], check=True)
        yield points


SSHD = """\
ListenAddress 127.0.0.1:{port}
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
PidFile none
StrictModes no
UsePAM yes
Subsystem sftp internal-sftp
"""


@contextlib.contextmanager
def seen_by_two_over_ssh(user: Person, folder: str, seconds: int) -> Iterator[tuple[Path, Path]]:
    """`seen_by_two` by sshfs. The sshd has keys of its own, which are nobody else's."""
    points = user.home / "host1", user.home / "host2"
    (user.home / folder).mkdir(mode=0o700, exist_ok=True)
    os.chown(user.home / folder, user.uid, user.gid)
    with contextlib.ExitStack() as stack:
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="iechor-sshd-", dir=TMP)))
        keys.chmod(0o755)  # the authorized keys are read as the user
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (keys / "sshd_config").write_text(SSHD.format(port=port, keys=keys))
        Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in; a system that has begun it has made this
        sshd = stack.enter_context(subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", keys / "sshd_config",
                                                     "-E", keys / "log"]))
        stack.callback(sshd.terminate)
        options = (f"port={port},IdentityFile={keys}/user,UserKnownHostsFile={keys}/known,StrictHostKeyChecking=no,"
                   f"ConnectionAttempts=20,allow_other,disable_hardlink,dcache_timeout={seconds},"
                   f"attr_timeout={seconds},entry_timeout={seconds}")
        for point in points:
            point.mkdir(exist_ok=True)
            subprocess.run(["sshfs", "-o", options, f"{user.name}@127.0.0.1:{user.home / folder}", point], check=True)
            stack.callback(subprocess.run, ["umount", "-l", point], check=True)
        yield points


def elsewhere(user: Person) -> tuple[str, ...]:
    """The words before a command that make root run it as the user, as on another host."""
    return ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "setpriv", f"--reuid={user.uid}",
            f"--regid={user.gid}", "--clear-groups")
