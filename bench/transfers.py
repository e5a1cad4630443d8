"""W8 and W9: archives, and a registry of our own (docker-registry) on this machine."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from . import measure
from .contenders.base import Contender
from .workloads import Aim, Shot, Workload, big_file, busybox, mixed_files, small_files, write_context


@contextlib.contextmanager
def registry(place: Path) -> Iterator[str]:
    """docker-registry on a free port of 127.0.0.1, empty, its files below `place`; HOST:PORT.

    Errors: OSError, where it is not on this machine or does not answer."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    config = place / "config.yml"
    config.write_text(f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {place}/data\n"
                      f"http:\n  addr: {host}\n")
    with (place / "log").open("wb") as log:
        process = measure.start(["docker-registry", "serve", str(config)], log.fileno())
    try:
        until = time.monotonic() + 20
        while subprocess.run(["curl", "-sf", f"http://{host}/v2/"], check=False, capture_output=True).returncode:
            if time.monotonic() > until:
                raise TimeoutError("docker-registry does not answer")
            time.sleep(0.1)
        yield host
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(place, ignore_errors=True)


class Saves(Workload):
    """The big file and the small ones in one image. Each contender has an empty registry for itself."""

    key = "save"
    title = "save W3 and W4 as an OCI archive with gzip (W8), push them (W8p), push them again (W8pp)"
    aims = (Aim("W8", "peers", 0.25), Aim("W8p", "peers", 0.25), Aim("W8pp", "", 1.0, "0.3 s", plus=0.3))

    def make(self) -> None:
        context = write_context(self._context, ["FROM scratch", "COPY big /big", "COPY data /data"])
        big_file(context / "big", self.many(1 << 30))
        small_files(context / "data", self.many(100_000), self.many(1000), 1024)
        subprocess.run(self.floors.pack(context), check=True, stdout=subprocess.DEVNULL)
        self.floors.packed.rename(self.place / "content.tar")

    def shots(self, who: Contender) -> Iterator[Shot]:
        tag, archive = "bench-save:" + "".join(filter(str.isalnum, who.name)).lower(), who.place / "saved.tar"
        build = who.build(self._context, tag)
        with registry(self.place / "registry") as host:
            yield Shot("W8", who.save(tag, archive), also=(build,))
            archive.unlink()
            yield Shot("W8p", who.push(tag, host))
            yield Shot("W8pp", who.push(tag, host))

    def floor(self) -> Iterator[Shot]:
        yield Shot("W8", self.floors.gzip(self.place / "content.tar"))
        with registry(self.place / "registry") as host:
            yield Shot("W8p", self.floors.send(self.floors.zipped, host))

    @property
    def _context(self) -> Path:
        return self.place / "context"


class Pulls(Workload):
    key = "pull"
    title = "pull 500 MB in 20,000 files into an empty store (W9); then run … true, cold (W9c) and warm (W9w)"
    aims = (Aim("W9", "peers", 0.5), Aim("W9w", "floor", 1.0, "bare python3 -c pass, and 60 ms", plus=0.06))
    memory = MappingProxyType({"W9": 250e6})

    def make(self) -> None:
        context, layout = self.place / "context", self.place / "layout"
        busybox(context / "rootfs")
        mixed_files(context / "data", self.many(20_000), self.many(200), 25_000)
        self._open = contextlib.ExitStack()
        host = self._open.enter_context(registry(self.place / "registry"))
        self._image = f"{host}/bench-pull:latest"
        for argv in (["umoci", "init", "--layout", layout], ["umoci", "new", "--image", f"{layout}:t"],
                     ["umoci", "insert", "--image", f"{layout}:t", context / "rootfs", "/"],
                     ["umoci", "insert", "--image", f"{layout}:t", context / "data", "/data"],
                     ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:t", f"docker://{self._image}"]):
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

    def close(self) -> None:
        self._open.close()

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W9", who.pull(self._image), before=who.reset)
        yield Shot("W9c", who.run(self._image, "/bin/true"))
        yield Shot("W9w", who.run(self._image, "/bin/true"))

    def floor(self) -> Iterator[Shot]:
        """The largest blob fetched, hashed and written."""
        blobs = list((self.place / "registry" / "data").rglob("blobs/sha256/*/*/data"))
        largest = max(blobs, key=os.path.getsize)
        host, _, name = self._image.partition("/")
        yield Shot("W9", self.floors.fetch(
            f"http://{host}/v2/{name.partition(':')[0]}/blobs/sha256:{largest.parent.name}"))
        yield Shot("W9w", self.floors.python())
