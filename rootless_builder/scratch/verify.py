"""Are the unpacked layers what their tars say? For `iechor check`: a layer is trusted as it lies when a RUN uses it.

    quick    as many paths and bytes as there were when it was unpacked
    else     also the bytes of each file, compared with the layer's tar, which is read once from its beginning

Owners, modes and times are not compared. Reads only; other processes may work there meanwhile.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import IechorError
from ..oci.descriptor import MEDIA_TYPE_LAYER, Descriptor
from ..oci.digest import Digest, InvalidDigest
from ..paths import ImagePath, basename, encode, parent
from ..store.images import LayerRef
from ..store.inflate import TarStream
from ..store.store import Store
from ..tree.changes import Put
from ..tree.node import File
from .places import Places
from .unpack import Piece, pieces_of
from .unpacked import sum_of
from .walk import FOLDER

_CHUNK = 1 << 18


def flaws(places: Places, store: Store, *, quick: bool) -> Iterator[tuple[Path, str]]:
    """(folder of the layer, what is wrong with it, as the end of a sentence)."""
    known = {} if quick else _layers(store)
    with contextlib.suppress(FileNotFoundError):
        for folder in sorted(places.layers.iterdir()):
            what = _flaw(folder, known, store)
            if what is not None and folder.exists():  # else it was pruned meanwhile
                yield folder, what


def _layers(store: Store) -> dict[Digest, LayerRef]:
    """Of all images."""
    found: dict[Digest, LayerRef] = {}
    for record in store.images.list():
        with contextlib.suppress(IechorError):
            found.update((layer.diff_id, layer) for layer in store.images.load(record.manifest).layers)
    return found


def _flaw(folder: Path, known: Mapping[Digest, LayerRef], store: Store) -> str | None:
    try:
        facts = json.loads((folder / "layer.json").read_bytes())
        expected, diff_id = facts["sum"], Digest.parse(facts["diff_id"])
        root_fd = os.open(folder / "root", FOLDER)
    except (OSError, ValueError, InvalidDigest, KeyError, TypeError):
        return "it has no layer.json that can be read, or no files"
    try:
        count, size = sum_of(root_fd)
        if [count, size] != expected:
            return f"it has {count} paths of {size} bytes in all, and should have {expected}"
        layer = known.get(diff_id) or _stored(diff_id, store)
        if layer is not None:
            path = _other_bytes(root_fd, layer, store)
            return None if path is None else f"/{path} is not what the layer's tar has"
    except (OSError, IechorError):
        return None  # pruned meanwhile, or a layer that is damaged itself: that is told elsewhere
    finally:
        os.close(root_fd)
    return None


def _stored(diff_id: Digest, store: Store) -> LayerRef | None:
    """A layer of a cached step: a tar that is not compressed."""
    size = store.blobs.size(diff_id)
    if size is None:
        return None
    return LayerRef(diff_id=diff_id, blob=Descriptor(media_type=MEDIA_TYPE_LAYER, digest=diff_id, size=size))


def _other_bytes(root_fd: int, layer: LayerRef, store: Store) -> ImagePath | None:
    """The first file that differs."""
    files = sorted((pieces_of(change.node.content), change.path) for change in store.trees.changes(layer)
                   if isinstance(change, Put) and isinstance(change.node, File) and change.node.size)
    with store.trees.stream(layer) as stream:
        for pieces, path in files:
            if not pieces or stream.position > pieces[0][0]:
                continue  # all of it a hole; one more name of the file before
            try:
                fd = _open(root_fd, path)
            except PermissionError:
                continue  # of a subordinate uid
            except OSError:
                return path
            try:
                if not _same(stream, pieces, fd):
                    return path
            finally:
                os.close(fd)
    return None


def _same(stream: TarStream, pieces: tuple[Piece, ...], fd: int) -> bool:
    for source, position, length in pieces:
        stream.skip_to(source)
        while length:
            data = stream.read(min(length, _CHUNK))
            if not data or os.pread(fd, len(data), position) != data:
                return False
            position += len(data)
            length -= len(data)
    return True


def _open(root_fd: int, path: ImagePath) -> int:
    """Each part by itself: no symlink is followed, and no path is too long."""
    folder = os.dup(root_fd)
    try:
        for part in encode(parent(path)).split(b"/") if parent(path) else []:
            below = os.open(part, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(encode(basename(path)), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
