"""RUN: the one place of a build where the model and a process meet.

    layers ──scratch──▶ root file system ──sandbox──▶ the command runs; its output goes to events and to a log
                                  └──────── what it left changed ──────▶ ChangeSet
"""

import os
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Self

from ..errors import IechorError, Interrupted, NamespaceError, StepFailed
from ..events import Emit, Notice, StepOutput
from ..paths import image_path
from ..plan.lower_run import PIPES
from ..plan.steps import RunStep
from ..sandbox.detour import with_detour
from ..sandbox.failures import ExecFailed
from ..sandbox.handle import Sandbox
from ..sandbox.mounts import FileBind, Mount, standard
from ..sandbox.privileges import CAPABILITIES
from ..sandbox.spec import DEFAULT_CAPABILITIES, ExitStatus, Limit, Network, SandboxSpec
from ..sandbox.supervise import supervise
from ..scratch.rootfs import Rootfs
from ..scratch.scratch import Scratch
from ..tree.changes import ChangeSet
from .foreign import of_interpreter
from .ownerloss import Losses, emulation, tell_losses
from .runmounts import Attached, attached
from .runsettings import RunSettings
from .world import StageState, World

LAST_LINES = 20
LOG_LIMIT = 64 << 20  # bytes of output that the log file keeps
HOSTNAME = "iechor"
NETWORKS = {"default": Network.HOST, "host": Network.HOST, "none": Network.NONE, "private": Network.PRIVATE}


@contextmanager
def run_step(step: RunStep, state: StageState, world: World, *,
             number: int) -> Iterator[tuple[ChangeSet, Rootfs]]:
    """What the command changed, and the root file system it did so in: it ends with the context, and contents are
    read from it. `Rootfs.adopt` then saves the next step from unpacking the layer again.

    Errors: StepFailed with the command's last lines; NamespaceError, SandboxError, OwnershipError, DiskFull; why the
    layer that it begins on could not be written."""
    settings, emit, late = world.run, world.emit, state.late
    scratch = settings.scratch()
    tell_grants(step, world)
    with ExitStack() as mounting, mounted_on(state, scratch, world, mounting) as rootfs:
        # Caches are given back as soon as the command has ended: others may be waiting for them.
        with attached(step, state.layers, world, scratch) as more, StepLog(settings.logs, emit, number) as log, \
                started(step, spec_of(step, rootfs, settings, more), settings, more) as sandbox, \
                world.schedule.stopping(sandbox.kill):
            mounting.close()
            for text in sandbox.notices:
                emit(Notice(text=text))
            with late.stopping(sandbox.kill) if late is not None else nullcontext():
                status = supervise(sandbox, on_output=log.write)
            world.schedule.check()  # it may have been killed, because another step failed
            if late is not None:
                late.check()
            if status.code:
                raise failed(step, status, log)
            table = None if settings.lose_owners else sandbox.final_table()
            lost = sandbox.lost_owners() if settings.lose_owners else None
        changes = rootfs.changes(table, created=sandbox.created)
        if settings.lose_owners and rootfs.fakeroot is not None:
            tell_losses(changes, rootfs, Losses(seen=lost, folder=settings.logs, emit=emit))
        yield changes, rootfs


def mounted_on(state: StageState, scratch: Scratch, world: World, mounting: ExitStack) -> Rootfs:
    """mounting: ends when the sandbox has mounted it. Errors: as `Scratch.rootfs`."""
    top = None if state.late is None else mounting.enter_context(state.late.staying())
    return scratch.rootfs(state.layers, world.store, top=top)


def tell_grants(step: RunStep, world: World) -> None:
    """What the command gets that others do not, or lacks."""
    if step.devices:
        from .devices import named  # most builds have none

        for device in step.devices:
            given, lacking = named(device, world.run.devices)
            if not given:
                world.emit(Notice(level="warning", text=f"RUN --device={device.name}: the command runs without: "
                                                        f"{lacking}"))
    if step.insecure:
        world.emit(Notice(text="--security=insecure: the command has every capability in its sandbox, and on this host "
                               "no more rights than you"))


@contextmanager
def started(step: RunStep, spec: SandboxSpec, settings: RunSettings, more: Attached) -> Iterator[Sandbox]:
    """However the command ends, what became of the owners in its caches is kept."""
    more.run()
    with launched(step, spec, settings, more) as sandbox:
        try:
            yield sandbox
        finally:
            sandbox.end()
            more.keep(sandbox.final_mount_tables())


def launched(step: RunStep, spec: SandboxSpec, settings: RunSettings, more: Attached) -> Sandbox:
    """A command that cannot be started is a step that failed, like one that ends with an error. Errors: StepFailed."""
    try:
        return settings.launcher().launch(spec)
    except Interrupted:
        raise  # the command may have begun
    except IechorError as error:
        more.keep(None)
        if isinstance(error, ExecFailed):
            raise StepFailed(error.message, hint=of_interpreter(step.image.platform) or error.hint,
                         span=step.shown.span) from error
        if isinstance(error, NamespaceError) and not settings.proot:
            raise with_detour(error) from None
        raise


def spec_of(step: RunStep, rootfs: Rootfs, settings: RunSettings, more: Attached) -> SandboxSpec:
    """A mount comes after those it lies in; of two for one place the more special one is made."""
    network = step.network if step.network != "default" else settings.network
    mounts: dict[str, Mount] = {}
    for mount in (*base_mounts(step, settings), *settings.binds, *more.mounts):
        mounts[image_path(mount.target)] = mount
    outer_first = sorted(mounts.values(), key=lambda mount: image_path(mount.target).count("/"))
    return SandboxSpec(
        root=str(rootfs.root), mounts=(*rootfs.mounts, *outer_first), argv=step.argv,
        env=(*step.env, *step.proxies, *more.env), cwd=step.cwd, make_cwd=True, user=step.user, ids=rootfs.ids,
        hostname=settings.hostname or HOSTNAME,
        network=NETWORKS[network], init=True, limits=limits_of(settings),
        capabilities=tuple(CAPABILITIES) if step.insecure else DEFAULT_CAPABILITIES, confined=not step.insecure,
        scoped=not step.insecure,
        given=() if settings.lose_owners else tuple(more.given),
        fakeroot=None if settings.proot else emulation(rootfs, lose_owners=settings.lose_owners), proot=settings.proot)


def limits_of(settings: RunSettings) -> tuple[Limit, ...]:
    """No core files unless they are asked for: one would end in the layer, secrets of the step in it."""
    asked = settings.limits
    return asked if any(one.name == "core" for one in asked) else (Limit(name="core", soft=0, hard=0), *asked)


def base_mounts(step: RunStep, settings: RunSettings) -> tuple[Mount, ...]:
    """What every RUN has, and its heredoc script."""
    added = "".join(f"{address}\t{name}\n" for name, address in settings.add_hosts)
    own = f"127.0.0.1\tlocalhost {settings.hostname or HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    mounts = standard(resolv_conf=settings.resolv_conf, hosts=own + settings.hosts + added, shm_size=settings.shm_size)
    if step.script is None:
        return mounts
    text = step.script.data.decode("utf-8", "surrogateescape")
    return (*mounts, FileBind(content=text, target=f"{PIPES}/{step.script.name}", mode=0o755, read_only=True))


def failed(step: RunStep, status: ExitStatus, log: "StepLog") -> StepFailed:
    how = f"was killed by signal {status.signal}" if status.signal else f"ended with exit code {status.code}"
    shown = step.argv[-1] if len(step.argv) == 3 and step.argv[1] == "-c" else " ".join(step.argv)
    first, _, more = shown.strip().partition("\n")
    lines = log.last_lines()
    notes = (*([f"its last {len(lines)} lines:"] if lines else []), *(f"  {line}" for line in lines),
             f"the whole output: {log.keep()}")
    return StepFailed(f"cannot run `{first}{' …' if more else ''}`: it {how}", span=step.shown.span, notes=notes)


class StepLog:
    """Everything a step writes: to the renderer as it comes, and its first LOG_LIMIT bytes to a file that stays
    when the step fails.
    """

    def __init__(self, folder: Path, emit: Emit, number: int) -> None:
        self._emit = emit
        self._number = number
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self._rest = b""
        self._size = 0
        folder.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f"step-{number}-", suffix=".log", dir=folder)
        self.path = Path(name)
        self._fd = fd
        self._kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)
        if not self._kept:
            self.path.unlink(missing_ok=True)

    def write(self, stream: int, data: bytes) -> None:
        self._emit(StepOutput(step=self._number, stream=stream, data=data))
        if self._size < LOG_LIMIT:
            os.write(self._fd, data[: LOG_LIMIT - self._size])
        self._size += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._last.extend(line[-1000:] for line in lines)
        self._rest = self._rest[-1000:]

    def last_lines(self) -> list[str]:
        lines = [*self._last, *([self._rest] if self._rest else [])][-LAST_LINES:]
        return [line.decode("utf-8", "replace") for line in lines]

    def keep(self) -> Path:
        self._kept = True
        if self._size > LOG_LIMIT:
            said = f"\n[iechor: {self._size - LOG_LIMIT} bytes more are left out; the end:]\n"
            os.write(self._fd, "\n".join([said, *self.last_lines(), ""]).encode())
        return self.path
