"""Which process: pid, start time and boot, so that a pid used again is never taken for ours (proc(5))."""

from pathlib import Path

from ..values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """A process of this host. `started` is field 22 of /proc/PID/stat: clock ticks after boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "ProcessMark":
        """Errors: ProcessLookupError."""
        return cls(pid=pid, started=_start_time(pid), boot=_boot_id())

    @property
    def alive(self) -> bool:
        try:
            return self.boot == _boot_id() and self.started == _start_time(self.pid)
        except ProcessLookupError:
            return False


def _start_time(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(pid) from None
    fields = text[text.rindex(b")") + 2:].split()  # the name before may hold spaces and parentheses
    if fields[0] in (b"Z", b"X"):
        raise ProcessLookupError(pid)
    return int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
