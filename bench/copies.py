"""W3, W4, W4n, W4b (and from them W10, W12): COPY."""

from collections.abc import Iterator
from pathlib import Path

from .contenders.base import Contender
from .workloads import Aim, Shot, Workload, big_file, small_files, write_context


class BigFile(Workload):
    key = "big"
    title = "COPY one random 1 GiB file"
    aims = (Aim("W3", "floor", 1.2), Aim("W3", "peers", 0.2))

    def make(self) -> None:
        big_file(write_context(self.place, ["FROM scratch", "COPY big /big"]) / "big", self.many(1 << 30))

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W3", who.build(self.place, "bench-big"), before=who.reset, cold=True)

    def floor(self) -> Iterator[Shot]:
        yield Shot("W3", self.floors.pack(self.place / "big"), cold=True)


class SmallFiles(Workload):
    key = "small"
    title = "COPY 100,000 files of 1 KiB in 1,000 folders: cold, unchanged, one file changed"
    aims = (Aim("W4", "floor", 1.2), Aim("W4", "peers", 0.1), Aim("W4n", "walk", 1.5),
            Aim("W4b", "floor", 1.2, "W4's floor with a warm page cache"))

    def make(self) -> None:
        write_context(self.place, ["FROM scratch", "COPY data /data"])
        small_files(self.place / "data", self.many(100_000), self.many(1000), 1024)

    def shots(self, who: Contender) -> Iterator[Shot]:
        build = who.build(self.place, "bench-small")
        yield Shot("W4", build, before=who.reset, cold=True)
        yield Shot("W4n", build)
        yield Shot("W4b", build, before=self.change)

    def floor(self) -> Iterator[Shot]:
        yield Shot("W4", self.floors.pack(self.place / "data"), cold=True)
        yield Shot("W4n", self.floors.walk(self.place / "data"))
        yield Shot("W4b", self.floors.pack(self.place / "data"))

    def change(self) -> None:
        """The content of one file, not its size."""
        path = self.changed
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))

    @property
    def changed(self) -> Path:
        return self.place / "data" / "d0000" / "f0000"
