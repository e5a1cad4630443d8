HAS_LISTENER: int
HAS_WAIT_KILLABLE: int
HAS_OPENAT2: int
HAS_PIDFD_GETFD: int
HAS_VM_READ: int
HAS_LOCKS_LIMIT: int

def probe() -> int: ...
def install_filter(fsync: bool, /) -> int: ...
def serve(
    listener: int, proc_fd: int, table: bytes, dev: int, upper_fd: int, control_fd: int,
    mounts: tuple[tuple[bytes, bytes], ...], view: bytes, /
) -> tuple[bytes, tuple[bytes, ...], int, int, int, int, int]: ...
def fork_pid1(link: int, /) -> int: ...
