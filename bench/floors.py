"""The floors: what this machine does for the same bytes without any of what a builder adds. The C ones are compiled
here, against OpenSSL (libssl-dev)."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "floor"  # in tables, beside the contenders


class Floors:
    """place: a folder for the programs and for what they write. prefix: becomes the user."""

    def __init__(self, place: Path, prefix: Sequence[str]) -> None:
        self.place = place
        self._prefix = list(prefix)

    def compile(self) -> None:
        """Errors: CalledProcessError, with the compiler's words on stderr."""
        self.place.mkdir(parents=True, exist_ok=True)
        self.place.chmod(0o777)
        for name, libraries in (("floor", ["-lcrypto"]), ("statwalk", [])):
            subprocess.run(["cc", "-O2", "-o", self.place / name, HERE / f"{name}.c", *libraries], check=True)

    @property
    def packed(self) -> Path:
        """What `pack` writes."""
        return self.place / "floor.tar"

    @property
    def zipped(self) -> Path:
        """What `gzip` writes."""
        return self.place / "floor.tar.gz"

    def pack(self, source: Path) -> list[str]:
        """Walk, pack, hash, write, fdatasync."""
        return [*self._prefix, str(self.place / "floor"), str(source), str(self.packed)]

    def walk(self, folder: Path) -> list[str]:
        return [*self._prefix, str(self.place / "statwalk"), str(folder)]

    def python(self) -> list[str]:
        return [*self._prefix, sys.executable, "-c", "pass"]

    def unshare(self, times: int) -> list[str]:
        """Bare namespaces, `times` times."""
        return self.shell(f"for i in $(seq {times}); do unshare -Urmpf true || exit 1; done")

    def gzip(self, tar: Path) -> list[str]:
        program = "libdeflate-gzip" if shutil.which("libdeflate-gzip") else "gzip"
        return self.shell(f"{program} -1 -c {tar} > {self.zipped}")

    def fetch(self, url: str) -> list[str]:
        """Over the wire, to the disk, hashed."""
        return self.shell(f"curl -sSf {url} | tee {self.place}/fetched | sha256sum")

    def send(self, blob: Path, host: str) -> list[str]:
        """Hashed, then over the wire to a registry in one piece."""
        return self.shell(f"digest=$(sha256sum < {blob}) && place=$(curl -sSf -o /dev/null -w '%header{{location}}' "
                          f"-X POST http://{host}/v2/floor/blobs/uploads/) && curl -sSf -T {blob} "
                          "-H 'Content-Type: application/octet-stream' \"$place&digest=sha256:${digest%% *}\"")

    def shell(self, script: str) -> list[str]:
        return [*self._prefix, "sh", "-c", script]
