"""The process that stays with a container after `run -d`: it owns the sandbox, writes the log, records the end.

    run -d ──exec──▶ first process ──fork──▶ monitor (own session, child of pid 1, nothing of the caller's open)
       └──────◀── "ready" pipe: {"notices": […]} or {"error": …}, when the application runs or cannot ──┘
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ..errors import ContainerError, IechorError
from ..sandbox.failures import decode, encode
from ..sandbox.launcher import Launcher
from ..sandbox.spec import SandboxSpec
from .console import SignalProxy
from .folders import Containers
from .plumbing import Streams
from .state import Container
from .watch import Watch

PACKAGE = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {0} import main; main(sys.argv[1:])"


def start(container: Container) -> tuple[str, ...]:
    """Starts the monitor of a published container and waits until the application runs. → what the user should know.

    Errors: what the monitor's launch raised; ContainerError when it died of something else.
    """
    ready, inner = os.pipe()
    try:
        with (container.folder / "monitor.log").open("wb") as complaints:
            # No -m: it would put the caller's folder, with whatever json.py is in there, before everything else.
            first = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM.format(__name__), PACKAGE, container.folder, str(inner)],
                stdin=subprocess.DEVNULL, stdout=complaints, stderr=complaints, pass_fds=(inner,),
                start_new_session=True, cwd="/")
    finally:
        os.close(inner)
    try:
        with open(ready, "rb") as stream:
            first.wait()  # it ends as soon as the monitor is its own
            answer = stream.read()
    except BaseException:  # Ctrl-C: nobody will know of the container
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)  # the monitor's group is the first process's
        raise
    if not answer:
        raise died(container)
    message = json.loads(answer)
    if "error" in message:
        raise decode(message["error"])
    return tuple(message["notices"])


def died(container: Container) -> ContainerError:
    said = (container.folder / "monitor.log").read_text(errors="replace").strip().splitlines()[-1:]
    return ContainerError(f"cannot start container {container.name}: its monitor has died: {' '.join(said)}",
                          hint="run it without -d to see more")


def main(argv: list[str]) -> None:
    """The first process ends here at once; the monitor stays until its container has ended."""
    folder, ready = Path(argv[0]), int(argv[1])
    os.set_inheritable(ready, False)
    if os.fork():
        os._exit(0)
    try:
        _stay(folder, ready)
    except IechorError:
        sys.exit(1)


def _stay(folder: Path, ready: int) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # logging out is no reason to end
    containers = Containers(folder.parent)
    container = containers.get(folder.name)
    spec = SandboxSpec.from_json((folder / "spec.json").read_text())

    told = False

    def tell(message: dict[str, object]) -> None:
        nonlocal told
        told = True
        with open(ready, "w") as stream:
            json.dump(message, stream)

    with SignalProxy() as proxy:
        try:
            Watch(containers, container, proxy, Launcher(), clock=time.time).run(
                spec, Streams(), lambda notices: tell({"notices": notices}))
        except IechorError as error:
            if not told:
                tell({"error": encode(error)})
            raise
