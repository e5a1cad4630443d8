"""Why this host refuses a user namespace, and the administrator's command that changes it.

    kernel     built without USER_NS                          no /proc/self/ns/user
    limit      user.max_user_namespaces = 0, or used up       ENOSPC
    sysctl     Debian's kernel.unprivileged_userns_clone = 0  EPERM
    apparmor   Ubuntu's restriction: it is made, and powerless  EACCES, EPERM, often only when ids are mapped
    seccomp    a filter of an outer container                 EPERM, ENOSYS
    chroot     we run in a chroot                             EPERM
"""

import errno
import os
from pathlib import Path

from ..values import dataclass

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """name: as in the table above, "unknown" for none of them. text: what it means. remedy: one imperative sentence."""

    name: str
    text: str
    remedy: str


def userns_cause(number: int, proc: Path = PROC) -> Cause:
    """The cause behind errno `number` of unshare(CLONE_NEWUSER), of mapping ids or of the first mount in it."""
    if not os.path.lexists(proc / "self/ns/user"):
        return Cause(name="kernel", text="the kernel was built without user namespaces",
                     remedy="Boot a kernel with CONFIG_USER_NS=y.")
    limit = _number(proc / "sys/user/max_user_namespaces")
    if limit == 0:
        return Cause(name="limit", text="user.max_user_namespaces is 0",
                     remedy="Run `sudo sysctl -w user.max_user_namespaces=15000` "
                            "(a file in /etc/sysctl.d keeps it).")
    if number == errno.ENOSPC:
        return Cause(name="limit", text=f"all {limit} user namespaces are in use, or they are nested too deeply",
                     remedy="Run `sudo sysctl -w user.max_user_namespaces=100000`.")
    if _number(proc / "sys/kernel/unprivileged_userns_clone") == 0:
        return Cause(name="sysctl", text="kernel.unprivileged_userns_clone is 0",
                     remedy="Run `sudo sysctl -w kernel.unprivileged_userns_clone=1` "
                            "(a file in /etc/sysctl.d keeps it).")
    if (_number(proc / "sys/kernel/apparmor_restrict_unprivileged_userns") or 0) > 0:
        return Cause(name="apparmor", text="AppArmor restricts the user namespaces of programs without a profile "
                                           "(kernel.apparmor_restrict_unprivileged_userns is 1)",
                     remedy="Run `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` "
                            "(or give iechor's Python a profile that allows userns).")
    if _status(proc, "Seccomp") == "2":
        return Cause(name="seccomp", text="a seccomp filter, of an outer container perhaps, forbids it",
                     remedy="Start the outer container with `--security-opt seccomp=unconfined` "
                            "(Kubernetes: seccompProfile type Unconfined).")
    if number == errno.EPERM and _in_chroot(proc):
        return Cause(name="chroot", text="we run in a chroot, where the kernel allows none",
                     remedy="Use `unshare --mount` and pivot_root, or a container, in place of chroot.")
    return Cause(name="unknown", text=os.strerror(number),
                 remedy="Ask your administrator whether a security module forbids user namespaces.")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _status(proc: Path, field: str) -> str | None:
    try:
        for line in (proc / "self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return None


def _in_chroot(proc: Path) -> bool:
    """Whether no mount has our root as its own: then / is a folder of some mount, entered by chroot."""
    try:
        points = {line.split()[4] for line in (proc / "self/mountinfo").read_text().splitlines()}
    except OSError:
        return False
    return "/" not in points
