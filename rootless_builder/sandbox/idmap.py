"""Which ids exist inside, and who they are outside.

    FAKEROOT   0 → the user, nothing else            (no helper; owners are kept by the fakeroot supervisor)
    SUBUID     0 → the user, 1… → its subuid range   (newuidmap, once, for the whole command)
    HOST       real root, no user namespace
"""

import enum
import os
from collections.abc import Sequence

from ..errors import NamespaceError
from ..values import dataclass

HELPER_DIRS = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin")


class IdMode(enum.Enum):
    FAKEROOT = "fakeroot"
    SUBUID = "subuid"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """`count` ids from `inside` on are those from `outside` on, as the parent user namespace numbers them."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMap:
    """The maps of a new user namespace, outside ids as its parent namespace has them."""

    mode: IdMode
    uids: tuple[Extent, ...]
    gids: tuple[Extent, ...]

    @classmethod
    def single(cls, uid: int, gid: int) -> "IdMap":
        """Inside root is the user, and nobody else exists. Needs no privilege and no helper."""
        return cls(mode=IdMode.FAKEROOT, uids=(Extent(inside=0, outside=uid, count=1),),
                   gids=(Extent(inside=0, outside=gid, count=1),))

    @classmethod
    def nested(cls) -> "IdMap":
        """Every id this process's own user namespace has, under the same number: for the sandbox of a mapped root."""
        return cls(mode=IdMode.SUBUID, uids=_present("/proc/self/uid_map"), gids=_present("/proc/self/gid_map"))


def _present(path: str) -> tuple[Extent, ...]:
    with open(path) as stream:
        rows = [tuple(map(int, line.split())) for line in stream]
    return tuple(Extent(inside=inside, outside=inside, count=count) for inside, _, count in rows)


def in_initial_namespace() -> bool:
    """Whether no user namespace lies between us and the kernel's first one."""
    with open("/proc/self/uid_map") as stream:
        return stream.read().split() == ["0", "0", str(2**32 - 1)]


def map_text(extents: Sequence[Extent]) -> str:
    """As uid_map(5) takes it."""
    return "".join(f"{extent.inside} {extent.outside} {extent.count}\n" for extent in extents)


def has_many_ids() -> bool:
    """Whether this process's user namespace has ids beyond its own: real root, or a root mapped by newuidmap."""
    return sum(extent.count for extent in _present("/proc/self/uid_map")) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SubordinateRange:
    first: int
    count: int


def subordinate_ranges(path: str | os.PathLike[str], user: str, uid: int) -> tuple[SubordinateRange, ...]:
    """The ranges of a user in /etc/subuid or /etc/subgid, whose lines are NAME-or-UID:FIRST:COUNT."""
    try:
        with open(path, errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in (user, str(uid)) and fields[1].isdecimal() and fields[2].isdecimal():
            found.append(SubordinateRange(first=int(fields[1]), count=int(fields[2])))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingHelpers:
    newuidmap: str
    newgidmap: str


def find_program(name: str) -> str | None:
    """Where an administrator installs programs; PATH is not asked (it is the caller's, and this one is set-uid)."""
    for folder in HELPER_DIRS:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return None


def subuid_map(user: str, uid: int, gid: int, *, etc: str | os.PathLike[str] = "/etc") -> tuple[IdMap, MappingHelpers]:
    """0 → the user, 1… → its ranges. NamespaceError, with the administrator's command, where something is missing."""
    wanted = "cannot map a range of ids (--userns=subuid)"
    newuidmap, newgidmap = find_program("newuidmap"), find_program("newgidmap")
    if newuidmap is None or newgidmap is None:
        raise NamespaceError(f"{wanted}: newuidmap and newgidmap are not installed",
                             hint="run `sudo apt install uidmap` (Debian, Ubuntu) or `sudo dnf install shadow-utils`"
                                  " (Fedora), or use --userns=fakeroot")
    maps = []
    for file, own, flag in (("subuid", uid, "--add-subuids"), ("subgid", gid, "--add-subgids")):
        ranges = subordinate_ranges(f"{etc}/{file}", user, uid)
        if not ranges:
            raise NamespaceError(f"{wanted}: {etc}/{file} has no range for {user}",
                                 hint=f"run `sudo usermod {flag} 100000-165535 {user}`, or use --userns=fakeroot")
        extents = [Extent(inside=0, outside=own, count=1)]
        for item in ranges:
            extents.append(Extent(inside=extents[-1].inside + extents[-1].count, outside=item.first, count=item.count))
        maps.append(tuple(extents))
    return (IdMap(mode=IdMode.SUBUID, uids=maps[0], gids=maps[1]),
            MappingHelpers(newuidmap=newuidmap, newgidmap=newgidmap))
