"""Which process: pid, start time and boot, so that a pid used again is never taken for ours."""

from .. import processes
from ..values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """A process of this host. `started`: clock ticks after boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "ProcessMark":
        """Errors: ProcessLookupError."""
        started = processes.started(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid=pid, started=started, boot=processes.boot())

    @property
    def alive(self) -> bool:
        return self.boot == processes.boot() and self.started == processes.started(self.pid)
