"""COPY and ADD on trees: how sources find their place in an overlay, by BuildKit's rules (fsutil copy, AllowWildcard).

    pattern ──find──▶ [source path] ──place──▶ target path ──copy──▶ Puts recorded in the overlay

A source symlink is followed, those below it are copied as they are. A folder's contents are copied, not the folder,
and its time. A folder that is itself left out is made when something below it is not (`--parents`, "!" in `--exclude`).
A folder that had to be made for the target is 0755, or has the mode and owner that were asked for; a folder that was
there keeps its own, except below the copied one, where the source's wins. Nothing here reads a file's bytes.
"""

import stat
from collections.abc import Iterator

from ..errors import SourceError
from ..language.ignore import IgnorePatterns
from ..paths import ROOT, ImagePath, ancestors, basename, image_path, join, parent
from ..plan.filemode import FileMode
from ..plan.wildcard import has_wildcards, matches
from ..tree.node import Directory, File, Meta, Node, Symlink
from ..tree.overlay import Overlay
from ..tree.tree import SymlinkLoop, Tree
from ..values import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What below a source is copied: what `only` does not leave out, unless `excluded` does. None leaves nothing out.

    Paths are relative to the source, which is always copied itself.
    """

    only: IgnorePatterns | None = None
    excluded: IgnorePatterns | None = None

    @classmethod
    def of(cls, excludes: tuple[str, ...], only: str | None = None) -> "Selection":
        """only: one pattern, and all below what it matches; "" matches nothing. Errors: IechorfileError."""
        wanted = None if only is None else IgnorePatterns(("**", *([f"!{only}"] if only else [])))
        return cls(only=wanted, excluded=IgnorePatterns(excludes) if excludes else None)

    def takes(self, path: ImagePath) -> bool:
        return not any(patterns is not None and patterns.matches(path) for patterns in (self.only, self.excluded))

    def may_take_below(self, folder: ImagePath) -> bool:
        """False: nothing below the folder, which is left out itself, need be looked at."""
        return not any(patterns is not None and patterns.matches(folder) and not patterns.may_reinclude_below(folder)
                       for patterns in (self.only, self.excluded))


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRules:
    """owner: (uid, gid) for everything copied or made, None keeps the source's; mode: for every file and folder, None
    keeps the source's; made: mtime of folders we make, ns.
    """

    owner: tuple[int, int] | None = None
    mode: FileMode | None = None
    made: int = 0


class Copier:
    """Copies into one overlay under one set of rules; hard links within one source stay hard links."""

    def __init__(self, overlay: Overlay, rules: CopyRules) -> None:
        self._overlay = overlay
        self._rules = rules
        self._files: dict[int, tuple[File, File]] = {}
        self._timed: set[ImagePath] = set()

    def copy(self, source: Tree, found: ImagePath, dest: str, selection: Selection = EVERYTHING) -> None:
        """`found` of `source`, as find_sources gave it, to `dest`: absolute, with its trailing slash if it had one.

        Errors: SourceError, saying which path is in the way.
        """
        followed, node, target = self.begin(source, found, dest)
        self._files.clear()
        _Walk(self, selection).copy(node, ROOT, target)
        self.end(followed, node, target)

    def begin(self, source: Tree, found: ImagePath, dest: str) -> tuple[ImagePath, Node, ImagePath]:
        """(where `found` leads, what is there, where it goes); the folders above that place are there then.

        Errors: SourceError.
        """
        followed = resolve(source, found)
        node = source.lookup(followed)
        if node is None:
            raise SourceError(f'"/{found}" not found', hint="it is a symlink that leads nowhere inside the context")
        self.make_folders(dest if dest.endswith("/") else dest.rpartition("/")[0])
        return followed, node, self._place(node, found, resolve(self._overlay.tree, image_path(dest)))

    def end(self, followed: ImagePath, node: Node, target: ImagePath) -> None:
        """What was begun is copied."""
        if isinstance(node, Directory):
            self._set_time(target, node.meta.mtime if followed else self._rules.made)
        elif parent(target) in self._timed:
            self._set_time(parent(target), self._rules.made)

    def _set_time(self, folder: ImagePath, mtime: int) -> None:
        """A copied folder's time goes to where its contents went; the root of a context has none to give."""
        node = self._overlay.tree.lookup(folder)
        if folder and isinstance(node, Directory):
            self._timed.add(folder)
            self._overlay.set_meta(folder, replace(node.meta, mtime=mtime))

    def make_folders(self, path: str) -> ImagePath:
        """mkdir -p through the image's own symlinks; returns where `path` is. Of a mode only the permissions count, as
        in BuildKit. Errors: SourceError.
        """
        real = resolve(self._overlay.tree, image_path(path))
        uid, gid = self._rules.owner or (0, 0)
        fixed = self._rules.mode.fixed if self._rules.mode is not None else None
        meta = Meta(0o755 if fixed is None else fixed & 0o777, uid, gid, self._rules.made)
        self._make_folders(real, meta, given=self._rules.owner is not None)
        return real

    def _make_folders(self, path: ImagePath, meta: Meta, *, given: bool) -> None:
        """As mkdir(2): below a set-group-id folder the new one has that bit, and its group where no owner is given."""
        for folder in [*ancestors(path), path]:
            node = self._overlay.tree.lookup(folder)
            if isinstance(node, Directory):
                continue
            if node is not None:
                raise SourceError(f"cannot make the folder /{path}: /{folder} is not a folder")
            above = self._overlay.tree.lookup(parent(folder))
            own = meta
            if above is not None and above.meta.mode & stat.S_ISGID:
                own = replace(meta, mode=meta.mode | stat.S_ISGID, gid=meta.gid if given else above.meta.gid)
            self._overlay.put(folder, Directory(own))

    def _place(self, node: Node, found: ImagePath, target: ImagePath) -> ImagePath:
        """Into an existing folder goes a file under its own name; else `target` is the name."""
        existing = self._overlay.tree.lookup(target)
        if not isinstance(node, Directory) and isinstance(existing, Directory):
            target = join(target, basename(found))
        elif isinstance(node, Directory) and existing is None:
            self.make_folders(target)
        return target

    def put_folder(self, target: ImagePath, node: Directory, *, inner: bool) -> None:
        """The folder itself. One that is there takes over the source's metadata only when it is an inner one.

        Errors: SourceError.
        """
        existing = self._folder_at(target)
        if existing is None or inner:
            self._put_below(target, Directory(self._meta(node)))

    def put_parent(self, target: ImagePath, node: Directory) -> None:
        """A folder that is left out itself: made as the source's but for its time; one that is there gets the
        source's mode alone.

        Errors: SourceError.
        """
        existing = self._folder_at(target)
        if existing is None:
            self._put_below(target, Directory(replace(self._meta(node), mtime=self._rules.made)))
        elif existing.meta.mode != node.meta.mode:
            self._overlay.set_meta(target, replace(existing.meta, mode=node.meta.mode, mtime=self._rules.made))

    def _folder_at(self, target: ImagePath) -> Directory | None:
        existing = self._overlay.tree.lookup(target)
        if existing is not None and not isinstance(existing, Directory):
            raise SourceError(f"cannot copy to non-directory: /{target}")
        return existing

    def put(self, target: ImagePath, node: Node) -> None:
        """A file, symlink or device at `target`, replacing any but a folder. Errors: SourceError."""
        if isinstance(self._overlay.tree.lookup(target), Directory):
            raise SourceError(f"cannot replace to directory /{target} with file")
        if isinstance(node, File):
            known = self._files.get(id(node))
            if known is None:
                known = self._files[id(node)] = (node, node.with_meta(self._meta(node)))
            self._put_below(target, known[1])
        else:
            self._put_below(target, node.with_meta(self._meta(node)))

    def unpack(self, folder: ImagePath, inner: ImagePath, node: Node) -> None:
        """An archive's entry: a folder on a folder takes its metadata, every other pair replaces what is there. The
        symlinks on the way are those below `folder`, which is their root. Errors: SourceError.
        """
        root = self._overlay.tree.lookup(folder)
        assert isinstance(root, Directory)
        real = image_path(f"{folder}/{resolve(Tree(root), parent(inner))}/{basename(inner)}")
        self._make_folders(parent(real), Meta(0o755, mtime=self._rules.made), given=True)
        if isinstance(node, Directory):
            if not isinstance(self._overlay.tree.lookup(real), Directory):
                self._clear(real)
            self._put_below(real, Directory(self._meta(node)))
        else:
            self._clear(real)
            self.put(real, node)

    def _clear(self, target: ImagePath) -> None:
        if self._overlay.tree.lookup(target) is not None:
            self._overlay.remove(target)

    def _put_below(self, target: ImagePath, node: Node) -> None:
        if self._overlay.tree.lookup(parent(target)) is None:
            self.make_folders(parent(target))
        self._overlay.put(target, node)

    def _meta(self, node: Node) -> Meta:
        meta = node.meta
        if self._rules.owner is not None:
            meta = replace(meta, uid=self._rules.owner[0], gid=self._rules.owner[1])
        if self._rules.mode is not None and not isinstance(node, Symlink):
            meta = replace(meta, mode=self._rules.mode.apply(meta.mode, folder=isinstance(node, Directory)))
        return meta


class _Walk:
    """One copied source. `pending`: the folders above that were left out, until something below is not."""

    def __init__(self, copier: Copier, selection: Selection) -> None:
        self._copier = copier
        self._selection = selection
        self._pending: list[tuple[ImagePath, Directory]] = []

    def copy(self, node: Node, inside: ImagePath, target: ImagePath) -> None:
        """One node and all below. inside: its path relative to the source."""
        taken = not inside or self._selection.takes(inside)
        if taken:
            for folder in self._pending:
                self._copier.put_parent(*folder)
            self._pending.clear()
        if not isinstance(node, Directory):
            if taken:
                self._copier.put(target, node)
            return
        if taken:
            self._copier.put_folder(target, node, inner=bool(inside))
        elif self._selection.may_take_below(inside):
            self._pending.append((target, node))
        else:
            return
        for name in sorted(node.entries):
            self.copy(node.entries[name], join(inside, name), join(target, name))
        if self._pending and self._pending[-1][0] == target:
            self._pending.pop()


def find_sources(source: Tree, pattern: str) -> list[ImagePath]:
    """The paths `pattern` names, in order; one without wildcards names itself, there or not.

    ".." and a leading "/" stop at the source's root. Errors: SourceError (a malformed pattern).
    """
    start, rest = plain_part(pattern)
    if not rest:
        return [start]
    try:
        return list(_match(source, resolve(source, start), rest))
    except ValueError as error:
        raise SourceError(f"cannot match {pattern}: {error}", hint='escape "[" as "[[]"') from error


def plain_part(pattern: str) -> tuple[ImagePath, list[str]]:
    """The path before the first name with wildcards, and the names from that on."""
    parts = image_path(pattern).split("/")
    plain = next((at for at, part in enumerate(parts) if has_wildcards(part)), len(parts))
    return image_path("/".join(parts[:plain])), parts[plain:]


def _match(source: Tree, folder: ImagePath, patterns: list[str]) -> Iterator[ImagePath]:
    node = source.lookup(folder)
    if not isinstance(node, Directory):
        return
    for name in sorted(node.entries):
        if matches(patterns[0], name):
            path = join(folder, name)
            if len(patterns) == 1:
                yield path
            else:
                yield from _match(source, path, patterns[1:])


def resolve(tree: Tree, path: ImagePath) -> ImagePath:
    """Tree.resolve with its error as the user's. Errors: SourceError."""
    try:
        return tree.resolve(path)
    except SymlinkLoop as error:
        raise SourceError(f"cannot follow /{path}: too many levels of symbolic links") from error

