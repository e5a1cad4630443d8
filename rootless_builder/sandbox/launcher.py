"""The launcher's half of the sandbox: one server for many steps, and a handle for each.

    with Launcher() as launcher:                      # a build: the server starts with the first step
        sandbox = launcher.launch(spec)               # returns once the command runs, or raises
        status = supervise(sandbox, on_output=…)

`launch(spec)` alone is for one sandbox; its server ends with it. `reexec_mapped` is how --userns=subuid begins.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from ..errors import NamespaceError, SandboxError
from . import linux, network, wire
from .failures import cause, decode
from .idmap import IdMap, IdMode, MappingHelpers, map_text
from .spec import ExitStatus, Network, Port, SandboxSpec, Usage

PIPE = -1
BOOT = "import sys; sys.path[:0] = sys.argv[2:]; from rootless_builder.sandbox.child import main; main(int(sys.argv[1]))"
MARKER = "_IECHOR_USERNS"


class Launcher:
    """Starts the server with the first launch, from whichever thread; may be used by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server, and with it every sandbox still running."""
        with self._lock:
            if self._control is not None and self._server is not None:
                self._control.close()
                self._server.wait()
            self._control = self._server = None

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
        if self._control is None:
            self._control, inner = wire.pair()
            # -I, -S and no environment: nothing of the caller's may end up in the container's /proc, or decide what
            # is imported. The server has its own session, so that a terminal's Ctrl-C is the launcher's alone.
            paths = [str(Path(__file__).parents[2]), *(path for path in sys.path if os.path.isabs(path))]
            self._server = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", BOOT, str(inner.fileno()), *paths],
                pass_fds=(inner.fileno(),), stdin=subprocess.DEVNULL, env={}, start_new_session=True)
            inner.close()
        return self._control


class Sandbox:
    """A running command. pid: P1, the process to `join`. init_pid: pid 1 inside. outputs: stream → fd to read, for
    PIPEs. master: the terminal's other end. created: mount points made in the root, as image paths. notices: what
    the user should know. ports: the host's ports as bound.
    """

    def __init__(self, spec: SandboxSpec, status: socket.socket, report: socket.socket, final: int | None,
                 ports: tuple[int, ...]) -> None:
        self.spec = spec
        self.pid = 0
        self.init_pid = 0
        self.pidfd: int | None = None
        self.outputs: dict[int, int] = {}
        self.master: int | None = None
        self.created: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self.ports: tuple[Port, ...] = tuple(
            Port(host_ip=port.host_ip, host_port=number, container_port=port.container_port)
            for port, number in zip(spec.ports, ports, strict=False))
        self._init_pidfd: int | None = None
        self._status = status
        self._report: socket.socket | None = report
        self._final = final
        self._exit: ExitStatus | None = None
        self._ended = False
        self._outbound: network.Outbound | None = None
        self._owned: Launcher | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def inner_fd(self, stream: int, given: int | None, ours: list[int]) -> int:
        """The child's fd for 0, 1 or 2: what was given, nothing, or a pipe."""
        if self.spec.tty or given is None:
            ours.append(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        elif given == PIPE:
            self.outputs[stream], inner = os.pipe2(os.O_CLOEXEC)
            ours.append(inner)
        else:
            return given
        return ours[-1]

    def await_start(self) -> None:
        """Until the command runs, which is when the report socket ends."""
        assert self._report is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._report, selectors.EVENT_READ)
            selector.register(self._status, selectors.EVENT_READ)
            while self._report is not None:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._report in ready:
                    self._read_report(selector)
                elif not self._read_status():
                    selector.unregister(self._status)
        while not self.init_pid and self._read_status():  # sent before P2 could exec
            pass
        if self._ended and self._exit is None:
            raise SandboxError("cannot start the command: the sandbox was killed")

    def _read_report(self, selector: selectors.BaseSelector) -> None:
        assert self._report is not None
        message = wire.receive(self._report)
        if message is None:
            selector.unregister(self._report)
            self._report.close()
            self._report = None
            return
        if "error" in message.body:
            raise decode(message.body["error"])
        if "master" in message.body:
            self.master = message.fds[0]
        if "created" in message.body:
            self.created = tuple(message.body["created"])
            self.notices += tuple(message.body["notices"])

    def _read_status(self) -> bool:
        """One message of P1. False at its end."""
        message = wire.receive(self._status)
        if message is None:
            self._ended = True
            return False
        body = message.body
        if "pid" in body:
            self.pid, self.pidfd = body["pid"], next(iter(message.fds), None)
        elif "init" in body:
            self.init_pid, self._init_pidfd = body["init"], next(iter(message.fds), None)
        elif "unshared" in body:
            self._map_ids()
            self._connect()
            wire.send(self._status, {"go": True})
        elif "exit" in body:
            self._exit = exit_status(body["exit"], body["usage"])
        return True

    def _map_ids(self) -> None:
        ids = self.spec.ids
        if ids is None or ids.mode is not IdMode.SUBUID:
            return
        try:
            Path(f"/proc/{self.pid}/uid_map").write_text(map_text(ids.uids))
            Path(f"/proc/{self.pid}/gid_map").write_text(map_text(ids.gids))
        except OSError as error:
            raise NamespaceError(f"cannot map ids into the sandbox: {cause(error)}") from error

    def _connect(self) -> None:
        if self.spec.network is not Network.PRIVATE:
            return
        self._outbound = network.start_outbound(self.pid)
        if self._outbound is None:
            self.notices += ("the container reaches nothing outside: a private network needs slirp4netns and "
                             f"access to {network.TUN} for that",)

    def poll(self) -> ExitStatus | None:
        """How the command ended, None while it runs. Not None: every process of it is dead, its mounts are gone."""
        return self.wait(timeout=0)

    def wait(self, timeout: float | None = None) -> ExitStatus | None:
        """Like poll, after at most `timeout` seconds. A sandbox killed from outside counts as ended by SIGKILL."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._status, selectors.EVENT_READ)
            while not self._ended:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not selector.select(left):
                    return None
                self._read_status()
        if self.pidfd is not None:  # P1's fds close before its mount namespace goes; the pidfd tells when all is gone
            with selectors.DefaultSelector() as selector:
                selector.register(self.pidfd, selectors.EVENT_READ)
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not selector.select(left):
                    return None
        if self._exit is None:
            self._send_signal(self._init_pidfd, signal.SIGKILL)
            self._exit = exit_status(signal.SIGKILL, None)
        return self._exit

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal pid 1 inside. SIGKILL ends every process; another one counts only if pid 1 has a handler for it."""
        if not self._ended:
            self._send_signal(self._init_pidfd, number) or self._send_signal(self.pidfd, signal.SIGKILL)

    def _send_signal(self, pidfd: int | None, number: int) -> bool:
        if pidfd is None:
            return False
        try:
            linux.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass
        return True

    def close(self) -> None:
        """Kill what still runs and give everything back. May be called twice."""
        if self._report is not None:
            self._report.close()
            self._report = None
        if self._status.fileno() >= 0:
            while not self._ended and not self.pid:
                self._read_status()
            if self._exit is None:
                self.kill()
            self.wait()
            self._status.close()
        if self._outbound is not None:
            self._outbound.close()
        for fd in (*self.outputs.values(), self.master, self.pidfd, self._init_pidfd, self._final):
            if fd is not None:
                os.close(fd)
        self.outputs = {}
        self.master = self.pidfd = self._init_pidfd = self._final = self._outbound = None
        if self._owned is not None:
            self._owned.close()

    def final_table(self) -> bytes | None:
        """The fakeroot supervisor's last owner table, once the command has ended; None without a supervisor."""
        if self._final is None:
            return None
        return os.pread(self._final, os.fstat(self._final).st_size, 0)

    def own(self, launcher: Launcher) -> Self:
        """End this launcher when the sandbox is closed."""
        self._owned = launcher
        return self


def exit_status(raw: int, usage: Sequence[float] | None) -> ExitStatus:
    """From a status as waitpid gives it, and (user s, system s, KiB)."""
    used = None if usage is None else Usage(user_seconds=usage[0], system_seconds=usage[1],
                                            peak_memory=int(usage[2]) * 1024)
    if os.WIFSIGNALED(raw):
        return ExitStatus(code=128 + os.WTERMSIG(raw), signal=os.WTERMSIG(raw), usage=used)
    return ExitStatus(code=os.WEXITSTATUS(raw), usage=used)


def launch(spec: SandboxSpec, *, stdin: int | None = None, stdout: int = PIPE, stderr: int = PIPE,
           pass_fds: Sequence[int] = ()) -> Sandbox:
    """Launcher.launch with a server of its own."""
    launcher = Launcher()
    try:
        return launcher.launch(spec, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds).own(launcher)
    except BaseException:
        launcher.close()
        raise


def join(pid: int, spec: SandboxSpec, *, stdin: int | None = None, stdout: int = PIPE, stderr: int = PIPE) -> Sandbox:
    """Launcher.join with a server of its own."""
    launcher = Launcher()
    try:
        return launcher.join(pid, spec, stdin=stdin, stdout=stdout, stderr=stderr).own(launcher)
    except BaseException:
        launcher.close()
        raise


def already_mapped(environ: Mapping[str, str]) -> bool:
    """Whether reexec_mapped made the user namespace we are in (and not: somebody's else, with the mark inherited)."""
    return environ.get(MARKER) == os.readlink("/proc/self/ns/user")


def reexec_mapped(ids: IdMap, helpers: MappingHelpers, argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become root of a new user namespace with `ids`, and exec argv anew in it: same pid, same terminal, so exit code
    and signals need no passing on. Single-threaded callers only, before anything else is begun.

    newuidmap has to be run from the namespace we leave: by a child forked beforehand.
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
        raise NamespaceError(f"cannot make a user namespace: {error.strerror}",
                             hint="Run `iechor doctor`: it tells which setting of this host forbids it.") from None
    os.write(go_inner, b"1")
    os.close(go_inner)
    with open(told, "rb") as stream:
        answer = stream.read()
    os.waitpid(helper, 0)
    if answer:
        raise NamespaceError(f"cannot map a range of ids: {answer.decode(errors='replace').strip()}",
                             hint="Compare /etc/subuid and /etc/subgid with `iechor doctor`, or use "
                                  "--userns=fakeroot.")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.setgroups([])
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
