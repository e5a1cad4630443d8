"""`iechor run` and the commands on containers: options → request → flow → what is printed, and the exit code."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ContainerError, IechorError, UnsupportedError, UsageError
from ..values import asdict
from .call import Call, env_lines, environment, pair

if TYPE_CHECKING:
    from ..config import Settings
    from ..containers.control import Listed
    from ..containers.state import Container
    from ..run import RunRequest
    from ..sandbox.serving import ServerProcess

UNCONFINED = "seccomp=unconfined"
NETWORKS = {"default": None, "bridge": "private"}


def run(call: Call) -> int:
    settings = call.settings()
    scratch = call.scratch(settings)  # before anything is begun: in subuid mode all begins anew here
    with server_ahead(call) as server:
        from .. import run as flow

        wanted = request(call)
        with call.store(settings) as store, call.showing() as emit:
            return flow.run(wanted, store, scratch(), settings, emit=emit, server=server, clock=time.time)


def server_ahead(call: Call) -> "AbstractContextManager[ServerProcess | None]":
    """The sandbox's server, which gets ready while we do; a container in the background has one of its own."""
    if call.options.detach:
        return nullcontext()
    from ..sandbox.serving import ServerProcess

    return ServerProcess()


def request(call: Call) -> "RunRequest":
    """Errors: UsageError, UnsupportedError."""
    from ..containers.options import (
        HostEntry,
        Network,
        PublishedPort,
        PullPolicy,
        TmpfsMount,
        Ulimit,
        Volume,
        signal_number,
    )
    from ..oci.platform import Platform
    from ..run import RunRequest

    options = call.options
    network = NETWORKS.get(options.network, options.network)
    return RunRequest(
        image=options.image, command=tuple(options.arguments), entrypoint=options.entrypoint, env=_env(call),
        workdir=options.workdir, user=options.user, interactive=options.interactive, tty=options.tty,
        detach=options.detach, remove=options.rm, init=options.init, read_only=options.read_only,
        no_new_privileges=_no_new_privileges(options.security_opt), confined=UNCONFINED not in options.security_opt,
        name=options.name, hostname=options.hostname,
        network=Network(network) if network else None,
        ports=tuple(port for text in options.publish for port in PublishedPort.parse(text)),
        volumes=tuple(Volume.parse(text) for text in options.volume),
        tmpfs=tuple(TmpfsMount.parse(text) for text in options.tmpfs),
        ulimits=tuple(Ulimit.parse(text) for text in options.ulimit),
        hosts=tuple(HostEntry.parse(text) for text in options.add_host),
        labels=dict(pair(text, "--label") for text in options.label),
        stop_signal=signal_number(options.stop_signal) if options.stop_signal else None, timeout=options.timeout,
        pull=PullPolicy(options.pull), platform=Platform.parse(options.platform) if options.platform else None,
        cidfile=Path(options.cidfile).absolute() if options.cidfile else None, caller=Path.cwd())


def _env(call: Call) -> tuple[str, ...]:
    files = [entry for path in call.options.env_file for entry in env_lines(path, call.environ, "--env-file")]
    return (*files, *environment(call.options.env, call.environ, "--env"))


def _no_new_privileges(values: list[str]) -> bool:
    asked = [value for value in values if value != UNCONFINED]
    for value in asked:
        if value not in ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"):
            raise UnsupportedError(f"cannot carry out --security-opt {value}: this release does not do it yet",
                                   hint=f"no-new-privileges and {UNCONFINED} are those it knows")
    return bool(asked)


def execute(call: Call) -> int:
    from ..containers.execute import ExecRequest
    from ..containers.execute import execute as flow
    from ..containers.plumbing import Streams

    options = call.options
    if not options.arguments:
        raise UsageError("cannot run nothing: the command is missing", hint="write iechor exec CONTAINER COMMAND")
    asked = ExecRequest(container=options.container, command=tuple(options.arguments), env=_env(call),
                        workdir=options.workdir, user=options.user, interactive=options.interactive, tty=options.tty,
                        detach=options.detach)
    return flow(call.containers(call.settings()), asked, Streams(stdin=0, stdout=1, stderr=2))


def ps(call: Call) -> int:
    from ..containers.control import list_containers
    from . import tables

    listed = list_containers(call.containers(call.settings()), all=call.options.all)
    whole = call.options.no_trunc
    if call.options.quiet:
        shown = [one.container.id if whole else one.container.id[:12] for one in listed]
        print(*shown, sep="\n", end="\n" if shown else "")
        return 0
    columns = {"CONTAINER ID": "ID", "IMAGE": "Image", "COMMAND": "Command", "CREATED": "RunningFor",
               "STATUS": "Status", "PORTS": "Ports", "NAMES": "Names"}
    rows = [container_row(one, time.time(), whole=whole) for one in listed]
    print(*tables.show(rows, columns, call.options.format), sep="\n")
    return 0


def container_row(one: "Listed", now: float, *, whole: bool) -> dict[str, Any]:
    from ..containers.control import status_text
    from . import tables

    config, state = one.container.config, one.state
    command = " ".join(config.command)
    if not whole and len(command) > 20:
        command = command[:19] + "…"
    return {"ID": config.id if whole else config.id[:12], "Image": config.image, "ImageID": config.image_id,
            "Command": f'"{command}"', "CreatedAt": moment(config.created),
            "RunningFor": tables.age(now - config.created),
            "Status": status_text(state, now), "State": state.status.value,
            "Ports": ", ".join(map(str, state.ports or config.ports)), "Names": config.name,
            "ExitCode": state.exit_code, "Pid": state.init.pid if state.init else 0, "Labels": dict(config.labels)}


def described(container: "Container") -> dict[str, Any]:
    """A container for `iechor inspect`, in docker's shape."""
    config, state = container.config, container.state()
    return {"Id": config.id, "Name": config.name, "Created": moment(config.created), "Image": config.image_id,
            "ImageName": config.image,
            "State": {"Status": state.status.value, "Running": state.status.value == "running",
                      "Pid": state.init.pid if state.init else 0, "ExitCode": state.exit_code,
                      "StartedAt": moment(state.started), "FinishedAt": moment(state.finished)},
            "Config": {"Cmd": list(config.command), "Env": list(config.env), "WorkingDir": config.cwd,
                       "User": config.user, "Tty": config.tty, "StopSignal": config.stop_signal,
                       "Labels": dict(config.labels)},
            "HostConfig": {"NetworkMode": config.network, "AutoRemove": config.remove},
            "Ports": [asdict(port) for port in state.ports or config.ports], "LogPath": str(container.log)}


def moment(seconds: float) -> str:
    """RFC 3339, UTC; that of year 1 for what has not happened yet, as docker says it."""
    from datetime import UTC, datetime

    found = datetime.fromtimestamp(seconds, UTC) if seconds else datetime.min
    return found.replace(tzinfo=None).isoformat(timespec="microseconds" if seconds else "seconds") + "Z"


def logs(call: Call) -> int:
    from ..containers.logs import LogsRequest, parse_since, show_logs

    options = call.options
    if options.tail != "all" and not options.tail.isdecimal():
        raise UsageError(f'cannot show the last "{options.tail}" lines: not a number', hint='write a number, or "all"')
    show_logs(call.containers(call.settings()), LogsRequest(
        container=options.container, follow=options.follow, timestamps=options.timestamps,
        tail=None if options.tail == "all" else int(options.tail),
        since=parse_since(options.since, time.time()) if options.since else None))
    return 0


def stop(call: Call) -> int:
    from ..containers import control
    from ..containers.options import signal_number

    number = signal_number(call.options.signal) if call.options.signal else None
    return each(call, lambda one: control.stop(one, number=number, timeout=call.options.time))


def kill(call: Call) -> int:
    from ..containers import control
    from ..containers.options import signal_number

    number = signal_number(call.options.signal)
    return each(call, lambda one: control.signal_container(one, number))


def wait(call: Call) -> int:
    from ..containers import control

    return each(call, control.wait, show=str)


def rm(call: Call) -> int:
    from ..containers import control

    settings = call.settings()
    call.scratch(settings)()  # what a container left may belong to mapped ids: removed as their root
    containers = call.containers(settings)
    return each(call, lambda one: control.remove(containers, one, force=call.options.force, timeout=call.options.time),
                missing_ok=call.options.force)


def each(call: Call, act: "Callable[[Container], Any]", *, show: "Callable[[Any], str] | None" = None,
         missing_ok: bool = False) -> int:
    """`act` on every container named; the first error is raised after the others were served, as docker does."""
    containers = call.containers(call.settings())
    failed: IechorError | None = None
    for name in call.options.containers:
        try:
            container = containers.get(name)
        except ContainerError as error:
            failed = failed or (None if missing_ok else error)
            continue
        try:
            done = act(container)
            print(show(done) if show else name)
        except ContainerError as error:
            failed = failed or error
    if failed:
        raise failed
    return 0


def prune_containers(call: Call) -> int:
    for container in remove_ended(call, call.settings()):
        print(container)
    return 0


def remove_ended(call: Call, settings: "Settings") -> list[str]:
    """The ids of the containers that had ended and are gone now."""
    from ..containers import control
    from ..containers.state import Status

    containers = call.containers(settings)
    if not os.path.isdir(containers.root):
        return []
    call.scratch(settings)()
    listed = control.list_containers(containers, all=True)
    ended = [one.container for one in listed if one.state.status is Status.EXITED]
    for container in ended:
        control.remove(containers, container)
    return [container.id for container in ended]
