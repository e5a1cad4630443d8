"""`RUN --mount`: what each mount of a step is on this host, for the length of the step.

    bind      a part of the context ──▶ a layer of its own (kept like a step's) ─┐
              a stage, an image ──▶ its layers ──────────────────────────────────┴▶ a second overlay, upper thrown away
    cache     a folder of scratch (scratch/caches.py), locked as its sharing asks
    secret    its text travels to the sandbox in memory, and is in no layer, key or log
    --device  the host's nodes and files that its CDI file names (devices.py)
    ssh       the agent's socket, bound; for keys an agent is started

Nothing of it is in the layer: mount points that were missing are taken out of what the step changed.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import SourceError
from ..events import Notice
from ..plan.cachekey import digest_of
from ..plan.mounts import Access, BindMount, CacheMount, SecretMount, SshMount, StepMount, TmpfsMount
from ..plan.steps import RunStep
from ..sandbox.agent import key_agent
from ..sandbox.idmap import IdMode
from ..sandbox.mounts import Bind, FileBind, Mount, Tmpfs
from ..sandbox.spec import Given
from ..sandbox.treebind import TreeBind
from ..scratch.caches import Taken, Told
from ..scratch.checkout import CheckOut
from ..scratch.owners import OwnerRecord
from ..scratch.scratch import Scratch
from ..scratch.walk import FOLDER
from ..store.images import LayerRef
from ..values import dataclass, field, replace
from .mountsources import PART, all_layers, origin_digest, part_layers
from .origins import layers_of, source_of
from .ownership import find_owner
from .world import World


@dataclass(slots=True)
class Attached:
    """For the sandbox. given: owners that only the fakeroot supervisor can keep; env: what secrets and agents add.
    caches: by the targets they are mounted on.
    """

    mounts: list[Mount] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    caches: dict[str, Taken] = field(default_factory=dict)

    def run(self) -> None:
        """The command is about to start."""
        for cache in self.caches.values():
            if cache.owners is not None:
                cache.owners.run()

    def keep(self, tables: Mapping[str, bytes] | None) -> None:
        """tables: the supervisor's last ones, by target; None: no command was started. Errors: DiskFull, StoreError."""
        for target, cache in self.caches.items():
            if cache.owners is not None and (tables is None or target in tables):
                cache.owners.keep(None if tables is None else tables[target])


@contextmanager
def attached(step: RunStep, layers: Sequence[LayerRef], world: World, scratch: Scratch) -> Iterator[Attached]:
    """layers: what the step begins with. Errors: SourceError, DiskFull, StoreError, those of where mounts read from."""
    with ExitStack() as stack:
        maker = _Maker(world, scratch, stack, Attached())
        if step.devices:
            from .devices import edits_of, given  # most builds have none

            maker.made.mounts, maker.made.env = edits_of(given(step.devices, world.run.devices))
        for volume in world.run.owned:
            from .ownedvolumes import owned  # most builds have none

            owner = find_owner(step.user, world.tree(tuple(layers)), world.emit) if step.user else (0, 0)
            maker.made.mounts.append(stack.enter_context(owned(volume, owner, scratch.places)))
        # Always in one order: two steps that lock the same caches cannot wait for each other.
        caches = sorted({mount for mount in step.mounts if isinstance(mount, CacheMount)},
                        key=lambda mount: (mount.id, mount.target))
        taken = {mount: maker.cache(mount) for mount in caches}
        for mount in step.mounts:
            maker.add(mount, taken)
        yield maker.made


@dataclass(slots=True)
class _Maker:
    world: World
    scratch: Scratch
    stack: ExitStack
    made: Attached
    taken: dict[str, Taken] = field(default_factory=dict)

    def add(self, mount: StepMount, taken: Mapping[CacheMount, Taken]) -> None:
        if isinstance(mount, TmpfsMount):
            self.made.mounts.append(Tmpfs(target=mount.target, size=mount.size))
        elif isinstance(mount, BindMount):
            self.made.mounts.append(self._bind(mount))
        elif isinstance(mount, CacheMount):
            cache = self.made.caches[mount.target] = taken[mount]
            self.made.mounts.append(TreeBind(folder=str(cache.files), source=mount.source, target=mount.target,
                                             owners="" if cache.owners is None else str(cache.owners.table),
                                             read_only=mount.read_only))
        elif isinstance(mount, SecretMount):
            self._secret(mount)
        else:
            self._ssh(mount)

    def _bind(self, mount: BindMount) -> Mount:
        if source_of(mount.origin, self.world) is not None:
            layers, source = part_layers(mount.origin, mount.source, self.world), f"/{PART}"
        else:
            assert mount.origin is not None
            layers, source = layers_of(mount.origin, self.world), mount.source
        rootfs = self.stack.enter_context(self.scratch.rootfs(
            layers, self.world.store, writable=not mount.read_only, stubs=False))
        return TreeBind(overlay=rootfs.overlay, folder=str(rootfs.root), source=source, target=mount.target,
                        owners=str(rootfs.owner_table or ""), read_only=mount.read_only)

    def cache(self, mount: CacheMount) -> Taken:
        """Its folder, ours while the step runs. The same cache twice in one step is one folder."""
        begins = "" if mount.origin is None else origin_digest(mount.origin, self.world)
        access = None if mount.access is None else [mount.access.mode, mount.access.uid, mount.access.gid]
        which = {"id": mount.id, "from": begins, "access": access, "lost": self.world.run.lose_owners}
        namespace = self.world.run.cache_namespace
        name = digest_of(which | ({"namespace": namespace} if namespace else {}))
        if name not in self.taken:
            told = Told(waiting=lambda: self._say(f"waiting for the cache {mount.id}, which another step holds"),
                        emptied=lambda: self._say(f"the cache {mount.id} begins anew: a build that used it was killed "
                                                  "before it had told who owns its files"))
            cache = self.stack.enter_context(self.scratch.caches.take(
                name, mount.sharing, lambda folder: self._fill(mount, folder), told))
            self.taken[name] = replace(cache, owners=None) if self.world.run.lose_owners else cache
        return self.taken[name]

    def _say(self, text: str) -> None:
        self.world.emit(Notice(text=text))

    def _fill(self, mount: CacheMount, folder: Path) -> Iterable[OwnerRecord]:
        """What the cache begins with; the owners that the disk cannot keep."""
        if mount.access is not None:
            return _owned(folder, mount.access, self.scratch.places.mode)
        if mount.origin is None:
            return ()
        layers = all_layers(mount.origin, self.world)
        with self.scratch.rootfs(layers, self.world.store, stubs=False) as rootfs:
            fd = os.open(folder, FOLDER)
            try:
                tree = CheckOut(fd, self.scratch.places.tmp, self.scratch.places.mode)
                tree.make(rootfs.layers, {})
                return tree.owners.values()
            finally:
                os.close(fd)

    def _secret(self, mount: SecretMount) -> None:
        secret = self.world.run.secrets.get(mount.id)
        if secret is None:
            if mount.required:
                raise SourceError(f"secret {mount.id}: not found",
                                  hint=f"give it: --secret id={mount.id},src=PATH or --secret id={mount.id},env=NAME")
            return
        text = secret.read(mount.id).decode("utf-8", "surrogateescape")
        if mount.env:
            if "\0" in text:
                raise SourceError(f"cannot put the secret {mount.id} into ${mount.env}: it has a NUL byte in it")
            self.made.env.append(f"{mount.env}={text}")
        if mount.target:
            given = self._give(mount.target, mount.access)
            uid, gid = (0, 0) if given else (mount.access.uid, mount.access.gid)
            self.made.mounts.append(FileBind(content=text, target=mount.target, mode=mount.access.mode, uid=uid,
                                             gid=gid, read_only=not given))

    def _give(self, target: str, access: Access) -> bool:
        """Whether the owner is the supervisor's to keep (then the mount must be writable for it to be told)."""
        if self.scratch.places.mode is not IdMode.FAKEROOT or (access.uid, access.gid) == (0, 0):
            return False
        self.made.given.append(Given(path=target, uid=access.uid, gid=access.gid))
        return True

    def _ssh(self, mount: SshMount) -> None:
        paths = self.world.run.agents.get(mount.id)
        if paths is None:
            if mount.required:
                raise SourceError(f"no SSH key {mount.id!r} forwarded from the client",
                                  hint=f"give it with --ssh {mount.id}[=SOCKET|KEY…]; without a path it is the agent "
                                       "of SSH_AUTH_SOCK")
            return
        socket = paths[0] if len(paths) == 1 and Path(paths[0]).is_socket() else self.stack.enter_context(
            key_agent(paths, self.world.run.environ))
        if not any(entry.startswith("SSH_AUTH_SOCK=") for entry in self.made.env):
            self.made.env.append(f"SSH_AUTH_SOCK={mount.target}")
        self._give(mount.target, mount.access)
        self.made.mounts.append(Bind(source=str(socket), target=mount.target))


def _owned(folder: Path, access: Access, mode: IdMode) -> Iterable[OwnerRecord]:
    """The folder itself, as the mount says. On disk it stays ours to enter, whatever its mode is to be."""
    if mode is not IdMode.FAKEROOT:
        os.chown(folder, access.uid, access.gid)
        folder.chmod(access.mode)
        return ()
    folder.chmod(access.mode | 0o700)
    return (OwnerRecord(ino=folder.stat().st_ino, mode=stat.S_IFDIR | access.mode, uid=access.uid, gid=access.gid),)
