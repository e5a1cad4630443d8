"""The server's process (server.py) as its launcher holds it. Begun early, it imports what it needs while others do."""

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

from . import wire

BOOT = ("import sys; sys.path[:0] = sys.argv[2:]; from rootless_builder.sandbox.server import main; "
        "main(int(sys.argv[1]))")


class ServerProcess:
    """A context manager. It ends when `control` does, however its launcher ends."""

    def __init__(self) -> None:
        self.control, inner = wire.pair()
        # -I, -S and no environment: nothing of the caller's may end up in the container's /proc, or decide what
        # is imported. The server has its own session, so that a terminal's Ctrl-C is the launcher's alone.
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", BOOT, str(inner.fileno()), package,
             *(path for path in sys.path if os.path.isabs(path))],
            pass_fds=(inner.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={}, start_new_session=True)
        inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server, and with it every sandbox still running. May be called twice."""
        if self._process is not None:
            self.control.close()
            self._process.wait()
            self._process = None
