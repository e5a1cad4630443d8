"""The digest of what a COPY takes from a context: names, kinds, contents and the bits that matter; nothing else.

Never times, or what a umask decides (umask.py), nor the owners a folder has on this host: the same commit cloned by two
users gives one digest. Owners that an archive or an image tells count, as they go into the image.
"""

import functools
import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator

from ..errors import SourceError
from ..layercore import hash_files
from ..paths import ImagePath, decode, encode
from ..tree.node import Device, Directory, File, HostFile, Node, Symlink
from ..tree.tree import Tree
from .survey import Survey
from .umask import counted

Hashes = Callable[[list[File]], Iterable[bytes]]  # files → the sha256 of each, 32 bytes
CHUNK = 1 << 20
PERMISSIONS = 0o10000


def selection_digest(tree: Tree, hashes: Hashes, found: Iterable[tuple[ImagePath, ImagePath]],
                     umask: int = 0) -> str:
    """64 hex digits. found: (path as named, path it leads to); of a folder what it holds is taken, not its own mode.
    umask: of whoever made the files.

    Every file is read once. Errors: SourceError for one that cannot be read.
    """
    digest = hashlib.sha256()
    files: list[File] = []
    for named, path in found:
        digest.update(b"source\0" + encode(named) + b"\0")
        for inner, node in tree.walk(path):
            relative = inner[len(path):].lstrip("/")
            itself = not relative and isinstance(node, Directory)
            digest.update(encode(relative) + b"\0" + (b"d" if itself else _told(node, umask)) + b"\0")
            if isinstance(node, File):
                files.append(node)
    for content in hashes(files):
        digest.update(content)
    return digest.hexdigest()


def survey_digest(found: Iterable[tuple[ImagePath, Survey]], umask: int) -> str:
    """The same digest of what was surveyed. Errors: NotWhole, SourceError."""
    digest = hashlib.sha256()
    contents = []
    for named, survey in found:
        digest.update(b"source\0" + encode(named) + b"\0" + (b"" if survey.path else b"\0d\0"))
        text, files = survey.told(_counted(umask))
        digest.update(text)
        contents.append(files)
    for files in contents:
        digest.update(files)
    return digest.hexdigest()


def survey_parts(survey: Survey, umask: int) -> Iterator[tuple[ImagePath, str]]:
    """(path below what was surveyed, "" for itself; digest of all that counts of it), in the order of a walk.

    Errors: NotWhole, SourceError.
    """
    text, contents = survey.told(_counted(umask))
    pieces, files = iter(text.split(b"\0")[:-1]), memoryview(contents)
    for path, told in zip(pieces, pieces, strict=False):
        if told.startswith(b"l"):
            next(pieces)  # a target ends with a byte of its own
        elif told.startswith(b"f"):
            told, files = told + files[:32], files[32:]
        yield ImagePath(decode(path)), hashlib.sha256(told).hexdigest()


def on_host(root_fd: int) -> Hashes:
    """For HostFiles below the folder `root_fd`: read in batches, by C. Errors: SourceError."""
    def hashes(files: list[File]) -> list[bytes]:
        contents = [file.content for file in files]
        return _hashed(root_fd, [one.path for one in contents if isinstance(one, HostFile)])

    return hashes


def anywhere(files: list[File]) -> Iterator[bytes]:
    """For files inside an archive, or without a name. Errors: SourceError."""
    for file in files:
        digest, left = hashlib.sha256(), file.size
        try:
            fd, offset = file.content.open()
            with open(fd, "rb") as stream:
                stream.seek(offset, os.SEEK_SET)
                while left and (data := stream.read(min(left, CHUNK))):
                    digest.update(data)
                    left -= len(data)
        except OSError as error:
            raise SourceError(f"cannot read a file of an archive: {error.strerror}") from error
        yield digest.digest()


def _hashed(root_fd: int, files: list[bytes]) -> list[bytes]:
    try:
        return hash_files(root_fd, files)
    except OSError as error:
        name = error.filename.decode("utf-8", "replace") if isinstance(error.filename, bytes) else error.filename
        raise SourceError(f"cannot read {name or 'a source file'}: {error.strerror}",
                          hint="make it readable, or exclude it in .iechorignore") from error


@functools.cache
def _counted(umask: int) -> bytes:
    """What of each mode counts, as Survey.told takes it. Asked for each source of a COPY."""
    return struct.pack(f"={PERMISSIONS}I", *(counted(mode, umask) for mode in range(PERMISSIONS)))


def _told(node: Node, umask: int) -> bytes:
    """What of a node counts, its content apart."""
    xattrs = b"".join(encode(name) + b"=" + value + b"\0" for name, value in node.meta.xattrs)
    if node.meta.uid or node.meta.gid:
        xattrs += b"%d:%d" % (node.meta.uid, node.meta.gid)
    if isinstance(node, Symlink):
        return b"l" + encode(node.target) + b"\0" + xattrs
    mode = counted(node.meta.mode, umask)
    if isinstance(node, File):
        return b"f%o:%d:" % (mode, node.size) + xattrs
    if isinstance(node, Directory):
        return b"d%o:" % mode + xattrs
    assert isinstance(node, Device)
    return b"n%o:%o:%d:%d:" % (mode, node.kind, node.major, node.minor) + xattrs
