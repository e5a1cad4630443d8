"""What tells one process of this host from another of the same number: when it began, and in which boot (proc(5))."""

import functools


def started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat: clock ticks after boot. None when it has ended, a zombie's too, or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            stat = stream.read()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()  # the name before may hold spaces and parentheses
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


@functools.cache
def boot() -> str:
    """The boot of this machine; "" when it has no name, since /proc is masked."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return ""
