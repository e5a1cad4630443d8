"""What this host allows, what each answer means, and the one command that changes it: `iechor info` and `doctor`."""

import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from .errors import NamespaceError
from .sandbox import fakeroot, idmap, outbound
from .sandbox.causes import userns_cause
from .sandbox.idmap import IdMode
from .sandbox.probe import Answers, probe
from .sandbox.proot import proot_program
from .values import dataclass

MODULES = (("_layercore", "layers are packed by the slower Python twin"),
           ("_fakeroot", "no fakeroot: RUN as a plain user needs --userns=subuid"))
# What the sandbox and its supervisor lose below each version; above the highest, nothing.
KERNELS = (((5, 11), "no overlayfs in user namespaces: every RUN checks its tree out and scans it"),
           ((5, 14), "the fakeroot supervisor works around missing calls"),
           ((6, 6), "the fakeroot supervisor is slower (no synchronous wake-up)"))


PROBES: Mapping[str, str] = MappingProxyType({
    "kernel": "uname(2)",
    "namespaces": "unshare(CLONE_NEWNS), then a tmpfs mounted in it",
    "user namespaces": "unshare(CLONE_NEWUSER | CLONE_NEWNS), our id mapped to 0, then a tmpfs mounted in it",
    "procfs": "a procfs mounted in a new pid namespace",
    "network namespaces": "unshare(CLONE_NEWNET), then the loopback interface brought up",
    "overlayfs": "an overlay mounted in the scratch folder, a file deleted and a folder made through it",
    "subordinate ids": "newuidmap and newgidmap, /etc/subuid and /etc/subgid read",
    "fakeroot": "seccomp(2) asked for user notification, our own memory read with process_vm_readv(2), RLIMIT_LOCKS",
    "private network": "pasta or slirp4netns looked for, /dev/net/tun opened",
})
NEEDED: Mapping[IdMode, tuple[str, ...]] = MappingProxyType({
    IdMode.FAKEROOT: ("user namespaces", "fakeroot"), IdMode.SUBUID: ("user namespaces", "subordinate ids"),
    IdMode.HOST: ("namespaces",)})
KEEPERS: Mapping[IdMode, str] = MappingProxyType({
    IdMode.FAKEROOT: "the fakeroot supervisor keeps owners, with one id",
    IdMode.SUBUID: "the kernel keeps owners, with a subordinate id range",
    IdMode.HOST: "the kernel keeps owners, as real root"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """name: of the thing probed. ok: it works as we want it. detail: what was found, and what it means.
    remedy: an imperative sentence, "" where there is nothing to mend.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""

    @property
    def probed(self) -> str:
        """How we know."""
        return PROBES.get(self.name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """ok: images can be built and run with all their owners. path: how, as one sentence. problem: why not."""

    ok: bool
    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Who asks, and where: user's name and ids, the scratch folder (which need not exist yet)."""

    user: str
    uid: int
    gid: int
    scratch: Path


def examine(host: Host) -> tuple[Finding, ...]:
    """Every probe, in the order in which a step meets them. Takes about 0.1 s; leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=_existing(host.scratch)) as folder:
        answers = probe(Path(folder))
    return (_kernel(os.uname().release), *_namespaces(host, answers), _overlay(host, answers), *_ids(host),
            _supervisor(), *_native(), _outbound())


def verdict(findings: Sequence[Finding], mode: IdMode) -> Verdict:
    """What all of it comes to in this id mode."""
    known = {finding.name: finding for finding in findings}
    overlay = known["overlayfs"]
    trees = "overlays are mounted" if overlay.ok else "trees are checked out and compared"
    for name in NEEDED[mode]:
        finding = known.get(name) or known.get("namespaces")  # root was asked without a user namespace
        if finding is None or not finding.ok:
            why = "was not asked for" if finding is None else finding.detail
            return Verdict(ok=False, path=detour(name),
                           problem=f"--userns={mode.value} needs {name}: {why}")
    return Verdict(ok=True, path=f"{KEEPERS[mode]}; {trees}")


def detour(lacking: str) -> str:
    """What can be done all the same, where this is lacking."""
    if lacking == "user namespaces" and proot_program() is not None:
        return "run goes through proot, and RUN with --allow-lost-owners; a build without RUN needs neither"
    if lacking == "fakeroot":
        return "RUN works with --allow-lost-owners alone, and run cannot work here; a build without RUN needs neither"
    return "RUN and run cannot work here; a build without RUN can"


def _existing(path: Path) -> Path:
    while not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        if path == path.parent:
            return Path(tempfile.gettempdir())
        path = path.parent
    return path


def _kernel(release: str) -> Finding:
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    for needed, loss in KERNELS:
        if version < needed:
            return Finding(name="kernel", ok=False, detail=f"Linux {release}: {loss}",
                           remedy=f"Boot Linux {needed[0]}.{needed[1]} or later.")
    return Finding(name="kernel", ok=True, detail=f"Linux {release}")


def _namespaces(host: Host, answers: Answers) -> Iterator[Finding]:
    if host.uid == 0:
        works = answers.namespace == 0 and answers.mount == 0
        yield Finding(name="namespaces", ok=works,
                      detail="root: RUN needs no user namespace" if works else "root, and mount(2) is forbidden",
                      remedy="" if works else "Give the outer container CAP_SYS_ADMIN.")
    else:
        number = answers.namespace or answers.mapping or answers.mount
        if number is None or number:
            cause = userns_cause(number or 1)
            yield Finding(name="user namespaces", ok=False, detail=f"RUN and run cannot work: {cause.text}",
                          remedy=cause.remedy)
        else:
            yield Finding(name="user namespaces", ok=True, detail="allowed")
    if answers.proc is not None:
        yield Finding(name="procfs", ok=answers.proc == 0,
                      detail="a fresh /proc can be mounted" if answers.proc == 0 else
                      f"a fresh /proc is refused ({os.strerror(answers.proc)}): containers see ours, read-only",
                      remedy="" if answers.proc == 0 else
                      "Start the outer container with `--security-opt systempaths=unconfined`.")
    if answers.network is not None:
        yield Finding(name="network namespaces", ok=answers.network == 0,
                      detail="allowed: --network=none and published ports work" if answers.network == 0 else
                      f"refused ({os.strerror(answers.network)}): --network=host only",
                      remedy="" if answers.network == 0 else "Run `sudo sysctl -w user.max_net_namespaces=15000`.")


def _overlay(host: Host, answers: Answers) -> Finding:
    if answers.overlay is None:
        return Finding(name="overlayfs", ok=False, detail="not tried: no namespace to try it in")
    if answers.overlay == 0:
        return Finding(name="overlayfs", ok=True, detail=f"works in {host.scratch}")
    return Finding(name="overlayfs", ok=False,
                   detail=f"refused in {host.scratch} ({os.strerror(answers.overlay)}): every RUN checks its tree out "
                          "and scans it, which is slower",
                   remedy="Set IECHOR_SCRATCH to a folder on a local ext4, xfs, btrfs or tmpfs.")


def _ids(host: Host) -> Iterator[Finding]:
    if host.uid == 0:
        return
    try:
        ids, helpers = idmap.subuid_map(host.user, host.uid, host.gid)
    except NamespaceError as error:
        yield Finding(name="subordinate ids", ok=False, detail=f"{error.message}; only --userns=subuid needs them",
                      remedy=_sentence(error.hint))
        return
    count = min(sum(extent.count for extent in side) for side in (ids.uids, ids.gids))
    yield Finding(name="subordinate ids", ok=True, detail=f"{count} ids through {helpers.newuidmap}")


def _supervisor() -> Finding:
    support = fakeroot.available()
    if not support.usable:
        return Finding(name="fakeroot", ok=False, detail=f"RUN cannot keep owners with one id: {support.reason}",
                       remedy=_sentence(support.hint))
    return Finding(name="fakeroot", ok=True, detail="; ".join(("owners are kept with one id", *support.degraded)))


def _native() -> Iterator[Finding]:
    for name, meaning in MODULES:
        there = importlib.util.find_spec(f"{__package__}.{name}") is not None
        yield Finding(name=name, ok=there, detail="compiled" if there else f"not compiled: {meaning}",
                      remedy="" if there else "Install a C compiler and Python's headers, then iechor again.")


def _outbound() -> Finding:
    program = outbound.outbound_program()
    return Finding(name="private network", ok=program is not None,
                   detail=f"reaches the outside through {program}" if program else
                   "published ports work; containers with -p reach nothing outside",
                   remedy="" if program else f"Install slirp4netns and allow access to {outbound.TUN}, "
                                             "if they should reach the outside.")


def _sentence(hint: str | None) -> str:
    return f"{hint[:1].upper()}{hint[1:]}." if hint else ""
