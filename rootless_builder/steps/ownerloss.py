"""Where no fakeroot supervisor can run: a step is refused, or with --allow-lost-owners every lost owner is told."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import OwnershipError
from ..events import Emit, Notice
from ..sandbox import fakeroot
from ..sandbox.idmap import IdMode
from ..sandbox.probe import probe
from ..sandbox.proot import proot_program
from ..sandbox.spec import FakerootSpec
from ..scratch.lowers import Lowers
from ..scratch.rootfs import Rootfs
from ..tree.changes import ChangeSet, Put
from ..tree.node import Device, Node
from ..values import dataclass, replace

SHOWN = 20  # lines; a file has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What --allow-lost-owners comes to here. owners: a RUN can keep none. proot: the program that runs it, where no
    user namespace can be made; else "".
    """

    owners: bool = False
    proot: str = ""


def find_loss(mode: IdMode) -> Loss:
    """Asked only when the user allows it: it takes a process of its own, about 0.1 s."""
    if mode is not IdMode.FAKEROOT:
        return Loss()
    with tempfile.TemporaryDirectory() as folder:
        answers = probe(Path(folder))
    program = proot_program()
    if program is not None and answers.mount != 0:
        return Loss(owners=True, proot=program)
    return Loss(owners=not fakeroot.available().usable)


def emulation(rootfs: Rootfs, *, lose_owners: bool) -> FakerootSpec | None:
    """What the sandbox is told of the supervisor. Errors: OwnershipError when none can run and owners are to stay."""
    spec = rootfs.fakeroot
    if spec is None:
        return None
    if lose_owners:
        return replace(spec, lost=True)
    support = fakeroot.available()
    if not support.usable:
        raise OwnershipError(f"cannot keep the owners of files: {support.reason}", hint=(
            f"{support.hint}; or give --allow-lost-owners, and what RUN makes or changes is root's"))
    return spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """seen: "OWNER PATH" of each that the command gave away in vain; None where nobody could look (proot, or ptrace
    is forbidden). folder: for the lists.
    """

    seen: Sequence[str] | None
    folder: Path
    emit: Emit

    def warn(self, text: str) -> None:
        self.emit(Notice(level="warning", text=text))

    def list(self, lines: Iterable[str]) -> str:
        """Writes them down; the file's name."""
        with tempfile.NamedTemporaryFile("w", prefix="lost-owners-", suffix=".log", dir=self.folder, delete=False,
                                         errors="surrogateescape") as stream:
            stream.writelines(f"{line}\n" for line in lines)
        return stream.name


def tell_losses(changes: ChangeSet, rootfs: Rootfs, losses: Losses) -> None:
    """A warning for each path that had an owner and is root's now; and what the command gave away: the first ones as
    warnings, all in a file. Where nobody saw that, a file names all that the step made or changed.
    """
    lowers = Lowers(rootfs.places.mode, rootfs.layers)
    made = []
    for change in changes:
        if not isinstance(change, Put):
            continue
        found = lowers.find(change.path)
        before = None if found is None else lowers.node(found)
        lost = list(_lost(before, change.node)) if before is not None else []
        if lost:
            losses.warn(f"lost: /{change.path} was {' and '.join(lost)}")
        elif (change.node.meta.uid, change.node.meta.gid) == (0, 0):
            made.append(f"/{change.path}")
    seen = list(dict.fromkeys(losses.seen or ()))
    for line in seen[:SHOWN]:
        owner, _, path = line.partition(" /")
        losses.warn(f"lost: /{path} was to be {owner if owner.startswith('device') else f'of {owner}'}")
    if len(seen) > SHOWN:
        losses.warn(f"{len(seen)} owners were given in vain: {losses.list(seen)} lists them")
    if made:
        blind = "" if losses.seen is not None else "; a change of owner alone was not seen, and is not among them"
        losses.warn(f"{len(made)} paths of this step are root's, whomever it gave them to: {losses.list(made)} lists "
                    f"them{blind}")


def _lost(before: Node, now: Node) -> Iterator[str]:
    owner = (before.meta.uid, before.meta.gid)
    if owner != (0, 0) and (now.meta.uid, now.meta.gid) == (0, 0):
        yield f"{owner[0]}:{owner[1]}'s"
    if isinstance(before, Device) and not isinstance(now, Device):
        yield "a device"
    missing = {name for name, _ in before.meta.xattrs} - {name for name, _ in now.meta.xattrs}
    if missing:
        yield f"with {', '.join(sorted(missing))}"
