"""`iechor run`, top to bottom.

    image ──────────── store, or pulled
    container ──────── an id, a name, a folder below scratch; a root file system that leaves the image unchanged
    SandboxSpec ────── the image's config and the request, merged
    Watch ──────────── in this process (foreground) or in a monitor that stays (-d)

Whatever fails before the application runs leaves no container behind.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .config import Settings
from .containers.console import SignalProxy
from .containers.folders import Containers
from .containers.names import SHOWN, check_name, new_id, new_name
from .containers.options import (
    HostEntry,
    Network,
    PublishedPort,
    PullPolicy,
    TmpfsMount,
    Ulimit,
    Volume,
    signal_number,
)
from .containers.plumbing import Streams
from .containers.process import merge
from .containers.specs import anonymous_targets, asked_mounts, base_mounts, limits_of, ports_of
from .containers.state import Container, ContainerConfig, write_private
from .containers.watch import Watch
from .errors import ContainerError, ImageNotFound, UsageError
from .events import Emit, Notice
from .oci.platform import Platform, host_platform
from .paths import image_path
from .sandbox.detour import proot_instead
from .sandbox.failures import ExecFailed
from .sandbox.idmap import IdMode
from .sandbox.launcher import Launcher
from .sandbox.serving import ServerProcess
from .sandbox.spec import Network as SandboxNetwork
from .sandbox.spec import SandboxSpec
from .sandbox.wire import write_all
from .scratch.rootfs import Rootfs
from .scratch.scratch import Scratch
from .store.images import Image
from .store.store import Store
from .tree.node import Directory
from .tree.tree import Tree
from .values import dataclass, field, replace

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What `iechor run` was asked; every value is parsed already (containers/options.py has the parsers).

    env: "K=V" only. network None: the host's, private with `ports`. caller: where relative `volumes` begin.
    """

    image: str
    command: tuple[str, ...] = ()
    entrypoint: str | None = None
    env: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    remove: bool = False
    init: bool = False
    read_only: bool = False
    no_new_privileges: bool = False
    confined: bool = True
    name: str | None = None
    hostname: str | None = None
    network: Network | None = None
    ports: tuple[PublishedPort, ...] = ()
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    hosts: tuple[HostEntry, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: int | None = None
    timeout: float | None = None
    pull: PullPolicy = PullPolicy.MISSING
    platform: Platform | None = None
    cidfile: Path | None = None
    caller: Path = Path("/")


def run(request: RunRequest, store: Store, scratch: Scratch, settings: Settings, *, emit: Emit,
        server: ServerProcess | None = None, clock: Callable[[], float] = time.time) -> int:
    """The application's exit code; with -d, 0 once it runs, and its id on standard output. server: of the sandbox, in
    the foreground.

    Errors: UsageError, ImageNotFound and what a pull raises, ContainerError, NamespaceError, SandboxError,
    ExecFailed (its exit_code is 126 or 127), DiskFull.
    """
    check(request, emit)
    image = find_image(request, store, settings, emit)
    if scratch.fallback is not None:
        emit(Notice(text=scratch.fallback))
    containers = Containers(scratch.places.containers)
    try:
        with new_container(request, containers) as (container_id, name):
            config = describe(request, image, container_id, name, created=clock())
            spec = around(prepare(request, config, image, store, scratch), scratch.places.mode, emit)
            container = containers.publish(config)
            if request.cidfile is not None:
                request.cidfile.write_text(container_id)
            if not request.detach:
                return stand_by(containers, container, spec, Launcher(server), emit, clock)
            notices = stay(container, spec)
    except ExecFailed as error:
        error.exit_code = error.status
        raise
    for notice in notices:  # it runs: an interruption from here on leaves it alone
        emit(Notice(text=notice))
    write_all(1, f"{container_id}\n".encode())
    return 0


def check(request: RunRequest, emit: Emit) -> None:
    """What can be refused before anything is done. Errors: ContainerError, UsageError."""
    if request.name is not None:
        check_name(request.name)
    if request.cidfile is not None and request.cidfile.exists():
        raise ContainerError(f"cannot write the id to {request.cidfile}: the file exists",
                             hint="remove it, or name another --cidfile")
    if request.ports and request.network is Network.NONE:
        raise UsageError("cannot publish a port of a container without a network", hint="leave out --network=none")
    if request.ports and request.network is Network.HOST:
        emit(Notice(text="published ports mean nothing with --network=host: the application has the host's own ports",
                    level="warning"))


def find_image(request: RunRequest, store: Store, settings: Settings, emit: Emit) -> Image:
    """By --pull. Errors: ImageNotFound and what a pull raises."""
    wanted = request.platform or host_platform()
    found = None
    if request.pull is not PullPolicy.ALWAYS:
        found = store.images.find(request.image, default_registry=settings.default_registry)
        if found is not None and request.platform and not request.platform.matches(found.config.platform):
            if named_by_id(request, found):
                raise ImageNotFound(f"cannot run {request.image} as {request.platform}: it is for "
                                    f"{found.config.platform}", hint="leave out --platform, or name another image")
            found = None
    if found is not None:
        return found
    if request.pull is PullPolicy.NEVER:
        raise ImageNotFound(f"cannot run {request.image}: it is not in the store, and --pull=never forbids to fetch it",
                            hint=f"fetch it: iechor pull {request.image}")
    from . import catalog  # late: the registry's code is not needed for an image that is here

    return catalog.pull(request.image, store, settings, platform=wanted, emit=emit)


def named_by_id(request: RunRequest, image: Image) -> bool:
    return image.id.hex.startswith(request.image.removeprefix("sha256:"))


@contextmanager
def new_container(request: RunRequest, containers: Containers) -> Iterator[tuple[str, str]]:
    """(id, name), both ours alone. An error inside removes every trace. Errors: ContainerError."""
    container_id = new_id()
    for attempt in range(_ATTEMPTS):
        name = request.name or new_name() + (f"{attempt}" if attempt else "")
        try:
            containers.reserve(container_id, name)
            break
        except ContainerError:
            if request.name or attempt == _ATTEMPTS - 1:
                raise
    try:
        yield container_id, name
    except BaseException:
        containers.discard(container_id, name)
        if request.cidfile is not None:
            request.cidfile.unlink(missing_ok=True)
        raise


def describe(request: RunRequest, image: Image, container_id: str, name: str, *,
             created: float) -> ContainerConfig:
    """What becomes of the image's config under this request. Errors: UsageError."""
    defaults = image.config.config
    network = request.network or (Network.PRIVATE if request.ports else Network.HOST)
    hostname = request.hostname or (os.uname().nodename if network is Network.HOST else container_id[:SHOWN])
    process = merge(defaults, entrypoint=request.entrypoint, command=request.command, env=request.env,
                    workdir=request.workdir, user=request.user, hostname=hostname, tty=request.tty)
    stop = signal_number(defaults.stop_signal) if defaults.stop_signal else signal.SIGTERM
    return ContainerConfig(
        id=container_id, name=name, image=image.id.hex[:SHOWN] if named_by_id(request, image) else request.image,
        image_id=str(image.id), command=process.argv,
        created=created, env=process.env, cwd=process.cwd, user=process.user, hostname=hostname, tty=request.tty,
        interactive=request.interactive, remove=request.remove, stop_signal=request.stop_signal or int(stop),
        timeout=request.timeout, network=network.value, labels={**defaults.labels, **request.labels},
        ports=request.ports if network is Network.PRIVATE else ())


def prepare(request: RunRequest, config: ContainerConfig, image: Image, store: Store,
            scratch: Scratch) -> SandboxSpec:
    """Everything the sandbox may know. Errors: ContainerError, DiskFull, UnsafeArchive."""
    network = Network(config.network)
    with scratch.container_rootfs(config.id, image.layers, store) as rootfs:
        anonymous = anonymous_volumes(request, image, store, rootfs)
        return SandboxSpec(
            root=str(rootfs.root), ids=rootfs.ids, argv=config.command, env=config.env, cwd=config.cwd,
            user=config.user,
            mounts=(*rootfs.mounts, *base_mounts(config.hostname, config.name, network, request.hosts),
                    *asked_mounts(request.volumes, request.tmpfs, anonymous, request.caller)),
            # Syncs are really done: what a container writes to a volume has to last.
            fakeroot=rootfs.fakeroot and replace(rootfs.fakeroot, fsync=True),
            hostname="" if network is Network.HOST and not request.hostname else config.hostname,
            network=SandboxNetwork(network.value), ports=ports_of(config.ports), limits=limits_of(request.ulimits),
            init=request.init, tty=request.tty, read_only=request.read_only,
            size=size_of_terminal() if request.tty and not request.detach else (),
            no_new_privileges=request.no_new_privileges, confined=request.confined)


def size_of_terminal() -> tuple[int, ...]:
    """Of the caller's, as the sandbox takes it."""
    from .sandbox.terminal import size_of

    return size_of(1, 0)


def around(spec: SandboxSpec, mode: IdMode, emit: Emit) -> SandboxSpec:
    """Where a plain user can have no namespace: proot, if it is installed. No owner of a layer is at stake here."""
    program = proot_instead(mode)
    if not program:
        return spec
    emit(Notice(text="user namespaces are not allowed here: proot shows the container its files, all as root's; "
                     "network and processes are this machine's, and nothing keeps it from what you can reach yourself",
                level="warning"))
    return replace(spec, proot=program, fakeroot=None)


def anonymous_volumes(request: RunRequest, image: Image, store: Store, rootfs: Rootfs) -> list[tuple[str, Path]]:
    """VOLUMEs, and `-v TARGET`: (target, folder) of those that need a mount.

    The root file system is the container's own, begins with the image's content and goes with the container: all that
    a volume without a name promises. So one that the image has a folder for stays there, where the fakeroot supervisor
    knows its owners; under --read-only it is mounted on itself, since the mounts below stay writable. Others get a
    fresh folder.
    """
    targets = anonymous_targets(image.config.config.volumes, request.volumes, request.tmpfs)
    found = []
    tree = store.trees.load(image.layers) if targets else Tree.empty()
    for number, target in enumerate(targets):
        place = tree.resolve(image_path(target))
        if not isinstance(tree.lookup(place), Directory):
            folder = rootfs.folder.parent / "volumes" / str(number)
            folder.mkdir(parents=True)
            found.append((target, folder))
        elif request.read_only:
            found.append((target, rootfs.root / place))  # a path of the image, its symlinks gone
    return found


def stay(container: Container, spec: SandboxSpec) -> tuple[str, ...]:
    """-d: hands the container over to a monitor of its own. → what the user should know."""
    from .containers import monitor

    write_private(container.folder / "spec.json", spec.to_json())
    return monitor.start(container)


def stand_by(containers: Containers, container: Container, spec: SandboxSpec, launcher: Launcher, emit: Emit,
             clock: Callable[[], float]) -> int:
    """Foreground: this process watches the container, with our own streams and signals."""
    def started(notices: tuple[str, ...]) -> None:
        for notice in notices:
            emit(Notice(text=notice))

    if container.config.tty and container.config.interactive and not os.isatty(0):
        emit(Notice(text="standard input is not a terminal: what it holds is typed into the container's",
                    level="warning"))
    with SignalProxy(warn=say) as proxy:
        watch = Watch(containers, container, proxy, launcher, clock=clock)
        return watch.run(spec, Streams(stdin=0, stdout=1, stderr=2), started)


def say(text: str) -> None:
    """From a signal handler: no renderer, no lock."""
    os.write(2, f"iechor: {text}\n".encode())
