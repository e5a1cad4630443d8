"""The log of a container: the text format of CRI and of podman's k8s-file driver, one entry a line.

    2026-01-31T10:00:00.123456789Z stdout F a whole line
    2026-01-31T10:00:00.223456789Z stderr P the beginning of one, more of this stream follows

Bytes are kept as they came; only newlines are the format's. Written by the monitor, one write(2) an entry.
"""

import contextlib
import os
import re
import select
import time
from collections.abc import Callable, Iterator

from ..errors import ContainerError, UsageError
from ..sandbox.wire import write_all
from ..values import dataclass
from .folders import Containers
from .state import Container, Status, missing

STDOUT, STDERR = 1, 2
_TAGS = {STDOUT: b"stdout", STDERR: b"stderr"}
_STREAMS = {tag: stream for stream, tag in _TAGS.items()}
_BLOCK = 1 << 16
_FOLLOW_EVERY = 100  # milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """`text` without its newline; partial: the line goes on. time: RFC 3339, UTC, nanoseconds."""

    time: str
    stream: int
    text: bytes
    partial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsRequest:
    """tail: only that many lines, None for all. since: seconds since the epoch."""

    container: str
    follow: bool = False
    tail: int | None = None
    since: float | None = None
    timestamps: bool = False


@dataclass(frozen=True, slots=True)
class LogWriter:
    """Appends to a log. clock: seconds since the epoch."""

    fd: int
    clock: Callable[[], float]

    def write(self, stream: int, data: bytes) -> None:
        """What one read(2) gave."""
        stamp = _stamp(self.clock()).encode()
        *lines, rest = data.split(b"\n")
        head = b"%s %s " % (stamp, _TAGS[stream])
        entries = [b"%sF %s\n" % (head, line) for line in lines]
        if rest:
            entries.append(b"%sP %s\n" % (head, rest))
        view = memoryview(b"".join(entries))
        with contextlib.suppress(OSError):  # a full disk costs lines of the log, never the application
            while view:
                view = view[os.write(self.fd, view):]


def _stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(seconds)))
    return f"{whole}.{int(seconds % 1 * 1e9):09d}Z"


def parse_since(text: str, now: float) -> float:
    """RFC 3339, seconds since the epoch, or an age such as 10m or 1h30m. Errors: UsageError."""
    age = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if text and age:
        days, hours, minutes, seconds = (int(part or 0) for part in age.groups())
        return now - (((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    try:
        return float(text)
    except ValueError:
        pass
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f'cannot show logs since "{text}": not a time',
                         hint="write RFC 3339, seconds since the epoch, or an age such as 10m") from None
    return moment.timestamp()


def read_log(container: Container, *, follow: bool = False, tail: int | None = None,
             since: float | None = None) -> Iterator[LogEntry]:
    """Entries in the order they were written; with `follow`, until the container ends. Errors: ContainerError."""
    earliest = _stamp(since) if since is not None else ""
    try:
        fd = os.open(container.log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise missing(container.name) from None
    try:
        if tail is not None:
            os.lseek(fd, _tail_offset(fd, tail), os.SEEK_SET)
        for line in _lines(fd, container if follow else None):
            entry = _parse(line)
            if entry is not None and entry.time >= earliest:
                yield entry
    finally:
        os.close(fd)


def _lines(fd: int, live: Container | None) -> Iterator[bytes]:
    """Whole lines of the file; of a live one, those to come as well."""
    rest = b""
    while True:
        ended = live is None or _ended(live)  # asked before the read: what was written until then is not missed
        while block := os.read(fd, _BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
        if ended:
            return


def _ended(container: Container) -> bool:
    """Waits a moment for the end of the container."""
    try:
        state = container.state()
        if state.status is Status.EXITED or state.monitor is None:
            return True
        pidfd = os.pidfd_open(state.monitor.pid)
    except (ContainerError, ProcessLookupError):
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(_FOLLOW_EVERY)
    finally:
        os.close(pidfd)
    return False


def _tail_offset(fd: int, lines: int) -> int:
    """Where the last `lines` lines begin; an unfinished last one counts."""
    size = os.fstat(fd).st_size
    if not size or not lines:
        return size
    import mmap

    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as data:
        end = data.rfind(b"\n") + 1
        while end > 0:
            begin = data.rfind(b"\n", 0, end - 1) + 1
            before = data.rfind(b"\n", 0, begin - 1) + 1 if begin else 0
            if not begin or data[before:before + 40].split(b" ", 3)[2:3] == [b"F"]:
                lines -= 1
            if not lines:
                return begin
            end = begin
    return 0


def _parse(line: bytes) -> LogEntry | None:
    """None for what a full disk cut short."""
    time, *rest = line.split(b" ", 3)
    if len(rest) != 3 or rest[0] not in _STREAMS:
        return None
    return LogEntry(time=time.decode("ascii", "replace"), stream=_STREAMS[rest[0]], text=rest[2],
                    partial=rest[1] == b"P")


def render(entries: Iterator[LogEntry], write: Callable[[int, bytes], None], *, timestamps: bool) -> None:
    """Calls write(stream, bytes) so that each stream reads as the application wrote it."""
    inside = {STDOUT: False, STDERR: False}
    for entry in entries:
        head = entry.time.encode() + b" " if timestamps and not inside[entry.stream] else b""
        write(entry.stream, head + entry.text + (b"" if entry.partial else b"\n"))
        inside[entry.stream] = entry.partial


def show_logs(containers: Containers, request: LogsRequest, *, stdout: int = 1, stderr: int = 2) -> None:
    """`iechor logs`: each stream to its own descriptor. Errors: ContainerError, BrokenPipeError."""
    entries = read_log(containers.get(request.container), follow=request.follow, tail=request.tail,
                       since=request.since)
    render(entries, lambda stream, data: write_all(stdout if stream == STDOUT else stderr, data),
           timestamps=request.timestamps)
