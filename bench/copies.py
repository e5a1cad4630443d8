"""W3, W4, W4n, W4b (and from them W10, W12): COPY."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

from .contenders.base import Contender
from .measure import used
from .workloads import Aim, Row, Shot, Workload, big_file, small_files, write_context


class BigFile(Workload):
    key = "big"
    title = "COPY one random 1 GiB file (W3)"
    aims = (Aim("W3", "floor", 1.2), Aim("W3", "peers", 0.2))
    memory = MappingProxyType({"W3": 120e6})

    def make(self) -> None:
        big_file(write_context(self.place, ["FROM scratch", "COPY big /big"]) / "big", self.many(1 << 30))

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W3", who.build(self.place, "bench-big"), before=who.reset, cold=True)

    def floor(self) -> Iterator[Shot]:
        yield Shot("W3", self.floors.pack(self.place / "big"), cold=True)


class SmallFiles(Workload):
    key = "small"
    title = "COPY 100,000 files of 1 KiB in 1,000 folders: cold (W4), unchanged (W4n), one file's content changed (W4b)"
    aims = (Aim("W4", "floor", 1.2), Aim("W4", "peers", 0.1), Aim("W4n", "floor", 1.5, "a C walk with statx"),
            Aim("W4b", "floor", 1.2, "W4's floor with a warm page cache"))
    memory = MappingProxyType({"W4": 400e6})

    def make(self) -> None:
        write_context(self.place, ["FROM scratch", "COPY data /data"])
        small_files(self._data, self.many(100_000), self.many(1000), 1024)

    def shots(self, who: Contender) -> Iterator[Shot]:
        build = who.build(self.place, "bench-small")
        yield Shot("W4", build, before=who.reset, cold=True)
        yield Shot("W4n", build)
        yield Shot("W4b", build, before=self._change)

    def floor(self) -> Iterator[Shot]:
        yield Shot("W4", self.floors.pack(self._data), cold=True)
        yield Shot("W4n", self.floors.walk(self._data))
        yield Shot("W4b", self.floors.pack(self._data))

    def look(self, present: Sequence[Contender]) -> tuple[list[Row], list[str]]:
        """W10: W4 and W4b each copied the whole content, so two layers hold it."""
        content, _ = used(self._data)
        tars = 2 * self.floors.packed.stat().st_size
        rows: list[Row] = []
        lines = ["", "W10, on disk after W4 and W4b:", "",
                 "| | / content copied | / content once | / the two tars | inodes of a layer |",
                 "|---|---|---|---|---|"]
        for who in present:
            size, inodes = used(*who.stored())
            lines.append(f"| {who.name} | {size / content / 2:.2f} | {size / content:.2f} | {size / tars:.2f} "
                         f"| {inodes / 2:.0f} |")
            if not who.peer:
                rows = [Row("W10: disk / the content that was copied, which is that of W4 and that of W4b, as they lie "
                            "on disk", 1.15, size / content / 2),
                        Row("W10: disk / the content once, as it lies on disk, though two layers hold it", 1.15,
                            size / content),
                        Row("W10: disk / the two tars", None, size / tars),
                        Row("W10: inodes of a layer / 50", 1.0, inodes / 2 / 50)]
        return rows, lines

    def _change(self) -> None:
        """The content of one file, not its size."""
        path = self._data / "d0000" / "f0000"
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))

    @property
    def _data(self) -> Path:
        return self.place / "data"
