"""This project, from the source tree that bench/ lies in, as a plain user without a subuid range."""

import os
import subprocess
import sys
from pathlib import Path

from .base import Contender, first_line

ROOT = Path(__file__).resolve().parent.parent.parent


class Iechor(Contender):
    name = "iechor"
    peer = False

    def version(self) -> str:
        # As an installation has it: the user who runs it cannot write bytecode beside the source.
        subprocess.run([sys.executable, "-m", "compileall", "-q", ROOT / "rootless_builder"], check=True)
        return first_line(*self._iechor("--version"))

    def stored(self) -> list[Path]:
        return [self.place / "store", self.place / "scratch"]

    def build(self, context: Path, tag: str, *words: str) -> list[str]:
        return self._iechor("build", "-q", *words, "-t", tag, str(context))

    def run(self, tag: str, *argv: str) -> list[str]:
        return self._iechor("run", "--rm", tag, *argv)

    def save(self, tag: str, path: Path) -> list[str]:
        return self._iechor("save", "--format", "oci-archive", "--compression", "gzip", "-o", str(path), tag)

    def push(self, tag: str, registry: str) -> list[str]:
        return self._iechor("push", tag, f"{registry}/{tag}", IECHOR_INSECURE_REGISTRIES=registry)

    def pull(self, name: str) -> list[str]:
        return self._iechor("pull", name, IECHOR_INSECURE_REGISTRIES=name.partition("/")[0])

    def _iechor(self, *words: str, **environ: str) -> list[str]:
        return self.as_user([sys.executable, "-m", "rootless_builder", *words], PYTHONPATH=str(ROOT),
                            IECHOR_HOME=str(self.place / "store"), IECHOR_SCRATCH=str(self.place / "scratch"),
                            TMPDIR=os.environ.get("TMPDIR", "/var/tmp"), **environ)
