"""Answers: what a build said whose steps were all in the cache, and everything it had looked at.

    SCRATCH/answers/NUMBER    one for each call; NUMBER: of its words and folder
    magic 8 │ CRC-32 of the rest 4 │ marshal

Where all of that is as it was (check.py), the same build would say the same: it is said again, and nothing of a build
is imported; as git and ninja do with their index. Of what may hold a password (words, environment, files) only digests
are kept. Written whole and renamed into place. A file that is damaged, was
written by another Python, or could be somebody else's, is as good as none.
"""

import os
import sys
from binascii import crc32
from collections.abc import Mapping, Sequence
from marshal import dumps, loads

from ..layercore import sha256
from ..values import asdict, dataclass

# What changes from one command of a shell to the next, and nothing here reads.
_UNREAD = frozenset({"_", "OLDPWD", "PWD", "SHLVL"})
_MAGIC = b"ieanswr2"
_HEAD = len(_MAGIC) + 4
_OTHERS_MAY_WRITE = 0o022

Call = tuple[str, bytes]  # the name of its answer; SHA-256 of all that call_of takes
Told = tuple[int, bytes]  # of a file: its size, SHA-256 of its bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """call: see call_of. code: (path, size, mtime in ns) of each file that is part of this program. files: path → what
    tells it, None: there is none. sizes: path → bytes of a file. context: its folder, the ignore file's text if there
    is one, and what it holds; memory: see context.py. scratch, store: folders. used: files whose mtime says when they
    were last used.

    events: (class, fields) in their order. progress: as it was asked for. printed: to standard output.
    """

    call: Call
    code: tuple[tuple[str, int, int], ...]
    files: dict[str, Told | None]
    sizes: dict[str, int]
    context: tuple[str, bytes | None, bytes]
    memory: bytes
    scratch: str
    store: str
    store_mode: tuple[int, int]
    used: tuple[str, ...]
    events: tuple[tuple[str, dict[str, object]], ...]
    progress: str
    printed: str


def call_of(words: Sequence[str], environ: Mapping[str, str], folder: str) -> Call:
    """What names a call made in `folder`: all that a build may ask of its process, and which iechor it is.

    Errors: OSError where the folder is gone.
    """
    here = os.stat(folder)
    known = tuple(sorted(item for item in environ.items() if item[0] not in _UNREAD))
    ids = (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), *os.getgroups())
    named = repr((tuple(words), folder)).encode(errors="surrogatepass")
    rest = repr((here.st_dev, here.st_ino, known, ids, tuple(os.uname()), sys.version, os.path.dirname(__file__)))
    return f"{crc32(named):08x}", sha256(named + rest.encode(errors="surrogatepass"))


def told_of(data: bytes | None) -> Told | None:
    return None if data is None else (len(data), sha256(data))


def usual_scratch(environ: Mapping[str, str]) -> str:
    """The scratch folder, where neither an option nor a configuration file names one."""
    return os.path.abspath(environ.get("IECHOR_SCRATCH") or f"/var/tmp/iechor-{os.getuid()}")


def path_of(scratch: str, call: Call) -> str:
    return os.path.join(scratch, "answers", call[0])


def read(path: str) -> Answer | None:
    """None for what is no answer."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as stream:
            ours = _is_ours(os.fstat(fd)) and _is_ours(os.lstat(os.path.dirname(path)))
            data = stream.read() if ours else b""
    except OSError:
        return None
    if data[:len(_MAGIC)] != _MAGIC or data[len(_MAGIC):_HEAD] != _sum(data[_HEAD:]):
        return None
    try:
        return Answer(**loads(data[_HEAD:]))
    except (ValueError, EOFError, TypeError):  # of another Python, or of an iechor that notes other things
        return None


def packed(answer: Answer) -> bytes:
    data = dumps(asdict(answer))
    return _MAGIC + _sum(data) + data


def _sum(data: bytes) -> bytes:
    return crc32(data).to_bytes(4, "little")


def _is_ours(status: os.stat_result) -> bool:
    """Nobody else can have written it: scratch may lie in /var/tmp."""
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE
