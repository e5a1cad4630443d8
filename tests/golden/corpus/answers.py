"""An image as the corpus remembers it: what its config says, and what each layer changed in the tree below it.

    {"base": "box", "config": {…}, "history": ["+ COPY a / # buildkit", "0 ENV A=1"], "layers": [{PATH: NODE or null}]}

null: the path, and all below it, is gone. NODE, one line:
    f 0644 0:0 1000000000 "text"          text, or sha256:HEX and the size; the time is "now" for what a builder made
    d 0755 0:0 now        l 0777 0:0 now target        c 0600 0:0 now 1,3        p 0644 0:0 now
    = other/path          a hard link to a file of the same layer

Only the effect counts: an entry that changes nothing, or a folder's time alone, is not told, and a layer without effect
is as none ("0" in the history): BuildKit writes empty layers and the parents of what changed, others do not.
Read with tarfile and json: no code of ours vouches for itself.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any

MADE_NOW = 1_600_000_000  # nothing that is given to a builder is as new
COMMENTS = ((" # iechor", " # buildkit"),)
KINDS = {tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l",
         tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b", tarfile.FIFOTYPE: "p"}
SHORT = 200


@dataclass(frozen=True, slots=True)
class Node:
    told: str  # all but the time
    time: str
    group: int  # the same for all names of a file that came in one layer

    def __str__(self) -> str:
        kind, mode, owner, *rest = self.told.split(" ", 3)
        return " ".join([kind, mode, owner, self.time, *rest])


Tree = dict[str, Node]


def answer(config: dict[str, Any], layers: Sequence[IO[bytes]], bases: dict[str, Sequence[str]]) -> dict[str, Any]:
    """config: of the image; layers: uncompressed, the lowest first; bases: name → diff ids."""
    ids = config["rootfs"].get("diff_ids") or []
    base = max((name for name, below in bases.items() if ids[:len(below)] == list(below)),
               key=lambda name: len(bases[name]), default="")
    below = len(bases.get(base, ()))
    tree: Tree = {}
    changes = []
    for number, layer in enumerate(layers):
        before = tree
        tree, groups = applied(before, layer, number)
        if number >= below:
            changes.append(effect(before, tree, groups))
    told = {key: value for key, value in config.items() if key not in ("created", "rootfs", "history")}
    if (told.get("architecture"), told.get("os")) == ("amd64", "linux"):
        del told["architecture"], told["os"]
    history = (config.get("history") or [])[below:]
    return {"base": base, "config": told, "history": list(said(history, changes)),
            "layers": [change for change in changes if change]}


def said(history: Iterable[dict[str, Any]], changes: Sequence[dict[str, Any]]) -> Iterable[str]:
    left = list(changes)
    for entry in history:
        text = entry.get("created_by", "")
        for ours, theirs in COMMENTS:
            text = text.replace(ours, theirs)
        has_layer = not entry.get("empty_layer") and bool(left)
        yield f"{'+' if has_layer and left.pop(0) else '0'} {text}"


def applied(before: Tree, layer: IO[bytes], number: int) -> tuple[Tree, dict[int, str]]:
    """(the tree with this layer on it, the first name of each file it brought)."""
    tree = dict(before)
    fresh: Tree = {}
    with tarfile.open(fileobj=layer) as archive:
        for place, info in enumerate(archive):
            path = "/".join(part for part in info.name.split("/") if part not in ("", "."))
            folder, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                _remove(tree, folder, itself=False)
            elif name.startswith(".wh."):
                _remove(tree, f"{folder}/{name[4:]}".lstrip("/"))
            elif info.islnk():
                target = "/".join(part for part in info.linkname.split("/") if part not in ("", "."))
                fresh[path] = fresh[target] if target in fresh else tree[target]
            else:
                fresh[path] = node(info, archive, number * 100_000 + place)
    for path, one in sorted(fresh.items()):
        if not (one.told.startswith("d") and path in tree and tree[path].told.startswith("d")):
            _remove(tree, path)
        tree[path] = one
    groups: dict[int, str] = {}
    for path, one in sorted(fresh.items()):
        groups.setdefault(one.group, path)
    return tree, groups


def _remove(tree: Tree, path: str, *, itself: bool = True) -> None:
    for found in [name for name in tree if name.startswith(f"{path}/") or (itself and name == path)]:
        del tree[found]


def node(info: tarfile.TarInfo, archive: tarfile.TarFile, group: int) -> Node:
    rest = ""
    if info.isreg():
        stream = archive.extractfile(info)
        assert stream is not None
        rest = f" {content(stream.read())}"
    elif info.issym():
        rest = f" {info.linkname}"
    elif info.isdev() and not info.isfifo():
        rest = f" {info.devmajor},{info.devminor}"
    xattrs = [f" {key.removeprefix('SCHILY.xattr.')}={value!r}" for key, value in sorted(info.pax_headers.items())
              if key.startswith("SCHILY.xattr.")]
    mode = 0o777 if info.issym() else info.mode & 0o7777
    time = str(int(info.mtime)) if info.mtime < MADE_NOW else "now"
    return Node(f"{KINDS[info.type]} {mode:04o} {info.uid}:{info.gid}{rest}{''.join(xattrs)}", time, group)


def content(data: bytes) -> str:
    text = data.decode("utf-8", "surrogateescape")
    if len(data) <= SHORT:
        return json.dumps(text)
    return f"sha256:{hashlib.sha256(data).hexdigest()} {len(data)}"


def effect(before: Tree, after: Tree, groups: dict[int, str]) -> dict[str, str | None]:
    """What is different; below a path that is gone nothing is told."""
    found: dict[str, str | None] = {}
    for path in sorted(before.keys() - after.keys()):
        if not any(path.startswith(f"{gone}/") for gone, value in found.items() if value is None):
            found[path] = None
    for path, one in after.items():
        old = before.get(path)
        if old is one or (old and old.told == one.told and (one.told.startswith("d") or old.time == one.time)):
            continue
        first = groups.get(one.group, path)
        found[path] = str(one) if first == path else f"= {first}"
    return dict(sorted(found.items()))


def plain(text: str) -> str:
    """Of a message: one line, in small letters."""
    return " ".join(text.split()).lower()




def without(one: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """An answer, but for these paths, and the history if it is among them."""
    if "layers" not in one:
        return one
    if "history" in paths:
        one = {**one, "history": []}
    left = [{path: node for path, node in layer.items() if path not in paths} for layer in one["layers"]]
    return {**one, "layers": [layer for layer in left if layer]}
