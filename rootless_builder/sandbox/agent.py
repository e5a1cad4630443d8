"""An SSH agent of our own for the keys that `--ssh id=KEY` names: OpenSSH's, for the length of a step."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import SourceError

_PATIENCE = 10.0  # seconds until its socket is there


@contextmanager
def key_agent(keys: Sequence[str], environ: Mapping[str, str]) -> Iterator[Path]:
    """The agent's socket. keys: paths of private keys without a passphrase. Errors: SourceError."""
    with tempfile.TemporaryDirectory(prefix="iechor-ssh-") as folder:
        socket = Path(folder) / "agent"
        env = {"PATH": environ.get("PATH", "/usr/bin:/bin"), "HOME": environ.get("HOME", "/"), "LC_ALL": "C"}
        try:
            agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], env=env, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            raise SourceError("cannot use an SSH key: ssh-agent is not installed",
                              hint="install OpenSSH's client, or give an agent's socket: --ssh default") from None
        try:
            _await(socket, agent)
            for key in keys:
                done = subprocess.run(["ssh-add", "-q", key], env=env | {"SSH_AUTH_SOCK": str(socket)}, check=False,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True)
                if done.returncode:
                    said = done.stderr.strip().splitlines()
                    raise SourceError(f"cannot use the SSH key {key}: {said[-1] if said else 'ssh-add failed'}",
                                      hint="give a key without a passphrase, or an agent's socket")
            yield socket
        finally:
            agent.terminate()
            agent.wait()


def _await(socket: Path, agent: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _PATIENCE
    while not socket.is_socket():
        if agent.poll() is not None or time.monotonic() > end:
            raise SourceError("cannot use an SSH key: ssh-agent does not start")
        time.sleep(0.01)
