"""The sandbox's own processes, top to bottom.

    iechor          the launcher, threads and all
      └─ server     one for each build: exec'ed, single-threaded, forks and reaps; ends with the launcher
           └─ P1    forked for each step; outside the pid namespace, inside the others; holds the host's /proc
               ├─ forwarder   only with published ports
               └─ P2          pid 1 (pidone.py): becomes the command, or the reaper of
                    └─ P3     the command (spec.init)

P1 mounts and changes the root, for itself and for P2; what P2 and P3 do is a plan (plan.py), followed in C.

Each death ends what hangs below it. The launcher's: the server sees the end of its control socket. The server's: P1
has a death signal. P1's: P2 has one, and where a set-uid exec took it away, the server inherits P2 and kills it.
P2's: the kernel kills the whole pid namespace.
"""

import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from ..errors import IechorError, NamespaceError, SandboxError
from ..values import dataclass
from . import emulation, execute, hostroot, linux, mounts, network, pidone, privileges, proot, reaper, tracing, wire
from .failures import act, encode
from .idmap import IdMode
from .spec import Network, SandboxSpec

NAMESPACES = (("user", linux.CLONE_NEWUSER), ("mnt", linux.CLONE_NEWNS), ("uts", linux.CLONE_NEWUTS),
              ("ipc", linux.CLONE_NEWIPC), ("net", linux.CLONE_NEWNET), ("pid_for_children", linux.CLONE_NEWPID))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """As the launcher sent it. join: the P1 of a running container to enter, 0 for a new one. control: takes the
    listeners of those who join; its other end for one who does.
    """

    spec: SandboxSpec
    join: int
    status: socket.socket
    report: socket.socket
    stdio: tuple[int, ...]
    listeners: tuple[int, ...]
    passed: tuple[int, ...]
    final: int | None
    control: socket.socket | None


def supervise_step(message: wire.Message, server: int, control: socket.socket | None) -> NoReturn:
    """P1. Never returns into the server's loop, whatever happens."""
    try:
        request = receive_request(message, control)
        end_with(request.report, lambda: live(request, server))
    finally:
        os._exit(1)


def end_with(report: socket.socket, work: Callable[[], int]) -> NoReturn:
    """Does `work` and ends the process with its code; the launcher is told of what it raises."""
    code = 1
    try:
        code = work()
    except IechorError as error:
        wire.send(report, {"error": encode(error)})
    except Exception as error:  # noqa: BLE001 - the launcher must hear of a bug, whatever it is
        wire.send(report, {"error": encode(bug(error))})
    finally:
        os._exit(code)


def bug(error: Exception) -> SandboxError:
    """One of ours that nobody caught: where it is, in one line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    return SandboxError(f"cannot prepare the sandbox: {type(error).__name__}: {error} ({place})",
                        hint="this is a bug of iechor: please report it")


def receive_request(message: wire.Message, control: socket.socket | None) -> Request:
    """Read here and not by the server: a secret of this step is in no fork of another."""
    spec_fd, *rest = message.fds
    with open(spec_fd, "rb", buffering=0) as stream:
        spec = SandboxSpec.from_json(stream.read())
    channels = [wire.opened(fd) for fd in rest[:2]]
    listeners = message.body["listeners"]
    other = rest[5:]
    final = other.pop() if message.body["final"] else None
    return Request(spec=spec, join=message.body["join"], status=channels[0], report=channels[1],
                   stdio=tuple(rest[2:5]), listeners=tuple(other[:listeners]), passed=tuple(other[listeners:]),
                   final=final, control=control)


def live(request: Request, server: int) -> int:
    """P1: host namespaces at first. Ends when the step has ended and its status is told."""
    privileges.die_with_parent()
    if os.getppid() != server:
        return 1
    linux.set_name("iechor-step")
    wire.send(request.status, {"pid": os.getpid()}, pidfds(os.getpid()))
    serve, forwarder = None, 0
    if request.spec.proot:
        pass  # nothing to leave, nothing to enter: one more proot shows the same folder
    elif request.join:
        join(request.join)
    else:
        leave(request)
        serve = emulation.prepare_supervisor(request.spec, request.final, request.control)
        # P1: root of the new user namespace, in its network; the host's files are still in sight, as they are for
        # the forwarder, which is forked before the pid namespace and ends with us.
        forwarder = start_forwarder(request)
        with act("make a pid namespace"):
            linux.unshare(linux.CLONE_NEWPID)
    privileges.die_with_parent()  # again: a change of credentials may have cleared it
    sys.meta_path.clear()  # from here on an import could find a module of the image
    if request.spec.proot:
        pid, link = fork_under_proot(request)
    else:
        tracer = tracing.Gate() if is_traced(request) else None
        first = pidone.PidOne(tracer, request.final)
        pid, link = first.pid, first.link
    wire.send(request.status, {"init": pid}, pidfds(pid))
    if not request.spec.proot:
        prepare_command(request, first, traced=tracer is not None)
    for fd in (*request.stdio, *request.listeners, *request.passed):
        os.close(fd)
    request.report.close()
    # P1: the container's root is ours by now, and nothing of the host's is open but what the supervisor needs.
    if serve is not None:
        _, fds, _, _ = socket.recv_fds(link, 1, 1)
        if fds:
            serve(fds[0])
    status, usage = wait_for(pid)
    told = wire.receive(link)
    if told is not None:
        status = told.body["status"]
    if forwarder:
        os.kill(forwarder, signal.SIGKILL)
        os.waitpid(forwarder, 0)
    wire.send(request.status, {"exit": status, "usage": [usage.ru_utime, usage.ru_stime, usage.ru_maxrss]})
    return 0


def is_traced(request: Request) -> bool:
    """Whether owners may be lost, and pid 1 is there to see which."""
    spec = request.spec
    return spec.fakeroot is not None and spec.fakeroot.lost and spec.init and not request.join


def pidfds(pid: int) -> tuple[int, ...]:
    """A handle that cannot come to mean another process; nothing before Linux 5.3."""
    try:
        return (linux.pidfd_open(pid),)
    except OSError:
        return ()


def leave(request: Request) -> None:
    """P1 leaves the host's namespaces, all but that of pids. Errors: SandboxError."""
    spec = request.spec
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC
    if spec.ids is not None:
        flags |= linux.CLONE_NEWUSER
    if spec.network is not Network.HOST:
        flags |= linux.CLONE_NEWNET
    uid, gid = os.geteuid(), os.getegid()
    try:
        linux.unshare(flags)
    except OSError as error:
        raise refused(error, user=spec.ids is not None) from None
    if spec.ids is not None and spec.ids.mode is IdMode.FAKEROOT:
        map_single(uid, gid)
    if spec.needs_launcher:
        # The launcher maps more ids than our own, and starts what gives the network a way out.
        wire.send(request.status, {"unshared": True})
        if wire.receive(request.status) is None:
            raise SandboxError("cannot prepare the sandbox: the launcher has ended")
    if spec.network is not Network.HOST:
        with act("bring up the loopback interface"):
            network.raise_loopback()
    if spec.root:
        with act("make the mounts private"):
            hostroot.make_private(spec.root)


def map_single(uid: int, gid: int) -> None:
    """Root inside is the user: allowed to everybody, once setgroups is given up."""
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1\n"), ("gid_map", f"0 {gid} 1\n")):
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, text.encode())
            os.close(fd)
    except OSError as error:
        raise refused(error, user=True) from None


def refused(error: OSError, *, user: bool) -> NamespaceError:
    if not user:
        return NamespaceError(f"cannot make a mount namespace: {error.strerror}",
                              hint="root without CAP_SYS_ADMIN cannot: give the outer container that capability")
    from .causes import userns_cause  # the host's files are still in sight

    found = userns_cause(error.errno or 0)
    return NamespaceError(f"cannot make a user namespace: {found.text}", hint=found.remedy)


def join(target: int) -> None:
    """P1 of an `exec` enters the namespaces of the container whose P1 is `target`. Root of its user namespace."""
    with act(f"enter the container (process {target})"):
        root = os.open(f"/proc/{target}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        entered = []
        for name, kind in NAMESPACES:
            fd = os.open(f"/proc/{target}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            if not same_namespace(fd, name):
                entered.append((fd, kind))
        for fd, kind in entered:
            linux.setns(fd, kind)
            os.close(fd)
        os.fchdir(root)
        os.chroot(".")
        os.chdir("/")
        os.close(root)


def same_namespace(fd: int, name: str) -> bool:
    own, other = os.stat(f"/proc/self/ns/{name}"), os.fstat(fd)
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)


def start_forwarder(request: Request) -> int:
    """The forwarder: container's user and network namespace, host's pids. 0 where no port is published."""
    if not request.listeners:
        return 0
    pid = os.fork()
    if pid:
        return pid
    try:
        privileges.die_with_parent()
        linux.set_name("iechor-forward")
        request.report.close()
        request.status.close()
        for fd in (*request.stdio, *request.passed):
            os.close(fd)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        ports = [port.container_port for port in request.spec.ports]
        network.Forwarder([(socket.socket(fileno=fd), port)
                           for fd, port in zip(request.listeners, ports, strict=True)]).serve()
    finally:
        os._exit(1)


def prepare_command(request: Request, first: pidone.PidOne, *, traced: bool) -> None:
    """P1: mounts, root, hostname, and the plan by which pid 1, or its child, becomes the command (with `join`: one more
    process of the running one). Errors: SandboxError.
    """
    spec = request.spec
    if not request.join:
        with only_these_fds():
            place = change_root(spec, first) if spec.root else hostroot.keep_root(first.mount_proc)
        # The container's root is ours, and pid 1's: pivot_root moves every process of the mount namespace.
        wire.send(request.report, {"created": place.created, "notices": place.notices})
        if spec.hostname:
            with act(f"set the host name to {spec.hostname}"):
                linux.sethostname(spec.hostname)
    if request.join and spec.fakeroot is not None and request.control is None:
        raise SandboxError("cannot show the container's owners to a process that joins it: another process started it",
                           hint="run `iechor exec`, which asks the container's monitor")
    given = len(request.stdio) + len(request.passed)
    command = execute.Command(
        spec=spec, stdio=request.stdio, passed=request.passed, joining=bool(request.join),
        show_master=lambda master: wire.send(request.report, {"master": True}, (master,)),
        fakeroot_filter=emulation.filter_of(spec.fakeroot, given if request.join else -1, traced=traced))
    prepared = execute.prepare(command)
    control = () if request.control is None or not request.join else (request.control.fileno(),)
    with act("start the command"):
        first.become(prepared.steps, request.report.fileno(), (*prepared.fds, *control),
                     reaper=spec.init and not request.join)
    for fd in set(prepared.fds) - {*request.stdio, *request.passed}:
        os.close(fd)


@contextlib.contextmanager
def only_these_fds() -> Iterator[None]:
    """Whatever is opened inside is closed at its end: ".." of a folder of the host leads to the host's files."""
    folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    kept = open_fds(folder) - {folder}
    yield
    for fd in open_fds(folder) - kept:
        os.close(fd)


def open_fds(folder: int) -> set[int]:
    """folder: /proc/self/fd, which also lists the one that reads it."""
    found = set()
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            os.get_inheritable(int(name))
            found.add(int(name))
    return found


def change_root(spec: SandboxSpec, first: pidone.PidOne) -> mounts.Place:
    """P1: host's files in sight, root of the mount namespace's user namespace. After it the old root is gone."""
    with act(f"open the root folder {spec.root}"):
        tree = os.open(spec.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with act("mount a tmpfs for generated files"):
        # On the root folder itself, since it is ours; the root covers it next.
        linux.mount("tmpfs", spec.root, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0700")
        staging = os.open(spec.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    rest = list(spec.mounts)
    place = mounts.Place(root=spec.root, root_fd=-1, staging_fd=staging,
                         own_network=spec.network is not Network.HOST, host_root=spec.ids is None,
                         mount_proc=first.mount_proc,
                         one_id=spec.ids is not None and spec.ids.mode is IdMode.FAKEROOT)
    if rest and isinstance(rest[0], mounts.KernelOverlay) and rest[0].target == "/":
        overlay = rest.pop(0)
        with act(overlay.describe()):
            overlay.execute(place)
    else:
        with act(f"mount {spec.root} as the root"):
            mounts.bind(mounts.fd_path(tree), spec.root)  # not recursive: our tmpfs is on it
    place.root_fd = os.open(spec.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with act("mark the root nodev"):
        mounts.restrict(place.root_fd, linux.MOUNT_ATTR_NODEV, recursive=False)
    os.umask(0o022)
    for mount in rest:
        with act(mount.describe()):
            mount.execute(place)
    if spec.read_only:
        with act("make the root read-only"):
            mounts.restrict(place.root_fd, linux.MOUNT_ATTR_RDONLY, recursive=False)
    with act("change the root"):
        os.fchdir(place.root_fd)
        linux.pivot_root(".", ".")
        linux.umount2(".", linux.MNT_DETACH)
        os.chdir("/")
    return place


def fork_under_proot(request: Request) -> tuple[int, socket.socket]:
    """P2 in the host's own namespaces, and our end of a link to it."""
    link, inner = wire.pair()
    pid = os.fork()
    if pid:
        inner.close()
        return pid, link
    link.close()
    request.status.close()
    end_with(request.report, lambda: under_proot(request, inner))


def under_proot(request: Request, link: socket.socket) -> int:
    """P2: what has to be in place, then proot, whose leftovers it ends."""
    spec = request.spec
    os.setsid()
    privileges.die_with_parent()
    for fd in request.listeners:
        os.close(fd)
    place, words = proot.prepare(spec)
    wire.send(request.report, {"created": place.created, "notices": place.notices})
    privileges.adopt_orphans()
    pid = os.fork()
    if pid == 0:
        proot.start(spec, words, (*request.stdio, *request.passed), request.report, link)
    for fd in (*request.stdio, *request.passed):
        os.close(fd)
    request.report.close()
    wire.send(link, {"status": proot.attend(pid, reaper.forward_signals)})
    return 0


def wait_for(pid: int) -> tuple[int, resource.struct_rusage]:
    _, status, usage = os.wait4(pid, 0)
    return status, usage
