"""How much memory one command needed at its peak, as the kernel counts it."""

import contextlib
import sys
from pathlib import Path
from typing import Any

from tests.conftest import Person

# The command leaves by os._exit, and so do the processes that it forks, which are not measured.
_SCRIPT = """
import os, runpy, sys
out, sys.argv = sys.argv[1], ["iechor", *sys.argv[2:]]
here, leave = os.getpid(), os._exit
def tell(code):
    if os.getpid() == here:
        status = open("/proc/self/status").read()
        with open(out, "w") as sink:
            sink.write(status.partition("VmHWM:")[2].split()[0])
    leave(code)
os._exit = tell
runpy.run_module("rootless_builder", run_name="__main__", alter_sys=True)
"""


def measured(person: Person, *args: str | Path, timeout: float = 120, **kwargs: Any) -> tuple[int, str, int]:
    """`iechor ARGS` of that person: exit code, standard error, peak resident set in KiB (of its own process)."""
    out = person.home / "peak"
    with contextlib.suppress(FileNotFoundError):
        out.unlink()
    done = person.run(sys.executable, "-c", _SCRIPT, out, *args, timeout=timeout, **kwargs)
    return done.returncode, done.stderr, int(out.read_text())
