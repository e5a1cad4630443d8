"""buildah, rootless with a subuid range. Isolation "chroot": it works where cgroups are not delegated, and is the
fastest it has."""

import shutil
from pathlib import Path

from .base import PATH, Contender, first_line


class Buildah(Contender):
    name = "buildah"

    def version(self) -> str:
        return first_line("buildah", "--version")

    def build(self, context: Path, tag: str, *words: str) -> list[str]:
        return self._tool("bud", "--isolation", "chroot", "--layers", *words, "-q", "-f", str(context / "Dockerfile"),
                          "-t", tag, str(context))

    def run(self, tag: str, *argv: str) -> list[str]:
        root = " ".join(self._options())
        return self.as_user(["sh", "-c", (
            f'c=$(buildah {root} from {tag}) && buildah {root} run --isolation chroot $c -- {" ".join(argv)} && '
            f"buildah {root} rm $c")])

    def save(self, tag: str, path: Path) -> list[str]:
        return self._tool("push", "-q", tag, f"oci-archive:{path}")

    def push(self, tag: str, registry: str) -> list[str]:
        return self._tool("push", "-q", "--tls-verify=false", tag, f"docker://{registry}/{tag}")

    def pull(self, name: str) -> list[str]:
        return self._tool("pull", "-q", "--tls-verify=false", name)

    def _options(self) -> list[str]:
        # Debian's default for a plain user is vfs, which copies every layer whole: not Buildah at its best.
        return ["--storage-driver", "overlay", "--root", str(self.place / "root"),
                "--runroot", str(self.place / "run")]

    def _tool(self, command: str, *words: str) -> list[str]:
        return self.as_user(["buildah", *self._options(), command, *words])


class Podman(Buildah):
    """`podman build` is buildah in another skin; `podman run` is measured beside it."""

    name = "podman"

    def version(self) -> str:
        return first_line("podman", "--version")

    def run(self, tag: str, *argv: str) -> list[str]:
        return self._tool("run", "--rm", "--network=host", tag, *argv)

    def _options(self) -> list[str]:
        # crun refuses to run where both versions of cgroups are mounted; runc does not.
        runtime = ["--runtime=runc"] if shutil.which("runc", path=PATH) else []
        return [*super()._options(), "--cgroup-manager=cgroupfs", *runtime]

    def _tool(self, command: str, *words: str) -> list[str]:
        return self.as_user(["podman", *self._options(), "build" if command == "bud" else command, *words])
