"""The parts of a container's SandboxSpec that the command line decides: mounts, network files, limits, ports."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ContainerError
from ..sandbox.mounts import Bind, FileBind, Mount, Tmpfs, standard
from ..sandbox.outbound import resolv_conf
from ..sandbox.spec import Limit, Port
from .options import HostEntry, Network, PublishedPort, TmpfsMount, Ulimit, Volume

LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
GATEWAYS = {Network.HOST: "127.0.0.1", Network.NONE: "127.0.0.1", Network.PRIVATE: "10.0.2.2"}  # slirp4netns(1)


def base_mounts(hostname: str, name: str, network: Network, entries: Sequence[HostEntry], *,
                etc: Path = Path("/etc")) -> tuple[Mount, ...]:
    """What every container has, and its own hosts, hostname and resolv.conf. etc: the host's."""
    private = network is Network.PRIVATE
    own = "" if network is Network.HOST else f"127.0.0.1\t{' '.join(dict.fromkeys((hostname, name)))}\n"
    hosts = _text(etc / "hosts") if network is Network.HOST else LOCALHOST
    added = "".join(line for entry in entries for line in entry.lines(GATEWAYS[network]))
    resolver = "" if network is Network.NONE else resolv_conf(private, _text(etc / "resolv.conf"))
    return (*standard(resolv_conf=resolver, hosts=added + hosts.rstrip("\n") + "\n" + own),
            FileBind(content=f"{hostname}\n", target="/etc/hostname"))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError:  # a host without one
        return ""


def asked_mounts(volumes: Iterable[Volume], tmpfs: Iterable[TmpfsMount], anonymous: Iterable[tuple[str, Path]],
                 caller: Path) -> tuple[Mount, ...]:
    """Volumes and tmpfs, outer mount points before inner ones; of two at one place the command line's wins.

    anonymous: (target, folder). caller: where relative sources begin. Errors: ContainerError for a missing source.
    """
    found: dict[str, Mount] = {}
    for target, folder in anonymous:
        found[_key(target)] = Bind(source=str(folder), target=target)
    for volume in volumes:
        if volume.source is not None:
            found[_key(volume.target)] = _bind(volume, caller)
    for mount in tmpfs:
        found[_key(mount.target)] = Tmpfs(target=mount.target, size=mount.size, mode=mount.mode,
                                          read_only=mount.read_only, noexec="noexec" in mount.options)
    return tuple(found[key] for key in sorted(found, key=lambda key: key.count("/")))


def anonymous_targets(image_volumes: Iterable[str], volumes: Sequence[Volume],
                      tmpfs: Sequence[TmpfsMount]) -> tuple[str, ...]:
    """Where the image's VOLUMEs, and `-v TARGET` without a source, need a fresh folder."""
    taken = {_key(volume.target) for volume in volumes if volume.source is not None}
    taken |= {_key(mount.target) for mount in tmpfs}
    wanted = [*image_volumes, *(volume.target for volume in volumes if volume.source is None)]
    return tuple(dict.fromkeys(_key(target) for target in wanted if _key(target) not in taken))


def _key(target: str) -> str:
    return os.path.normpath("/" + target.lstrip("/"))


def _bind(volume: Volume, caller: Path) -> Bind:
    source = caller / (volume.source or "")
    if not os.path.lexists(source):
        raise ContainerError(f"cannot mount {volume.source} on {volume.target}: no such file or folder",
                             hint=f"make it first: mkdir -p {source}")
    return Bind(source=os.path.realpath(source), target=volume.target, read_only=volume.read_only,
                recursive="bind" not in volume.options, nosuid="nosuid" in volume.options,
                noexec="noexec" in volume.options)


def limits_of(ulimits: Iterable[Ulimit]) -> tuple[Limit, ...]:
    return tuple(Limit(name=item.name, soft=item.soft, hard=item.hard) for item in ulimits)


def ports_of(ports: Iterable[PublishedPort]) -> tuple[Port, ...]:
    return tuple(Port(host_ip=port.host_ip, host_port=port.host_port, container_port=port.container_port)
                 for port in ports)
