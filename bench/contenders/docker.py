"""The BuildKit inside docker's daemon, and a BuildKit of its own, given by path. The daemons are ours: started and
stopped by process id, on sockets and folders of their own. docker's needs root, and so is not rootless."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from .. import measure
from .base import PATH, Contender, Missing, first_line

WAIT = 60.0  # seconds for a daemon to answer
# The client that came with the daemon: newer ones want buildx.
CLIENT = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"


class Daemon(Contender):
    """One that works in a daemon."""

    def __init__(self, place: Path, user: str) -> None:
        super().__init__(place, user)
        self._daemon: subprocess.Popen[bytes] | None = None

    def begin(self, daemon: list[str], question: list[str]) -> None:
        """Returns once the daemon answers. Errors: Missing."""
        super().reset()
        log = self.place / "log"
        with log.open("wb") as output:
            self._daemon = measure.start(daemon, output.fileno())
        until = time.monotonic() + WAIT
        while time.monotonic() < until and self._daemon.poll() is None:
            if subprocess.run(question, check=False, capture_output=True).returncode == 0:
                return
            time.sleep(0.2)
        self.stop()
        lines = log.read_text(errors="replace").strip().splitlines() or ["it says nothing"]
        raise Missing(f"its daemon does not start: {lines[-1][:200]}")

    def stop(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.terminate()
            try:
                self._daemon.wait(30)
            except subprocess.TimeoutExpired:
                measure.end_tree(self._daemon.pid)
                self._daemon.wait()
        self._daemon = None

    def daemons(self) -> list[int]:
        return [self._daemon.pid] if self._daemon is not None else []

    def stored(self) -> list[Path]:
        return [self.place / "data"]


class Docker(Daemon):
    name = "docker BuildKit"
    rootless = False

    def __init__(self, place: Path, user: str) -> None:
        super().__init__(place, "root")
        self._host = f"unix://{self.place}/sock"

    def version(self) -> str:
        return f"{first_line('dockerd', '--version')}; its daemon is root's"

    def start(self) -> None:
        self.begin(["dockerd", "--iptables=false", "--bridge=none", f"--data-root={self.place}/data",
                    f"--exec-root={self.place}/exec", "-H", self._host, "-p", f"{self.place}/pid"],
                   self._docker("version"))

    def reset(self) -> None:
        for kind in ("system", "builder"):
            subprocess.run(self._docker(kind, "prune", "--all", "--force"), check=False, capture_output=True)

    def build(self, context: Path, tag: str, *words: str) -> list[str]:
        return self._docker("build", "--network=host", *words, "-q", "-f", str(context / "Dockerfile"), "-t", tag,
                            str(context))

    def run(self, tag: str, *argv: str) -> list[str]:
        return self._docker("run", "--rm", "--network=host", tag, *argv)

    def save(self, tag: str, path: Path) -> list[str]:
        return ["sh", "-c", f"{CLIENT} -H {self._host} save {tag} | gzip -1 > {path}"]

    def push(self, tag: str, registry: str) -> list[str]:
        return ["sh", "-c", (f"{CLIENT} -H {self._host} tag {tag} {registry}/{tag} && "
                              f"{CLIENT} -H {self._host} push -q {registry}/{tag}")]

    def pull(self, name: str) -> list[str]:
        return self._docker("pull", "-q", name)

    def _docker(self, *words: str) -> list[str]:
        return ["env", "DOCKER_BUILDKIT=1", CLIENT, "-H", self._host, *words]


class BuildKit(Daemon):
    """folder: where buildkitd, buildctl, rootlesskit and buildkit-runc are (the release archive's bin/).

    An image is stored uncompressed, as the others do it; what leaves it is compressed then. It has no command for what
    is built already, so `save` and `push` are builds whose every step is cached, with another output."""

    name = "BuildKit rootless"
    keeps_images = False

    def __init__(self, place: Path, user: str, folder: Path) -> None:
        super().__init__(place, user)
        self._folder = folder
        self._contexts: dict[str, Path] = {}
        self._address = f"unix://{self.place}/sock"

    def version(self) -> str:
        return first_line(str(self._folder / "buildkitd"), "--version")

    def start(self) -> None:
        path = f"{self._folder}:{PATH}"
        kit = shutil.which("rootlesskit", path=path)
        if kit is None:
            raise Missing("rootlesskit is not here")
        self.begin(self.as_user([kit, "--net=host", "buildkitd", "--rootless", "--addr", self._address,
                                 "--root", str(self.place / "data")], PATH=path), self._buildctl("debug", "workers"))

    def reset(self) -> None:
        subprocess.run(self._buildctl("prune", "--all"), check=False, capture_output=True)

    def build(self, context: Path, tag: str, *words: str) -> list[str]:
        self._contexts[tag] = context
        return self._solve(context, f"type=image,name={tag},compression=uncompressed", *words)

    def save(self, tag: str, path: Path) -> list[str]:
        return self._solve(self._contexts[tag], f"type=oci,dest={path},compression=gzip,force-compression=true")

    def push(self, tag: str, registry: str) -> list[str]:
        return self._solve(self._contexts[tag], f"type=image,name={registry}/{tag},push=true,registry.insecure=true,"
                                                "compression=gzip,force-compression=true")

    def _solve(self, context: Path, output: str, *words: str) -> list[str]:
        options = [option for word in words for option in (
            [word] if word == "--no-cache" else
            ["--opt", word.removeprefix("--").replace("build-arg=", "build-arg:")])]
        return self._buildctl("build", "--frontend", "dockerfile.v0", "--local", f"context={context}", "--local",
                              f"dockerfile={context}", "--progress", "quiet", *options, "--output", output)

    def _buildctl(self, *words: str) -> list[str]:
        return self.as_user([str(self._folder / "buildctl"), "--addr", self._address, *words])
