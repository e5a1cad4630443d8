"""Two stores' images, compared path by path: what one user built is what another, usually real root, built.

    differing(ours, theirs)          [] when every layer has the same digest, else a line for each path that differs
    differing(…, freely=FREELY)      the same, but the content of these paths may differ

Layers are read with Python's tarfile straight from the store: no reader of ours vouches for its writer.
"""

import dataclasses
import difflib
import fnmatch
import hashlib
import itertools
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.conftest import Person

XATTR = "SCHILY.xattr."
SHORT = 1 << 16
KINDS = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.GNUTYPE_SPARSE: "file", tarfile.DIRTYPE: "folder",
         tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hard link", tarfile.CHRTYPE: "character device",
         tarfile.BLKTYPE: "block device", tarfile.FIFOTYPE: "fifo"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One entry of a layer. link: a symlink's target or a hard link's other name. device: major, minor, of nodes.

    content: a short text itself, for the message; else its SHA-256.
    """

    kind: str
    mode: str
    owner: tuple[int, int]
    link: str
    device: tuple[int, int] | None
    xattrs: tuple[tuple[str, str], ...]
    mtime: float
    size: int
    content: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """made_by: the history's words for the step."""

    digest: str
    made_by: str
    tar: Path

    def members(self) -> dict[str, Member]:
        """Path → entry; a path that a layer holds twice is an error of its writer."""
        found: dict[str, Member] = {}
        with tarfile.open(self.tar) as archive:
            for info in archive:
                assert info.name not in found, f"{info.name} is twice in the layer of {self.made_by}"
                found[info.name] = _member(archive, info)
        return found


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    xattrs = {key.removeprefix(XATTR): value.encode("utf-8", "surrogateescape").hex()
              for key, value in info.pax_headers.items() if key.startswith(XATTR)}
    return Member(kind=KINDS[info.type], mode=oct(info.mode), owner=(info.uid, info.gid), link=info.linkname,
                  device=(info.devmajor, info.devminor) if info.isdev() and not info.isfifo() else None,
                  xattrs=tuple(sorted(xattrs.items())), mtime=info.mtime, size=info.size,
                  content=_content(archive, info))


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    reader = archive.extractfile(info) if info.isreg() else None
    if reader is None:
        return ""
    if info.size <= SHORT and b"\0" not in (data := reader.read()):
        return data.decode(errors="backslashreplace")
    reader.seek(0)
    return hashlib.file_digest(reader, "sha256").hexdigest()  # type: ignore[arg-type]


def layers(person: Person, image: str) -> list[Layer]:
    """The image's layers, base first; those we built lie uncompressed in the store."""
    manifest = person.store / "blobs/sha256"
    [shown] = json.loads(person.iechor("inspect", image).stdout)
    config = json.loads((manifest / shown["Id"].removeprefix("sha256:")).read_text())
    steps = [entry.get("created_by", "") for entry in config["history"] if not entry.get("empty_layer")]
    digests = config["rootfs"]["diff_ids"]
    assert len(steps) == len(digests)
    return [Layer(digest=digest, made_by=step, tar=manifest / digest.removeprefix("sha256:"))
            for digest, step in zip(digests, steps, strict=True)]


def differing(ours: Layer, theirs: Layer, freely: Mapping[str, str] | None = None) -> list[str]:
    """A line for each path that is not the same in both; freely: shell pattern of paths → why their content differs.

    Type, owner, mode, link target, device, attributes and time are compared for all paths, always.
    """
    if ours.digest == theirs.digest:
        return []
    one, two = ours.members(), theirs.members()
    found = [f"{path}: only ours has it: {one[path]}" for path in sorted(one.keys() - two.keys())]
    found += [f"{path}: only theirs has it: {two[path]}" for path in sorted(two.keys() - one.keys())]
    for path in sorted(one.keys() & two.keys()):
        found += _between(path, one[path], two[path], freely or {})
    if not found and freely is None:
        found = [f"the bytes of the archive: {ours.digest} {theirs.digest}, in the order {[*one] == [*two]}"]
    return found


def _between(path: str, ours: Member, theirs: Member, freely: Mapping[str, str]) -> Iterator[str]:
    free = any(fnmatch.fnmatchcase(path, pattern) for pattern in freely)
    for field in dataclasses.fields(Member):
        mine, yours = getattr(ours, field.name), getattr(theirs, field.name)
        if mine == yours or free and field.name in ("size", "content"):
            continue
        if field.name == "content":
            lines = difflib.unified_diff(yours.splitlines(), mine.splitlines(), "real root", "ours", lineterm="", n=0)
            yield "\n".join([f"{path}: content differs", *itertools.islice(lines, 40)])
        else:
            yield f"{path}: {field.name} is {mine}, for real root {yours}"
