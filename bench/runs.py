"""W1, W2, W5, W6, W7, W11: whole builds, and RUN."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .contenders.base import Contender
from .workloads import Aim, Shot, Workload, busybox, small_files, write_context

ROOT = Path(__file__).resolve().parent.parent
TIMES = 20


class Cached(Workload):
    key = "cached"
    title = "fully cached rebuild of a file of 10 instructions (W1)"
    aims = (Aim("W1", "BuildKit rootless", 1.5), Aim("W1", "docker BuildKit", 1.5),
            Aim("W1", "floor", 4.0, "bare python3 -c pass"))

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
    title = f"without cache: RUN true × {TIMES} (W2), and the same file without them (W2o)"
    aims = (Aim("W2", "BuildKit rootless", 0.4), Aim("W2", "docker BuildKit", 0.4),
            Aim("W2", "floor", 1.0, f"{TIMES} × (unshare -Urmpf true, and 15 ms)", less="W2o", plus=TIMES * 0.015))

    def make(self) -> None:
        for name, runs in (("none", 0), ("many", TIMES)):
            context = write_context(self.place / name, ["FROM scratch", "COPY rootfs /", *["RUN true"] * runs])
            busybox(context / "rootfs")

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W2o", who.build(self.place / "none", "bench-none", "--no-cache"))
        yield Shot("W2", who.build(self.place / "many", "bench-true", "--no-cache"))

    def floor(self) -> Iterator[Shot]:
        yield Shot("W2", self.floors.unshare(TIMES))


class Anew(Workload):
    """Builds on a base that is there already, made anew each time, by an argument that has never been given before.

        NAME/base     the base          NAME/last     what is measured, FROM it
        NAME/stages   both in one file, for who keeps no images to build on
    """

    _numbers = itertools.count(1)

    def _contexts(self, name: str, first: list[str], last: list[str]) -> Path:
        """The context of what is to be copied, all three."""
        context, last = self.place / name, ["ARG ROUND", *last]
        write_context(context / "base", ["FROM scratch", *first])
        write_context(context / "last", [f"FROM {self._base(name)}", *last])
        write_context(context / "stages", ["FROM scratch AS base", *first, "FROM base", *last])
        return context

    def _anew(self, who: Contender, shot: str, name: str, *, warm: bool = False) -> Shot:
        """warm: the base has been built on before, so that it is unpacked where that is done when it is needed."""
        context, tag = self.place / name, f"bench-{self.key}-{name}"
        if who.keeps_images:
            base, last = who.build(context / "base", self._base(name)), context / "last"
        else:
            last = context / "stages"
            base = who.build(last, tag, "--target=base")
        once, again = (who.build(last, tag, f"--build-arg=ROUND={next(self._numbers)}") for _ in range(2))
        return Shot(shot, again, also=(base, once) if warm else (base,))

    def _base(self, name: str) -> str:
        return f"localhost/bench-{self.key}-{name}:base"


class Touch(Anew):
    key = "touch"
    title = "a RUN that touches one file, on a base of 100,000 files (W11) and of 100 (W11s)"
    aims = (Aim("W11", "W11s", 1.2),)

    def make(self) -> None:
        for name, files in (("big", self.many(100_000)), ("few", 100)):
            context = self._contexts(name, ["COPY rootfs /"], ["RUN touch /x$ROUND"])
            busybox(context / "base" / "rootfs")
            small_files(context / "base" / "rootfs" / "data", files, max(1, files // 100), 1024)
            subprocess.run(["cp", "-rl", context / "base" / "rootfs", context / "stages"], check=True)

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield self._anew(who, "W11s", "few", warm=True)
        yield self._anew(who, "W11", "big", warm=True)


class Packages(Anew):
    """Everybody's base is unpacked before, by a RUN on it: others unpack an archive when they ADD it, iechor when
    something runs on it.

    base: a root file system of Debian that reaches a mirror and a package index, as examples/debian-base.sh makes
    it (whatever this machine needs to reach them goes into it); None: it is made."""

    key = "packages"
    title = "apt-get install python3-pip, pip install flask, COPY, on a Debian (W6)"
    aims = (Aim("W6", "rootless peers", 0.8),)
    base: Path | None = None

    def make(self) -> None:
        context = self._contexts("flask", ["ADD base.tar /", "RUN true"], [
            "RUN : $ROUND; apt-get update && apt-get install -y --no-install-recommends python3-pip",
            "RUN pip install flask", "COPY app /app"])
        for folder in ("last", "stages"):
            small_files(context / folder / "app", 20, 2, 1024)
        tar = context / "base" / "base.tar"
        make = ["cp", self.base] if self.base else [ROOT / "examples" / "debian-base.sh"]
        subprocess.run([*make, tar], check=True, stderr=subprocess.DEVNULL)
        os.link(tar, context / "stages" / "base.tar")

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield self._anew(who, "W6", "flask")


class Commit(Workload):
    key = "commit"
    title = "a RUN that writes 20,000 small files and one of 500 MB; its layer (W5)"
    aims = (Aim("W5", "floor", 1.3, "the RUN alone, and the floor of packing what it wrote"),)

    def make(self) -> None:
        def script(made: str) -> str:
            return (f"mkdir {made}; i=0; while [ $i -lt {self.many(20_000)} ]; do echo $i-$i-$i > {made}/$i; "
                    f"i=$((i+1)); done; dd if=/dev/zero bs=1048576 count={self.many(500)} 2>/dev/null | "
                    f"tr '\\0' x > {made}/big")

        write_context(self.place, ["FROM scratch", "COPY rootfs /", f"RUN {script('/d')}"])
        busybox(self.place / "rootfs")
        self._alone.mkdir(exist_ok=True)
        self._alone.chmod(0o777)
        (self.place / "script").write_text(script(str(self._alone / "d")))

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W5", who.build(self.place, "bench-commit", "--no-cache"))

    def floor(self) -> Iterator[Shot]:
        made = self._alone / "d"
        yield Shot("W5", self.floors.shell(f"unshare -Urmpf busybox sh {self.place}/script && "
                                           f"{self.floors.place}/floor {made} {self.floors.packed}"),
                   before=lambda: subprocess.run(["rm", "-rf", made], check=True))

    @property
    def _alone(self) -> Path:
        return self.place / "alone"


class Stages(Workload):
    key = "stages"
    title = "4 stages of 3 s that need nothing of each other (W7)"
    aims = (Aim("W7", "floor", 3.5 / 3, "sleep 3: at most 3.5 s"),)

    def make(self) -> None:
        stages = [line for number in range(4) for line in (
            f"FROM base AS s{number}", f"RUN sleep 3; echo {number} > /r{number}")]
        write_context(self.place, ["FROM scratch AS base", "COPY rootfs /", *stages, "FROM base",
                                   *(f"COPY --from=s{number} /r{number} /r{number}" for number in range(4))])
        busybox(self.place / "rootfs")

    def shots(self, who: Contender) -> Iterator[Shot]:
        yield Shot("W7", who.build(self.place, "bench-stages", "--no-cache"))

    def floor(self) -> Iterator[Shot]:
        yield Shot("W7", ["sleep", "3"])
