"""Mounts as values: built and shown by anyone, executed in order by the sandbox's pid 1, in its own mount namespace,
before the root is changed. Sources are paths of the host, targets paths inside the root.

    KernelOverlay   layers → the root (first in the list; without it the root folder itself becomes /)
    Bind            a file or folder of the host
    FileBind        a generated file (resolv.conf, hosts, a secret): its text travels in the spec
    Tmpfs Proc Dev Sysfs

`standard(…)` is the list that every container has.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import Protocol

from ..values import dataclass, field
from . import linux
from .rootdir import open_in_root

PROC_MASKED = ("acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "timer_list", "timer_stats",
               "sched_debug", "scsi")
PROC_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")
SYS_MASKED = ("firmware", "devices/virtual/powercap")
SYS_OTHERS = ("fs/bpf", "fs/pstore", "kernel/debug", "kernel/security", "kernel/tracing")  # where hosts mount doors
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEV_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
             "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx", "core": "/proc/kcore"}


@dataclass(slots=True, kw_only=True)
class Place:
    """Where mounts are executed: the root as an fd, and what came of it. Lives in P1 alone.

    staging_fd: a tmpfs of our own that generated files are bound from. host_root: root inside is root of the host (or
    of whatever user namespace we were started in), so it owns what we bind from there. created: mount points made in
    the root, as image paths, outermost first. notices: what the user should know. one_id: no gid but root's is mapped.
    mount_proc: has pid 1 mount its /proc on a folder; raises OSError.
    """

    root: str
    root_fd: int
    staging_fd: int
    own_network: bool
    host_root: bool
    mount_proc: Callable[[int], None]
    one_id: bool = False
    created: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    staged: int = 0

    def directory(self, target: str) -> str:
        """`target` as a path that mount(2) takes; made when it is missing."""
        return fd_path(open_in_root(self.root_fd, target, directory=True, made=self.created))

    def file(self, target: str) -> str:
        return fd_path(open_in_root(self.root_fd, target, directory=False, made=self.created))


def fd_path(fd: int) -> str:
    """Needs a /proc of the host: before the root is changed only. The fd stays open until exec."""
    return f"/proc/self/fd/{fd}"


class Mount(Protocol):
    @property
    def target(self) -> str: ...

    def describe(self) -> str:
        """In the form "mount tmpfs on /tmp": an error reads "cannot " + describe() + ": " + cause."""

    def execute(self, place: Place) -> None:
        """Raises OSError."""


def mount_proc(folder: int) -> None:
    """That of our own pid namespace, on an open folder. Errors: OSError."""
    linux.mount("proc", fd_path(folder), "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    linux.mount(source, target, None, linux.MS_BIND | (linux.MS_REC if recursive else 0))


def restrict(target_fd: int, flags: int, *, recursive: bool) -> None:
    """Add MOUNT_ATTR_* flags to the mount that `target_fd` is on. Before Linux 5.12 its own submounts keep theirs."""
    try:
        linux.mount_setattr(target_fd, "", linux.AT_EMPTY_PATH | (linux.AT_RECURSIVE if recursive else 0),
                            attr_set=flags)
        return
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    kept = os.fstatvfs(target_fd).f_flag & (linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
                                            | linux.MS_NOATIME | linux.MS_NODIRATIME)
    if os.fstatvfs(target_fd).f_flag & 0x1000:  # ST_RELATIME, whose bit is another one in mount(2)
        kept |= linux.MS_RELATIME
    linux.mount(None, fd_path(target_fd), None, linux.MS_REMOUNT | linux.MS_BIND | kept | flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelOverlay:
    """lowers: folders of the host, the topmost first. upper and work lie on one file system, both empty or from a
    kill before; upper None: a read-only stack of two lowers or more. userxattr: in a user namespace that is not the
    initial one. volatile: the kernel skips every sync of the upper (a step is kept whole or not at all), where it can
    (Linux 5.10).
    """

    lowers: tuple[str, ...]
    upper: str | None = None
    work: str | None = None
    target: str = "/"
    userxattr: bool = True
    volatile: bool = False

    def describe(self) -> str:
        return f"mount an overlay of {len(self.lowers)} layers on {self.target}"

    def execute(self, place: Place) -> None:
        self.mount_on(place.root if self.target == "/" else place.directory(self.target))

    def mount_on(self, target: str) -> None:
        """target: a path that mount(2) takes."""
        # Names of fds are short and hold no colon or comma: any number of layers fits mount(2)'s one page of data.
        above = () if self.upper is None or self.work is None else (self.upper, self.work)
        fds = [_folder(path) for path in (*self.lowers, *above)]
        options = ["lowerdir=" + ":".join(map(str, fds[:len(self.lowers)]))]
        if above:
            options += [f"upperdir={fds[-2]}", f"workdir={fds[-1]}"]
        options += ["userxattr"] if self.userxattr else ["redirect_dir=off", "metacopy=off"]
        options += ["index=off"]
        here = os.open(".", os.O_PATH | os.O_DIRECTORY)
        os.chdir("/proc/self/fd")
        try:
            self._mount(target, ",".join(options))
        finally:
            os.fchdir(here)
            for fd in (here, *fds):  # an image may have more layers than a process has descriptors to spare
                os.close(fd)
        if self.work is not None:
            # The kernel makes them with mode 0, which a plain `rm -rf` of the scratch folder trips over.
            for made in ("work", "work/incompat", "work/incompat/volatile") if self.volatile else ("work",):
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(os.path.join(self.work, made), 0o700)

    def _mount(self, target: str, options: str) -> None:
        if self.volatile:
            try:
                return linux.mount("overlay", target, "overlay", linux.MS_NODEV, f"{options},volatile")
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        linux.mount("overlay", target, "overlay", linux.MS_NODEV, options)


def _folder(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """nodev is on unless the source is a device or lies below /dev. A missing source is an error."""

    source: str
    target: str
    read_only: bool = False
    recursive: bool = True
    nosuid: bool = False
    noexec: bool = False

    def describe(self) -> str:
        return f"mount {self.source} on {self.target}"

    def execute(self, place: Place) -> None:
        source = os.open(self.source, os.O_PATH | os.O_CLOEXEC)
        mode = os.fstat(source).st_mode
        point = place.directory if stat.S_ISDIR(mode) else place.file
        bind(fd_path(source), point(self.target), recursive=self.recursive)
        flags = ((linux.MOUNT_ATTR_RDONLY if self.read_only else 0) | (linux.MOUNT_ATTR_NOSUID if self.nosuid else 0)
                 | (linux.MOUNT_ATTR_NOEXEC if self.noexec else 0))
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or os.path.realpath(self.source).startswith("/dev")):
            flags |= linux.MOUNT_ATTR_NODEV
        if flags:
            fd = open_in_root(place.root_fd, self.target, directory=stat.S_ISDIR(mode))
            restrict(fd, flags, recursive=self.recursive)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBind:
    """A file with this text (surrogateescape stands for raw bytes), kept in memory. Writable for the container
    unless read_only; what it writes there is gone with it.
    """

    content: str
    target: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    read_only: bool = False

    def describe(self) -> str:
        return f"mount a generated file on {self.target}"

    def execute(self, place: Place) -> None:
        name = str(place.staged)
        place.staged += 1
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place.staging_fd)
        with open(fd, "wb", closefd=False) as stream:
            stream.write(self.content.encode("utf-8", "surrogateescape"))
        if (self.uid, self.gid) != (0, 0):
            os.fchown(fd, self.uid, self.gid)
        os.fchmod(fd, self.mode)
        bind(fd_path(fd), place.file(self.target))
        os.close(fd)
        if self.read_only:
            restrict(open_in_root(place.root_fd, self.target, directory=False), linux.MOUNT_ATTR_RDONLY,
                     recursive=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    """size: bytes, 0 for the kernel's default (half the memory)."""

    target: str
    size: int = 0
    mode: int = 0o1777
    read_only: bool = False
    noexec: bool = False

    def describe(self) -> str:
        return f"mount tmpfs on {self.target}"

    def execute(self, place: Place) -> None:
        flags = linux.MS_NOSUID | linux.MS_NODEV | (linux.MS_NOEXEC if self.noexec else 0)
        flags |= linux.MS_RDONLY if self.read_only else 0
        data = f"mode={self.mode:o}" + (f",size={self.size}" if self.size else "")
        linux.mount("tmpfs", place.directory(self.target), "tmpfs", flags, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proc:
    """A fresh procfs of the new pid namespace, with the paths masked that runc masks. Where the kernel refuses one
    (the /proc we run in is itself masked), the outer /proc, read-only.
    """

    target: str = "/proc"

    def describe(self) -> str:
        return f"mount proc on {self.target}"

    def execute(self, place: Place) -> None:
        try:
            place.mount_proc(open_in_root(place.root_fd, self.target, directory=True, made=place.created))
        except PermissionError:
            bind("/proc", place.directory(self.target), recursive=True)
            restrict(open_in_root(place.root_fd, self.target, directory=True), linux.MOUNT_ATTR_RDONLY,
                     recursive=True)
            place.notices.append("the kernel refuses a fresh /proc here (the outer one is masked): "
                                 "the container sees the outer /proc, read-only")
            return
        for name in PROC_MASKED:
            _mask(place, f"{self.target}/{name}")
        for name in PROC_READ_ONLY:
            _make_read_only(place, f"{self.target}/{name}")


def _mask(place: Place, path: str) -> None:
    try:
        fd = open_in_root(place.root_fd, path, directory=None)
    except FileNotFoundError:
        return
    point = fd_path(fd)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        linux.mount("tmpfs", point, "tmpfs", linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC,
                    "size=0,mode=0755,nr_inodes=2")
    else:
        bind("/dev/null", point)
        restrict(open_in_root(place.root_fd, path, directory=False), linux.MOUNT_ATTR_RDONLY, recursive=False)


def _make_read_only(place: Place, path: str) -> None:
    try:
        point = fd_path(open_in_root(place.root_fd, path, directory=None))
    except FileNotFoundError:
        return
    bind(point, point, recursive=True)
    restrict(open_in_root(place.root_fd, path, directory=None), linux.MOUNT_ATTR_RDONLY, recursive=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysfs:
    """Read-only: of the sandbox's own network namespace where it has one, else the outer /sys."""

    target: str = "/sys"

    def describe(self) -> str:
        return f"mount sysfs on {self.target}"

    def execute(self, place: Place) -> None:
        flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        fresh = place.own_network
        if fresh:
            try:
                linux.mount("sysfs", place.directory(self.target), "sysfs", flags)
            except PermissionError:
                fresh = False
        if not fresh:
            bind("/sys", place.directory(self.target), recursive=True)
            restrict(open_in_root(place.root_fd, self.target, directory=True), linux.MOUNT_ATTR_RDONLY,
                     recursive=True)
        for name in SYS_MASKED if fresh else (*SYS_MASKED, *self._others(place)):
            _mask(place, f"{self.target}/{name}")

    def _others(self, place: Place) -> list[str]:
        """The file systems that the host has mounted in its /sys: nothing of them is a container's."""
        found = []
        for name in SYS_OTHERS:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(f"/sys/{name}").st_dev != os.stat("/sys").st_dev:
                    found.append(name)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Dev:
    """The minimal /dev: six devices, own pts, shm and mqueue, and the usual links. shm_size: bytes."""

    target: str = "/dev"
    shm_size: int = 64 << 20

    def describe(self) -> str:
        return f"mount a minimal /dev on {self.target}"

    def execute(self, place: Place) -> None:
        linux.mount("tmpfs", place.directory(self.target), "tmpfs", linux.MS_NOSUID | linux.MS_STRICTATIME,
                    "mode=0755,size=65536k")
        dev = open_in_root(place.root_fd, self.target, directory=True)
        for name, major, minor in DEVICES:
            _device(dev, name, os.makedev(major, minor), place)
        for name, link in DEV_LINKS.items():
            os.symlink(link, name, dir_fd=dev)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(name, 0o755, dir_fd=dev)
        self._mount_pts(dev, one_id=place.one_id)
        restricted = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("shm", fd_path(open_in_root(dev, "shm", directory=True)), "tmpfs", restricted,
                    f"mode=1777,size={self.shm_size}")
        try:
            linux.mount("mqueue", fd_path(open_in_root(dev, "mqueue", directory=True)), "mqueue", restricted)
        except OSError:  # a kernel without POSIX message queues: programs that want them see it themselves
            os.rmdir("mqueue", dir_fd=dev)

    def _mount_pts(self, dev: int, *, one_id: bool) -> None:
        data = "newinstance,ptmxmode=0666,mode=0620"
        first = data if one_id else f"{data},gid=5"
        point = fd_path(open_in_root(dev, "pts", directory=True))
        try:
            linux.mount("devpts", point, "devpts", linux.MS_NOSUID | linux.MS_NOEXEC, first)
        except OSError as error:
            if one_id or error.errno != errno.EINVAL:  # EINVAL: gid 5 (tty) is not mapped here
                raise
            linux.mount("devpts", point, "devpts", linux.MS_NOSUID | linux.MS_NOEXEC, data)


def _device(dev: int, name: str, number: int, place: Place) -> None:
    """A node of our own, where we may make one: real root inside could change owner and mode of the host's. Else the
    host's, which a root that owns it gets read-only (writing to the device itself is not meant by that).
    """
    try:
        os.mknod(name, stat.S_IFCHR | 0o666, number, dir_fd=dev)
        os.chmod(name, 0o666, dir_fd=dev)
        return
    except PermissionError:
        bind("/dev/" + name, fd_path(open_in_root(dev, name, directory=False, made=[])))
    if place.host_root:
        restrict(open_in_root(dev, name, directory=False), linux.MOUNT_ATTR_RDONLY, recursive=False)


def standard(*, resolv_conf: str | None = None, hosts: str | None = None,
             shm_size: int = 64 << 20) -> tuple[Mount, ...]:
    """What every container has. resolv_conf, hosts: their text, None to leave the image's own file in sight."""
    files = (("/etc/resolv.conf", resolv_conf), ("/etc/hosts", hosts))
    return (Proc(), Dev(shm_size=shm_size), Sysfs(),
            *(FileBind(content=text, target=target) for target, text in files if text is not None))
