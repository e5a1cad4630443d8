"""What a step did to the file system that its author may not have meant: functions of its changes alone.

Each gives a sentence, or None. `below` is the tree before the step; it is asked for only where it is needed.
"""

import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..paths import ImagePath, encode
from ..tree.changes import ChangeSet, Opaque, Put, Remove
from ..tree.node import Directory, File, Node
from ..tree.tree import Tree

TOLD = 3  # paths in one sentence
SMALLEST_CACHE = 64 << 10  # bytes
SMALLEST_DELETED = 1 << 20
_SET_IDS = stat.S_ISUID | stat.S_ISGID
_HOME = r"(root|home/[^/]+)"
_CACHES: Mapping[str, "re.Pattern[str]"] = {what: re.compile(f"({where})/") for what, where in {
    "apt's lists": "var/lib/apt/lists",
    "apt's packages": "var/cache/apt",
    "apk's cache": "var/cache/apk|etc/apk/cache",
    "dnf's cache": "var/cache/(dnf|yum|libdnf5)|var/lib/dnf/repos",
    "zypper's cache": "var/cache/zypp",
    "pacman's packages": "var/cache/pacman/pkg",
    "pip's cache": rf"{_HOME}/\.cache/pip",
    "uv's cache": rf"{_HOME}/\.cache/uv",
    "npm's cache": rf"{_HOME}/\.npm/_(cacache|npx|logs)",
    "yarn's cache": rf"usr/local/share/\.cache/yarn|{_HOME}/\.(cache/yarn|yarn/berry/cache)",
    "go's cache": rf"{_HOME}/\.cache/go-build|(go|{_HOME}/go)/pkg/mod/cache",
    "cargo's cache": rf"(usr/local/cargo|{_HOME}/\.cargo)/registry/cache",
    "composer's cache": rf"{_HOME}/\.(composer/cache|cache/composer)",
    "conda's packages": "opt/(conda|miniconda3?)/pkgs",
}.items()}
_PROGRAMS = ("usr/", "opt/", "app/", "srv/")  # what a RUN makes elsewhere may well be root's alone


def files_of(changes: ChangeSet) -> dict[ImagePath, File]:
    """Each file once, whatever its hard links."""
    found: dict[int, tuple[ImagePath, File]] = {}
    for path, node in _puts(changes):
        if isinstance(node, File):
            found.setdefault(id(node), (path, node))
    return dict(found.values())


def package_caches(files: Mapping[ImagePath, File]) -> str | None:
    sizes: dict[str, int] = {}
    for path, file in files.items():
        for what, where in _CACHES.items():
            if where.match(path):
                sizes[what] = sizes.get(what, 0) + file.size
    told = [f"{what} ({size_of(size)})" for what, size in sizes.items() if size >= SMALLEST_CACHE]
    return f"The layer keeps {listed(told)}" if told else None


def set_ids(changes: ChangeSet, below: Callable[[], Tree]) -> str | None:
    """Programs that had these bits before are not told."""
    found = {path: node for path, node in _puts(changes) if isinstance(node, File) and _set_id(node)}
    if not found:
        return None
    tree = below()
    told = []
    for path, node in found.items():
        before = tree.lookup(path)
        if not isinstance(before, File) or _set_id(before) != _set_id(node):
            told.append(f"{shown(path)} ({node.meta.mode:04o}, owner {node.meta.uid}:{node.meta.gid})")
    return f"Whoever runs it has the rights of its owner or group: {listed(told)}" if told else None


def unreadable(changes: ChangeSet, *, copied: bool) -> str | None:
    """copied: by a COPY or ADD that says neither owner nor mode; else by a RUN."""
    told = []
    for path, node in _puts(changes):
        meta = node.meta
        needed = stat.S_IXOTH if isinstance(node, Directory) else stat.S_IROTH
        if not isinstance(node, (File, Directory)) or meta.mode & (needed | _SET_IDS) or meta.uid or meta.gid:
            continue
        if path and (copied or path.startswith(_PROGRAMS)):
            told.append(f"{shown(path)} ({meta.mode:04o})")
    return f"Another USER than root cannot read {listed(told)}" if told else None


def deleted(changes: ChangeSet, below: Callable[[], Tree]) -> str | None:
    """What a whiteout hides takes as much room as before."""
    gone = [change for change in changes if isinstance(change, (Remove, Opaque))]
    if not gone:
        return None
    tree, seen, sizes = below(), set[int](), dict[ImagePath, int]()
    for change in gone:
        for path, node in tree.walk(change.path):
            if isinstance(node, File) and id(node) not in seen and not (isinstance(change, Opaque)
                                                                        and path == change.path):
                seen.add(id(node))
                sizes[change.path] = sizes.get(change.path, 0) + node.size
    total = sum(sizes.values())
    if total < SMALLEST_DELETED:
        return None
    largest = sorted(sizes, key=lambda path: (-sizes[path], encode(path)))
    return (f"{size_of(total)} of {listed([shown(path) for path in largest])} were made by an earlier step, and are "
            "still in its layer")


def _set_id(node: File) -> int:
    """The bits that count: set-group-id without execution means something else (mandatory locks)."""
    mode = node.meta.mode
    return mode & stat.S_ISUID | (mode & stat.S_ISGID if mode & stat.S_IXGRP else 0)


def _puts(changes: ChangeSet) -> Iterator[tuple[ImagePath, Node]]:
    return ((one.path, one.node) for one in changes if isinstance(one, Put))


def listed(told: Sequence[str]) -> str:
    """Some of them, and how many more."""
    return ", ".join(told[:TOLD]) + (f" and {len(told) - TOLD} more" if len(told) > TOLD else "")


def shown(path: str) -> str:
    """A path in a message: nothing in it reaches the terminal."""
    return "/" + "".join(letter if letter.isprintable() else "?" for letter in path)


def size_of(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
