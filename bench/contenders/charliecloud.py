"""charliecloud's ch-image: no daemon, no privilege. Its "image" is an unpacked folder, so it writes no layer at all."""

from pathlib import Path

from .base import Contender, first_line


class Charliecloud(Contender):
    name = "ch-image"

    def version(self) -> str:
        return f"charliecloud {first_line('env', 'USER=nobody', 'PATH=/usr/bin:/bin', 'ch-image', '--version')}"

    def build(self, context: Path, tag: str, *words: str) -> list[str]:
        known = [word.replace("--no-cache", "--rebuild") for word in words]
        return self._image("build", "--force", *known, "-f", str(context / "Dockerfile"), "-t", tag, str(context))

    def push(self, tag: str, registry: str) -> list[str]:
        return self._image("push", "--tls-no-verify", tag, f"{registry}/{tag}")

    def pull(self, name: str) -> list[str]:
        return self._image("pull", "--tls-no-verify", name)

    def run(self, tag: str, *argv: str) -> list[str]:
        folder = tag.replace("/", "%").replace(":", "+")
        return self.as_user(["ch-run", str(self.place / "images" / "img" / folder), "--", *argv])

    def _image(self, command: str, *words: str) -> list[str]:
        return self.as_user(["ch-image", command, "--storage", str(self.place / "images"), *words],
                            **{f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER")
                               for what in ("NAME", "EMAIL")})
