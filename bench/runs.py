"""W1, W2, W5, W6, W7, W11: whole builds, and RUN."""

from collections.abc import Iterator
from pathlib import Path

from .contenders.base import Contender
from .workloads import Aim, Shot, Workload, busybox, small_files, write_context

TIMES = 20


class Cached(Workload):
    key = "cached"
    title = "fully cached rebuild of a file of 10 instructions"
    aims = (Aim("W1", "BuildKit rootless", 1.5), Aim("W1", "docker BuildKit", 1.5), Aim("W1", "floor", 4.0,
                                                                                      "bare python3 -c pass"))

    def make(self) -> None:
        write_context(self.place, ["FROM scratch", "COPY rootfs /", "ENV A=b", "WORKDIR /app", "COPY app /app",
                                   "RUN true", "LABEL a=b", "EXPOSE 80", "USER 0", 'CMD ["/bin/sh"]'])
        busybox(self.place / "rootfs")
        small_files(self.place / "app", 20, 2, 1024)

    def shots(self, who: Contender) -> Iterator[Shot]:
        build = who.build(self.place, "bench-cached")
        yield Shot("W1", build, also=(build,))

    def floor(self) -> Iterator[Shot]:
        yield Shot("W1", self.floors.python())


class Trues(Workload):
    key = "true"
    title = f"RUN true × {TIMES}, without cache"
    aims = (Aim("W2", "BuildKit rootless", 0.4), Aim("W2", "docker BuildKit", 0.4))

    def make(self) -> None:
        write_context(self.place, ["FROM scratch", "COPY rootfs /", *(["RUN true"] * TIMES)])
        busybox(self.place / "rootfs")

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W2", who.build(self.place, "bench-true", cached=False))

    def floor(self) -> Iterator[Shot]:
        yield Shot("W2", self.floors.unshare(TIMES))


class Touch(Workload):
    """The floor's place is taken by iechor itself on the small base."""

    key = "touch"
    title = "a RUN that touches one file, on a base of 100,000 files (W11) and of 100 (W11s)"
    aims = (Aim("W11", "W11s", 1.2),)

    def make(self) -> None:
        for name, files in (("big", self.many(100_000)), ("few", 100)):
            base = write_context(self.place / f"base-{name}", ["FROM scratch", "COPY rootfs /"])
            busybox(base / "rootfs")
            small_files(base / "rootfs" / "data", files, max(1, files // 100), 1024)
            write_context(self.place / name, [f"FROM localhost/bench-base:{name}", "RUN touch /x"])

    def shots(self, who: Contender) -> Iterator[Shot]:
        for shot, name in (("W11s", "few"), ("W11", "big")):
            base = who.build(self.place / f"base-{name}", f"localhost/bench-base:{name}")
            build = who.build(self.place / name, f"bench-touch-{name}", cached=False)
            yield Shot(shot, build, also=(base, build))


class Commit(Workload):
    key = "commit"
    title = "a RUN that writes 20,000 small files and one of 500 MB; its layer"
    aims = (Aim("W5", "floor", 1.3, "the RUN alone, and the floor of packing what it wrote"),)

    def make(self) -> None:
        script = (f"mkdir /d; i=0; while [ $i -lt {self.many(20_000)} ]; do echo $i-$i-$i > /d/$i; i=$((i+1)); done; "
                  f"dd if=/dev/zero bs=1048576 count={self.many(500)} 2>/dev/null | tr '\\0' x > /d/big")
        write_context(self.place, ["FROM scratch", "COPY rootfs /", f"RUN {script}"])
        busybox(self.place / "rootfs")
        alone = self.place / "alone"
        alone.mkdir(exist_ok=True)
        alone.chmod(0o777)
        (self.place / "script").write_text(script.replace("/d", str(alone / "d")))

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W5", who.build(self.place, "bench-commit", cached=False))

    def floor(self) -> Iterator[Shot]:
        made = self.place / "alone" / "d"
        work = f"rm -rf {made}; unshare -Urmpf busybox sh {self.place}/script && {' '.join(self.floors.pack(made))}"
        yield Shot("W5", ["sh", "-c", work])


class Stages(Workload):
    key = "stages"
    title = "4 stages of 3 s that need nothing of each other"
    aims = (Aim("W7", "floor", 3.5 / 3, "sleep 3: at most 3.5 s"),)

    def make(self) -> None:
        stages = [line for number in range(4) for line in (
            f"FROM base AS s{number}", f"RUN sleep 3; echo {number} > /r{number}")]
        write_context(self.place, ["FROM scratch AS base", "COPY rootfs /", *stages, "FROM base",
                                   *(f"COPY --from=s{number} /r{number} /r{number}" for number in range(4))])
        busybox(self.place / "rootfs")

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W7", who.build(self.place, "bench-stages", cached=False))

    def floor(self) -> Iterator[Shot]:
        yield Shot("W7", ["sleep", "3"])


class Packages(Workload):
    """base: a Debian root file system as a tar (examples/debian-base.sh); needs a mirror of Debian and PyPI."""

    key = "packages"
    title = "apt-get install python3-pip, pip install flask, COPY"
    aims = (Aim("W6", "peers", 0.8),)
    base: Path | None = None

    def make(self) -> None:
        if self.base is None:
            raise FileNotFoundError("--base TAR is needed")
        write_context(self.place, ["FROM scratch", "ADD base.tar /",
                                   "RUN apt-get update && apt-get install -y --no-install-recommends python3-pip",
                                   "RUN pip install --break-system-packages flask", "COPY app /app"])
        target = self.place / "base.tar"
        if not target.exists():
            target.hardlink_to(self.base)
        small_files(self.place / "app", 20, 2, 1024)

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W6", who.build(self.place, "bench-packages", cached=False))
