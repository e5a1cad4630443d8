"""The corpus as text: how a case is written down, and what it makes of it: a context on disk, a base image, an archive.

    === name of the case          unique in the corpus; `# Buildah: …` lines below it say where others differ
    @files a d/b:600 l->a         the context; see TOKEN, below
    @args A=1 B=2                 build args            @target STAGE
    @tar t.tgz a:600 d/           an archive in the context, packed as its suffix says
    @text .dockerignore *.log     a file whose text is the rest of the line; \\n is a newline, \\udcXX the byte XX
    @context NAME a b             a named context
    @option no-cache              anything else, for both builders: label=A=B
    @error words [|| words]       no image comes of it; the words are in BuildKit's message, the second ones in ours
    @ours refuses: words          BuildKit makes an image of it, we say this         \
    @ours builds: why             BuildKit refuses, we make an image                   } where we differ on purpose
    @ours without PATH…: why      these paths are not compared; "history" is that    /
    FROM box                      the build file: all from the first line on that does not begin with "@"

bases.txt is written in the same way: `@layer` adds a layer, `@busybox` puts the programs into the first, the body is
the config as JSON, and "history": null in it leaves the base without one.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import shlex
import socket
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ARCHITECTURE = "amd64"  # of the answers
OLD = 1_000_000_000  # the mtime of all that is given, unless it says "@seconds": what is later was made by a builder
TOKEN = re.compile(r"""(?P<path>[^:%@=|!]+?)
    (?: -> (?P<symlink>[^:%@=]*) | == (?P<hardlink>[^:%@=]*) | (?P<fifo>\|) | (?P<socket>~)
     | !(?P<device>[cb]\d+,\d+) )?
    (?: :(?P<mode>[0-7]{1,4}) )? (?: %(?P<uid>\d+):(?P<gid>\d+) )? (?: @(?P<mtime>\d+) )? (?: =(?P<text>.*) )?""",
                   re.VERBOSE | re.DOTALL)
KINDS = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE, "socket": b"socket"}
DEVICES = {"c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """kind: a tarfile type, or b"socket"; link: target of a symlink, or the other name of a hard link."""

    path: str
    kind: bytes = tarfile.REGTYPE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = OLD
    data: bytes = b""
    link: str = ""
    device: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    group: str
    name: str
    text: str = ""
    files: tuple[Entry, ...] = ()
    args: tuple[str, ...] = ()
    target: str = ""
    contexts: dict[str, tuple[Entry, ...]] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    error: tuple[str, str] = ("", "")
    refuses: str = ""
    builds: bool = False
    without: tuple[str, ...] = ()
    layers: tuple[tuple[Entry, ...], ...] = ()
    busybox: bool = False


def read_all() -> list[Case]:
    """Every case of the corpus, group by group."""
    found = [case for path in sorted((HERE / "cases").glob("*.txt")) for case in read_cases(path)]
    names = [case.name for case in found]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"two cases have one name: {twice}"
    return found


def bases() -> list[Case]:
    return read_cases(HERE / "bases.txt")


def read_cases(path: Path) -> list[Case]:
    _, *blocks = re.split(r"^=== ", path.read_text(), flags=re.MULTILINE)
    return [_read(path.stem, block) for block in blocks]


def _read(group: str, block: str) -> Case:
    name, _, rest = block.partition("\n")
    case = Case(group=group, name=name.strip())
    while rest.startswith("@"):
        line, _, rest = rest.partition("\n")
        case = _directive(case, *line[1:].partition(" ")[::2])
    return replace(case, text=rest.removesuffix("\n").removesuffix("\n") + "\n")


def _directive(case: Case, word: str, rest: str) -> Case:
    first, _, after = rest.partition(" ")
    match word:
        case "files":
            return replace(case, files=(*case.files, *entries(rest)))
        case "tar":
            data = packed(first, tar(list(entries(after))))
            return replace(case, files=(*case.files, Entry(path=first, data=data)))
        case "text":
            return replace(case, files=(*case.files, Entry(path=first, data=_bytes(after))))
        case "args":
            return replace(case, args=(*case.args, *shlex.split(rest)))
        case "target":
            return replace(case, target=rest)
        case "context":
            return replace(case, contexts={**case.contexts, first: tuple(entries(after))})
        case "option":
            return replace(case, options=(*case.options, rest))
        case "error":
            theirs, _, ours = rest.partition(" || ")
            return replace(case, error=(theirs, ours or theirs))
        case "ours":
            return _differing(case, *rest.partition(": ")[::2])
        case "layer":
            return replace(case, layers=(*case.layers, tuple(entries(rest))))
        case "busybox":
            return replace(case, busybox=True)
    raise ValueError(f"{case.name}: @{word}")


def _differing(case: Case, how: str, why: str) -> Case:
    assert why, case.name
    if how == "refuses":
        return replace(case, refuses=why)
    if how == "builds":
        return replace(case, builds=True)
    return replace(case, without=tuple(shlex.split(how.removeprefix("without "))))


def _text(escaped: str) -> str:
    return escaped.encode("ascii", "backslashreplace").decode("unicode_escape")


def _bytes(escaped: str) -> bytes:
    return _text(escaped).encode("utf-8", "surrogateescape")


def entries(tokens: str) -> Iterator[Entry]:
    """path[/][->target | ==other name | | (FIFO) | ~ (socket) | !c1,3][:mode][%uid:gid][@mtime][=text]; a file without
    a text holds its own path.
    """
    for token in shlex.split(tokens):
        found = TOKEN.fullmatch(_text(token))
        assert found, token
        path = found["path"]
        kind = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
        kind = next((kind for name, kind in KINDS.items() if found[name] is not None), kind)
        major, minor = (found["device"] or "-0,0")[1:].split(",")
        kind = DEVICES[found["device"][0]] if found["device"] else kind
        text = found["text"] if found["text"] is not None else path if kind == tarfile.REGTYPE else ""
        yield Entry(
            path=path.rstrip("/"), kind=kind, uid=int(found["uid"] or 0), gid=int(found["gid"] or 0),
            mode=int(found["mode"], 8) if found["mode"] else 0o755 if kind == tarfile.DIRTYPE else 0o644,
            mtime=int(found["mtime"] or OLD), data=text.encode("utf-8", "surrogateescape"),
            link=found["symlink"] or found["hardlink"] or "", device=(int(major), int(minor)))


def make(files: Sequence[Entry], root: Path) -> None:
    """A context on disk, owned by whoever calls; times and modes last, the deepest first."""
    root.mkdir(parents=True)
    folders = {root: Entry(path="", mode=0o755)}
    for entry in files:
        path = root / entry.path
        for above in [*reversed(path.relative_to(root).parents)]:
            (root / above).mkdir(exist_ok=True)
            folders.setdefault(root / above, Entry(path=str(above), mode=0o755))
        if entry.kind == tarfile.DIRTYPE:
            path.mkdir(exist_ok=True)
            folders[path] = entry
            continue
        _put(entry, path, root)
    for path, entry in sorted(folders.items(), reverse=True):
        path.chmod(entry.mode)
        os.utime(path, (entry.mtime, entry.mtime))


def _put(entry: Entry, path: Path, root: Path) -> None:
    if entry.kind == tarfile.SYMTYPE:
        path.symlink_to(entry.link)
    elif entry.kind == tarfile.LNKTYPE:
        path.hardlink_to(root / entry.link)
        return
    elif entry.kind == tarfile.FIFOTYPE:
        os.mkfifo(path)
    elif entry.kind == b"socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path.write_bytes(entry.data)
    if entry.kind != tarfile.SYMTYPE:
        path.chmod(entry.mode)
    os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def tar(files: Sequence[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in files:
            info = tarfile.TarInfo(entry.path)
            info.type, info.mode, info.uid, info.gid = entry.kind, entry.mode, entry.uid, entry.gid
            info.mtime, info.linkname, info.size = entry.mtime, entry.link, len(entry.data)
            info.devmajor, info.devminor = entry.device
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def packed(name: str, data: bytes) -> bytes:
    """As the suffix of the name says."""
    if name.endswith(("gz", "gz.txt")):
        return gzip.compress(data, mtime=0)
    if name.endswith("bz2"):
        return bz2.compress(data)
    if name.endswith("xz"):
        return lzma.compress(data)
    if name.endswith("zst"):
        return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout
    return data


def programs() -> Iterator[Entry]:
    """Debian's static busybox and a link for each of its programs."""
    yield Entry(path="bin", kind=tarfile.DIRTYPE, mode=0o755)
    yield Entry(path="bin/busybox", mode=0o755, data=Path("/bin/busybox").read_bytes())
    listed = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout
    for applet in sorted(set(listed.split()) - {"busybox"}):
        yield Entry(path=f"bin/{applet}", kind=tarfile.SYMTYPE, mode=0o777, link="busybox")


def base_layers(base: Case) -> list[bytes]:
    """The uncompressed layers of a base, the lowest first."""
    files = [list(layer) for layer in base.layers]
    if base.busybox:
        files[0] = [*programs(), *files[0]]
    return [tar(layer) for layer in files]


def layout(case: Case, folder: Path) -> list[str]:
    """A base as an OCI image layout; its diff ids."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layers = [put(data, "layer.v1.tar") for data in base_layers(case)]
    ids = [layer["digest"] for layer in layers]
    given = json.loads(case.text)
    history = given.pop("history", [{"created": "2001-01-01T00:00:00Z", "created_by": "a base"}] * len(ids))
    config = put(json.dumps({
        "architecture": ARCHITECTURE, "os": "linux", "config": given, "created": "2001-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": ids}, "history": history}).encode(), "config.v1+json")
    manifest = put(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": layers}).encode(), "manifest.v1+json")
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": f"docker.io/library/{case.name}:latest",
                                         "io.containerd.image.name": f"docker.io/library/{case.name}:latest"}}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return ids
