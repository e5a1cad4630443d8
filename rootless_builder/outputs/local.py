"""type=local: the files of an image into a folder of the host, owned by whoever runs us.

    dest is not there    STAGE beside it, whole ──rename──▶ dest
    dest is a folder     STAGE inside it, whole ──renames──▶ in among what is there; mode=delete: the rest goes

Everything is written into the stage first (0700, a name of our own), so that a full disk or an unreadable layer leaves
dest as it was. Then entries are renamed into place: no symlink that lies below dest is ever followed, and what is in
the way is replaced. Folders get their modes and times last. The image's bytes are hostile: names and links are checked
or written down, never obeyed.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import UnsafeArchive, UsageError
from ..events import Notice
from ..layer.header import SECOND
from ..oci.reference import Reference
from ..paths import ROOT, ImagePath, encode, join
from ..removing import FOLDER, open_up, remove_tree
from ..store.images import Image
from ..tree.node import Device, Directory, File, Meta, Node, Symlink
from ..tree.tree import Tree
from ..values import dataclass, field, replace
from .files import STDOUT, check_file, explained
from .output import Exported, Exporting

_SET_ID = stat.S_ISUID | stat.S_ISGID
_PIECE = 1 << 30  # bytes of one sendfile(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOutput:
    """dest: the folder; delete: what is there and not in the image goes. keep: folders that must not be emptied.

    part: the folder in `dest` that the files go into, "" for itself (platform-split=true).
    """

    dest: str
    delete: bool = False
    keep: tuple[Path, ...] = ()
    part: str = ""
    names: tuple[Reference, ...] = ()
    named_here: bool = False
    sends: bool = False
    to_stdout: bool = False

    def check(self) -> None:
        """Errors: UsageError."""
        path = Path(self.dest)
        if self.dest == STDOUT:
            raise UsageError("cannot write a folder to standard output", hint="take type=tar, or name dest=FOLDER")
        if path.exists() and not path.is_dir():
            raise UsageError(f"cannot write the output {self.dest}: it is not a folder", hint="name a folder")
        if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
            raise UsageError(f"cannot write the output {self.dest}: it is not writable for you",
                             hint="name a place that is yours")
        if not path.exists() and path.parent.is_dir():
            check_file(self.dest)
        real = path.resolve()
        for kept in (Path("/"), *self.keep):
            if self.delete and kept.resolve().is_relative_to(real):
                raise UsageError(f"cannot write the output {self.dest} with mode=delete: it would delete {kept}",
                                 hint="name a folder that holds nothing else")

    def export(self, image: Image, world: Exporting) -> Exported:
        """Errors: DiskFull, UsageError, StoreError, UnsafeArchive."""
        tree = world.store.trees.load(image.layers)
        if self.part:
            inner = tree.root.with_meta(replace(tree.root.meta, mode=0o755))
            tree = Tree(Directory(inner.meta, {self.part: inner}))
        lost = Lost()
        with explained(self.dest):
            clock = Clock(world.clamp, world.forced)
            write_tree(tree, Path(os.path.abspath(self.dest)), clock=clock, delete=self.delete, lost=lost)
        for text in lost.told():
            world.emit(Notice(text=f"{self.dest}: {text}", level="warning"))
        return Exported()


@dataclass(frozen=True, slots=True)
class Clock:
    """latest: seconds; every time is that one if forced."""

    latest: int | None
    forced: bool

    def time(self, meta: Meta) -> int:
        """Nanoseconds."""
        latest = None if self.latest is None else self.latest * SECOND
        return meta.mtime if latest is None or not (self.forced or meta.mtime > latest) else latest


@dataclass(slots=True)
class Lost:
    """What a folder of a user does not get."""

    devices: list[ImagePath] = field(default_factory=list)
    set_id: list[ImagePath] = field(default_factory=list)

    def told(self) -> Iterator[str]:
        if self.devices:
            yield f"{_count(self.devices, 'device node')} left out: type=tar keeps them"
        if self.set_id:
            yield f"{_count(self.set_id, 'file')} without the set-user-id or set-group-id bit: they would run as you"


def _count(paths: list[ImagePath], what: str) -> str:
    return f"{len(paths)} {what}{'s' if len(paths) > 1 else ''} (/{paths[0]}{', ...' if len(paths) > 1 else ''})"


def write_tree(tree: Tree, dest: Path, *, clock: Clock, delete: bool, lost: Lost) -> None:
    """Errors: OSError, UnsafeArchive."""
    inside = dest.is_dir()
    if not inside:
        dest.parent.mkdir(parents=True, exist_ok=True)
    stage = (dest if inside else dest.parent) / f".{dest.name[:200]}.iechor-{os.urandom(6).hex()}"
    with _opened(stage.parent) as above:
        os.mkdir(stage.name, 0o777, dir_fd=above)  # so the umask tells the mode of the finished folder
        try:
            with _opened(stage) as stage_fd:
                mode = stat.S_IMODE(os.fstat(stage_fd).st_mode)
                os.fchmod(stage_fd, 0o700)
                _Stage(stage_fd, clock, lost).fill(tree)
                if inside:
                    _merge(tree, stage_fd, above, os.fsencode(stage.name) if delete else None)
                    _finish(tree, above, clock)
                else:
                    _finish(tree, stage_fd, clock)
                    os.fchmod(stage_fd, mode)
                    os.rename(stage.name, dest.name, src_dir_fd=above, dst_dir_fd=above)
        finally:
            remove_tree(os.fsencode(stage.name), above)


class _Stage:
    """A new folder that nobody else writes to: below it, a path of the tree never leads through a symlink."""

    def __init__(self, fd: int, clock: Clock, lost: Lost) -> None:
        self._fd = fd
        self._clock = clock
        self._lost = lost
        self._first: dict[File, ImagePath] = {}

    def fill(self, tree: Tree) -> None:
        """Folders are 0700 for now."""
        for path, node in tree.walk():
            if not path:
                continue
            _check_name(path)
            if isinstance(node, Directory):
                os.mkdir(encode(path), 0o700, dir_fd=self._fd)
            elif isinstance(node, File):
                self._file(path, node)
            elif isinstance(node, Symlink):
                os.symlink(encode(node.target), encode(path), dir_fd=self._fd)
                self._date(path, node)
            else:
                self._device(path, node)

    def _file(self, path: ImagePath, node: File) -> None:
        first = self._first.setdefault(node, path)
        if first != path:
            os.link(encode(first), encode(path), src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)
            return
        if node.meta.mode & _SET_ID:
            self._lost.set_id.append(path)
        target = os.open(encode(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                         dir_fd=self._fd)
        try:
            _copy(node, target)
            os.fchmod(target, node.meta.mode & ~_SET_ID & 0o7777)
            time = self._clock.time(node.meta)
            os.utime(target, ns=(time, time))
        finally:
            os.close(target)

    def _device(self, path: ImagePath, node: Device) -> None:
        """A FIFO is anybody's to make; a device would open this host's hardware to whoever may read the folder."""
        if not stat.S_ISFIFO(node.kind):
            self._lost.devices.append(path)
            return
        os.mkfifo(encode(path), 0o600, dir_fd=self._fd)
        os.chmod(encode(path), node.meta.mode & 0o777, dir_fd=self._fd)
        self._date(path, node)

    def _date(self, path: ImagePath, node: Node) -> None:
        time = self._clock.time(node.meta)
        os.utime(encode(path), ns=(time, time), dir_fd=self._fd, follow_symlinks=False)


def _copy(node: File, target: int) -> None:
    if not node.size:
        return
    source, start = node.content.open()
    try:
        done = 0
        while done < node.size:
            moved = os.sendfile(target, source, start + done, min(_PIECE, node.size - done))
            if not moved:
                raise UnsafeArchive("cannot read a file of the image: its layer is shorter than it says")
            done += moved
    finally:
        os.close(source)


def _merge(tree: Tree, stage_fd: int, dest_fd: int, stage_name: bytes | None) -> None:
    """Moves what the stage holds in among what is there. stage_name: of the stage itself, where the rest goes."""
    waiting = [ROOT]
    while waiting:
        path = waiting.pop()
        node = tree.lookup(path)
        assert isinstance(node, Directory)
        with _below(dest_fd, path) as into, _below(stage_fd, path) as source:
            present = {os.fsencode(name) for name in os.listdir(into)}
            for name, entry in node.entries.items():
                if encode(name) in present and _stays(into, encode(name), entry):
                    waiting.append(join(path, name))
                else:
                    _move(source, into, encode(name))
            if stage_name is not None:
                for left in present - {encode(name) for name in node.entries} - {stage_name}:
                    remove_tree(left, into)


def _stays(folder: int, name: bytes, entry: Node) -> bool:
    """Whether a folder of the image meets a folder that is there. Whatever else is in the way is removed."""
    old = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if isinstance(entry, Directory) and stat.S_ISDIR(old):
        return True
    if isinstance(entry, Directory) or stat.S_ISDIR(old):
        remove_tree(name, folder)
    return False


def _move(source: int, target: int, name: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):  # a device that could not be made
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)


def _finish(tree: Tree, dest_fd: int, clock: Clock) -> None:
    """Modes and times of folders, the innermost first: nothing is written into them any more."""
    folders = [(path, node) for path, node in tree.walk() if path and isinstance(node, Directory)]
    for path, node in reversed(folders):
        with _below(dest_fd, path) as fd:
            os.fchmod(fd, node.meta.mode & 0o7777)
            time = clock.time(node.meta)
            os.utime(fd, ns=(time, time))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The user may name a symlink to a folder."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _below(folder: int, path: ImagePath) -> Iterator[int]:
    """The folder at `path`, no component a symlink, and one of ours that nobody may write to opened for us."""
    fd = os.dup(folder)
    try:
        for name in encode(path).split(b"/") if path else ():
            inner = os.open(name, FOLDER, dir_fd=fd)
            os.close(fd)
            fd = inner
        if path:
            open_up(fd)
        yield fd
    finally:
        os.close(fd)


def _check_name(path: ImagePath) -> None:
    name = path.rpartition("/")[2]
    if name in ("", ".", "..") or "\0" in name:
        raise UnsafeArchive(f"cannot write a file called {name!r} of the image")
