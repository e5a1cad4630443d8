"""The BuildKit inside docker's daemon, and a BuildKit of its own, given by path. The daemons are ours: started and
stopped by process id, on sockets and folders of their own. docker's needs root, and so is not rootless."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from .base import Contender, Missing, first_line

WAIT = 60.0  # seconds for a daemon to answer
# The client that came with the daemon: newer ones want buildx.
CLIENT = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"


class Docker(Contender):
    name = "docker BuildKit"

    def __init__(self, place: Path, user: str) -> None:
        super().__init__(place, "root")
        self._daemon: subprocess.Popen[bytes] | None = None

    def version(self) -> str:
        if os.geteuid() != 0:
            raise Missing("dockerd needs root")
        return first_line("dockerd", "--version")

    def start(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        self._daemon = subprocess.Popen(
            ["dockerd", "--iptables=false", "--bridge=none", f"--data-root={self.place}/data",
             f"--exec-root={self.place}/exec", "-H", self._host, "-p", f"{self.place}/pid"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(self.place / "log").open("wb"))
        answers([CLIENT, "-H", self._host, "version"], self._daemon, self.place / "log")

    def stop(self) -> None:
        ended(self._daemon)
        self._daemon = None
        subprocess.run(["umount", "-l", self.place / "data"], check=False, stderr=subprocess.DEVNULL)

    def daemons(self) -> list[int]:
        return [self._daemon.pid] if self._daemon is not None else []

    def reset(self) -> None:
        self._quietly("system", "prune", "--all", "--force", "--volumes")
        self._quietly("builder", "prune", "--all", "--force")

    def build(self, context: Path, tag: str, *, cached: bool = True) -> list[str]:
        return self._docker("build", "--network=host", *([] if cached else ["--no-cache"]), "-q",
                            "-f", str(context / "Dockerfile"), "-t", tag, str(context))

    def run(self, tag: str, *argv: str) -> list[str]:
        return self._docker("run", "--rm", "--network=host", tag, *argv)

    def save(self, tag: str, path: Path) -> list[str]:
        return ["sh", "-c", f"{CLIENT} -H {self._host} save {tag} | gzip -1 > {path}"]

    def push(self, tag: str, registry: str) -> list[str]:
        return ["sh", "-c", (f"{CLIENT} -H {self._host} tag {tag} {registry}/{tag} && "
                              f"{CLIENT} -H {self._host} push -q {registry}/{tag}")]

    def pull(self, name: str) -> list[str]:
        return self._docker("pull", "-q", name)

    def stored(self) -> list[Path]:
        return [self.place / "data"]

    @property
    def _host(self) -> str:
        return f"unix://{self.place}/sock"

    def _docker(self, *words: str) -> list[str]:
        return ["env", "DOCKER_BUILDKIT=1", CLIENT, "-H", self._host, *words]

    def _quietly(self, *words: str) -> None:
        subprocess.run(self._docker(*words), check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


class BuildKit(Contender):
    """folder: where buildkitd, buildctl and rootlesskit are (the release archive's bin/)."""

    name = "BuildKit rootless"

    def __init__(self, place: Path, user: str, folder: Path) -> None:
        super().__init__(place, user)
        self._folder = folder
        self._daemon: subprocess.Popen[bytes] | None = None

    def version(self) -> str:
        return first_line(str(self._folder / "buildkitd"), "--version")

    def start(self) -> None:
        super().reset()
        daemon = ["buildkitd", "--rootless", "--oci-worker-no-process-sandbox", "--addr", self._address,
                  "--root", str(self.place / "data")]
        kit = shutil.which("rootlesskit", path=f"{self._folder}:{os.environ.get('PATH', '')}")
        if kit is None:
            raise Missing("rootlesskit is not here")
        path = f"{self._folder}:/usr/bin:/bin:/usr/sbin:/sbin"
        self._daemon = subprocess.Popen(self.as_user([kit, "--net=host", *daemon], PATH=path),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=(self.place / "log").open("wb"))
        answers(self._buildctl("debug", "workers"), self._daemon, self.place / "log")

    def stop(self) -> None:
        ended(self._daemon)
        self._daemon = None

    def daemons(self) -> list[int]:
        return [self._daemon.pid] if self._daemon is not None else []

    def reset(self) -> None:
        subprocess.run(self._buildctl("prune", "--all"), check=False, capture_output=True)

    def build(self, context: Path, tag: str, *, cached: bool = True) -> list[str]:
        return self._buildctl("build", "--frontend", "dockerfile.v0", "--local", f"context={context}", "--local",
                              f"dockerfile={context}", *([] if cached else ["--no-cache"]), "--progress", "quiet",
                              "--output", f"type=image,name={tag}")

    def save(self, tag: str, path: Path) -> list[str]:
        raise NotImplementedError

    def stored(self) -> list[Path]:
        return [self.place / "data"]

    @property
    def _address(self) -> str:
        return f"unix://{self.place}/sock"

    def _buildctl(self, *words: str) -> list[str]:
        return self.as_user([str(self._folder / "buildctl"), "--addr", self._address, *words])


def answers(argv: list[str], daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    """Returns once the daemon does. Errors: Missing."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until and daemon.poll() is None:
        if subprocess.run(argv, check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.2)
    ended(daemon)
    lines = log.read_text(errors="replace").strip().splitlines() or ["it says nothing"]
    raise Missing(f"its daemon does not start: {lines[-1][:200]}")


def ended(daemon: "subprocess.Popen[bytes] | None") -> None:
    if daemon is not None and daemon.poll() is None:
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
