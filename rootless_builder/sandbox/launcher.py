"""The launcher's half of the sandbox: one server for many steps, and a handle for each.

    with Launcher() as launcher:                      # a build: the server starts with the first step
        sandbox = launcher.launch(spec)               # returns once the command runs, or raises
        status = supervise(sandbox, on_output=…)

`launch(spec)` alone is for one sandbox; its server ends with it. `reexec_mapped` is how --userns=subuid begins.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NoReturn, Self

from ..errors import NamespaceError, SandboxError
from . import linux, network, wire
from .handle import PIPE, Sandbox
from .idmap import IdMap, MappingHelpers
from .serving import ServerProcess
from .spec import SandboxSpec

MARKER = "_IECHOR_USERNS"


class Launcher:
    """Starts the server with the first launch, from whichever thread; may be used by several threads at once. server:
    begun already, and ended with the launcher.
    """

    def __init__(self, server: ServerProcess | None = None) -> None:
        self._lock = threading.Lock()
        self._server = server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server, and with it every sandbox still running."""
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None

    def start(self) -> None:
        """Start the server now, while there is something else to wait for; launch does it otherwise."""
        with self._lock:
            self._ensure()

    def launch(self, spec: SandboxSpec, *, stdin: int | None = None, stdout: int = PIPE, stderr: int = PIPE,
               pass_fds: Sequence[int] = ()) -> "Sandbox":
        """Run spec.argv; returns once it runs. stdin None: empty. PIPE: read it from Sandbox.outputs[1 or 2].
        pass_fds become 3, 4, … of the command.

        NamespaceError: this host forbids it. UserNotFound. ExecFailed, with .status 126 or 127. SandboxError.
        """
        listeners = network.listen(spec.ports)
        try:
            return self._start(spec, 0, (stdin, stdout, stderr), listeners, pass_fds)
        finally:
            for listener in listeners:
                listener.close()

    def join(self, pid: int, spec: SandboxSpec, *, stdin: int | None = None, stdout: int = PIPE,
             stderr: int = PIPE) -> "Sandbox":
        """Run spec.argv in the running sandbox whose Sandbox.pid is `pid`: of spec, argv, env, cwd, user, tty,
        limits and capabilities count.
        """
        return self._start(spec, pid, (stdin, stdout, stderr), [], ())

    def _start(self, spec: SandboxSpec, target: int, stdio: tuple[int | None, int, int],
               listeners: list[socket.socket], pass_fds: Sequence[int]) -> "Sandbox":
        status, status_inner = wire.pair()
        report, report_inner = wire.pair()
        final = os.memfd_create("iechor-owners", os.MFD_CLOEXEC) if spec.fakeroot is not None else None
        ports = tuple(listener.getsockname()[1] for listener in listeners)
        sandbox = Sandbox(spec, status, report, final, ports)
        ours: list[int] = []
        try:
            fds = [sandbox.inner_fd(stream, given, ours) for stream, given in enumerate(stdio)]
            ours.append(wire.in_memory(spec.to_json()))
            sent = (ours[-1], status_inner.fileno(), report_inner.fileno(), *fds,
                    *(listener.fileno() for listener in listeners), *pass_fds, *([] if final is None else [final]))
            self._send({"join": target, "listeners": len(listeners), "final": final is not None}, sent)
            status_inner.close()
            report_inner.close()
            sandbox.await_start()
            return sandbox
        except BaseException:
            status_inner.close()  # else close() would wait for an end that we hold ourselves
            report_inner.close()
            sandbox.close()
            raise
        finally:
            status_inner.close()
            report_inner.close()
            for fd in ours:
                os.close(fd)

    def _send(self, body: dict[str, object], fds: tuple[int, ...]) -> None:
        with self._lock:
            try:
                wire.send(self._ensure(), body, fds)
            except BrokenPipeError:
                raise SandboxError("cannot start a sandbox: its server was killed") from None

    def _ensure(self) -> socket.socket:
        if self._server is None:
            self._server = ServerProcess()
        return self._server.control


def launch(spec: SandboxSpec, *, stdin: int | None = None, stdout: int = PIPE, stderr: int = PIPE,
           pass_fds: Sequence[int] = ()) -> Sandbox:
    """Launcher.launch with a server of its own."""
    launcher = Launcher()
    try:
        sandbox = launcher.launch(spec, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds)
        return sandbox.when_closed(launcher.close)
    except BaseException:
        launcher.close()
        raise


def join(pid: int, spec: SandboxSpec, *, stdin: int | None = None, stdout: int = PIPE, stderr: int = PIPE) -> Sandbox:
    """Launcher.join with a server of its own."""
    launcher = Launcher()
    try:
        return launcher.join(pid, spec, stdin=stdin, stdout=stdout, stderr=stderr).when_closed(launcher.close)
    except BaseException:
        launcher.close()
        raise


def already_mapped(environ: Mapping[str, str]) -> bool:
    """Whether reexec_mapped made the user namespace we are in (and not: somebody's else, with the mark inherited)."""
    return environ.get(MARKER) == os.readlink("/proc/self/ns/user")


def reexec_mapped(ids: IdMap, helpers: MappingHelpers, argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become root of a new user namespace with `ids`, and exec argv anew in it: same pid, same terminal, so exit code
    and signals need no passing on. Single-threaded callers only, before anything else is begun.

    newuidmap has to be run from the namespace we leave: by a child forked beforehand. Errors: NamespaceError.
    """
    go, go_inner = os.pipe()
    told, told_inner = os.pipe()
    parent = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.close(go_inner)
        os.close(told)
        _map_parent(parent, ids, helpers, go, told_inner)
    os.close(go)
    os.close(told_inner)
    try:
        linux.unshare(linux.CLONE_NEWUSER)
    except OSError as error:
        os.close(go_inner)
        os.waitpid(helper, 0)
        from .causes import userns_cause

        found = userns_cause(error.errno or 0)
        raise NamespaceError(f"cannot make a user namespace: {found.text}", hint=found.remedy) from None
    os.write(go_inner, b"1")
    os.close(go_inner)
    with open(told, "rb") as stream:
        answer = stream.read()
    os.waitpid(helper, 0)
    if answer:
        raise NamespaceError(f"cannot map a range of ids: {answer.decode(errors='replace').strip()}",
                             hint="compare /etc/subuid and /etc/subgid with `iechor doctor`, or use "
                                  "--userns=fakeroot")
    # The supplementary groups stay: they may be what opens the build context to the user.
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.execve(argv[0], list(argv), {**environ, MARKER: os.readlink("/proc/self/ns/user")})


def _map_parent(pid: int, ids: IdMap, helpers: MappingHelpers, go: int, told: int) -> NoReturn:
    """The helper of reexec_mapped, in the namespace left behind, the user's uid. What it writes is what went wrong."""
    try:
        if os.read(go, 1):
            for program, extents in ((helpers.newuidmap, ids.uids), (helpers.newgidmap, ids.gids)):
                numbers = [str(number) for item in extents for number in (item.inside, item.outside, item.count)]
                done = subprocess.run([program, str(pid), *numbers], capture_output=True, check=False)
                if done.returncode:
                    os.write(told, done.stderr or f"{program} failed".encode())
                    break
    finally:
        os._exit(0)
