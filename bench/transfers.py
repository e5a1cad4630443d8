"""W8 and W9: archives, and a registry of our own (docker-registry) on this machine."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .contenders.base import Contender
from .workloads import Aim, Shot, Workload, big_file, busybox, mixed_files, small_files, write_context


class Registry:
    """docker-registry on a free port of 127.0.0.1, its files below `place`."""

    def __init__(self, place: Path) -> None:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
            self.host = f"127.0.0.1:{server.getsockname()[1]}"
        place.mkdir(parents=True, exist_ok=True)
        config = place / "config.yml"
        config.write_text("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: "
                          f"{place}/data\n  delete: {{enabled: true}}\nhttp:\n  addr: {self.host}\n")
        self._process = subprocess.Popen(["docker-registry", "serve", config], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=(place / "log").open("wb"))
        until = time.monotonic() + 20
        while subprocess.run(["curl", "-sf", f"http://{self.host}/v2/"], check=False, capture_output=True).returncode:
            if time.monotonic() > until:
                raise TimeoutError("docker-registry does not answer")
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


class Saves(Workload):
    key = "save"
    title = "save an image as an OCI archive (gzip), push it, push it again"
    aims = (Aim("W8", "peers", 0.25), Aim("W8p", "peers", 0.25))

    def make(self) -> None:
        context = write_context(self.place / "context", ["FROM scratch", "COPY big /big", "COPY data /data"])
        big_file(context / "big", self.many(1 << 30))
        small_files(context / "data", self.many(100_000), self.many(1000), 1024)
        subprocess.run(self.floors.pack(context), check=True, stdout=subprocess.DEVNULL)
        (self.floors.place / "floor.tar").rename(self.place / "content.tar")
        self._registry = Registry(self.place / "registry")
        self.close = self._registry.stop

    def shots(self, who: Contender) -> Iterator[Shot]:
        archive = who.place / "saved.tar"
        tag = "bench-save:" + "".join(filter(str.isalnum, who.name)).lower()
        build = who.build(self.place / "context", tag)
        yield Shot("W8", who.save(tag, archive), also=(build,), before=lambda: archive.unlink(missing_ok=True))
        yield Shot("W8p", who.push(tag, f"{self._registry.host}"))
        yield Shot("W8pp", who.push(tag, f"{self._registry.host}"))

    def floor(self) -> Iterator[Shot]:
        yield Shot("W8", self.floors.gzip(self.place / "content.tar"))


class Pulls(Workload):
    key = "pull"
    title = "pull 500 MB in 20,000 files into an empty store; then run … true, cold and warm"
    aims = (Aim("W9", "peers", 0.5),)

    def make(self) -> None:
        context = write_context(self.place / "context", ["FROM scratch", "COPY rootfs /", "COPY data /data"])
        busybox(context / "rootfs")
        mixed_files(context / "data", self.many(20_000), self.many(200), 25_000)
        self._registry = Registry(self.place / "registry")
        self.close = self._registry.stop
        self._image = f"{self._registry.host}/bench-pull:latest"
        layout = self.place / "layout"
        subprocess.run(["umoci", "init", "--layout", layout], check=True)
        subprocess.run(["umoci", "new", "--image", f"{layout}:t"], check=True)
        subprocess.run(["umoci", "insert", "--image", f"{layout}:t", context / "rootfs", "/"], check=True)
        subprocess.run(["umoci", "insert", "--image", f"{layout}:t", context / "data", "/data"], check=True)
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:t",
                        f"docker://{self._image}"], check=True)

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W9", who.pull(self._image), before=who.reset)
        yield Shot("W9c", who.run(self._image, "/bin/true"))
        yield Shot("W9w", who.run(self._image, "/bin/true"))

    def floor(self) -> Iterator[Shot]:
        """The largest blob fetched, hashed and written."""
        blobs = list((self.place / "registry" / "data").rglob("blobs/sha256/*/*/data"))
        largest = max(blobs, key=os.path.getsize)
        yield Shot("W9", self.floors.fetch(
            f"http://{self._registry.host}/v2/bench-pull/blobs/sha256:{largest.parent.name}"))
        yield Shot("W9w", self.floors.python())
