"""iechor and every peer on this machine, side by side. As root, since caches are dropped and users changed:

    python3 -m bench [--only big,small,…] [--contenders iechor,buildah,…] [--scale 0.1] [--rounds 3]
                     [--user iechor-plain] [--peer-user iechor-sub] [--buildkit FOLDER] [--base TAR] [--output FILE]

Every round runs each contender once, one after the other, so that what else the machine does falls on all alike; the
floor runs among them. Figures are medians; --output (bench/RESULTS.md) gets ratios and versions.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import copies, measure, results, runs, transfers
from .contenders.base import Contender, Missing
from .contenders.buildah import Buildah, Podman
from .contenders.charliecloud import Charliecloud
from .contenders.docker import BuildKit, Docker
from .contenders.iechor import Iechor
from .floors import Floors
from .measure import Failed, Times
from .workloads import Shot, Workload

WORKLOADS: tuple[type[Workload], ...] = (
    runs.Cached, runs.Trues, copies.BigFile, copies.SmallFiles, runs.Commit, runs.Packages, runs.Stages,
    transfers.Saves, transfers.Pulls, runs.Touch)
FLOOR = "floor"


def main(words: Sequence[str]) -> int:
    options = parse(words)
    if os.geteuid() != 0:
        sys.exit("bench: it drops the page cache and becomes other users, so it has to run as root")
    os.umask(0o022)
    place = Path(options.place)
    present, versions = contenders(options, place)
    floors = Floors(place / "floor", Iechor(place, options.user).as_user([]))
    floors.compile()
    lines: list[str] = []
    aims: list[str] = []
    try:
        for kind in WORKLOADS:
            if options.only and kind.key not in options.only:
                continue
            workload = kind(place / "contexts", options.scale, floors)
            if isinstance(workload, runs.Packages):
                workload.base = options.base
            table, extra = measured(workload, present, options)
            names = [who.name for who in present] + [FLOOR]
            lines += ["", *results.of_workload(workload, table, names), *extra]
            aims += results.of_aims(workload, table, names)
            write(Path(options.output), options, versions, aims, lines)
    finally:
        for who in present:
            who.stop()
        if not options.keep:
            shutil.rmtree(place, ignore_errors=True)
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="KEY,…",
                        help=f"of {', '.join(kind.key for kind in WORKLOADS)}")
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=[], metavar="NAME,…")
    parser.add_argument("--scale", type=float, default=1.0, help="of counts and sizes; the aims are about 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--user", default="iechor-plain", help="who runs iechor")
    parser.add_argument("--peer-user", default="iechor-sub", help="who runs the rootless peers: has a subuid range")
    parser.add_argument("--buildkit", type=Path, help="folder of buildkitd, buildctl and rootlesskit")
    parser.add_argument("--base", type=Path, help="a Debian root file system, for the workload packages")
    parser.add_argument("--place", default="/var/tmp/iechor-bench-run", help="where everything is put; then removed")
    parser.add_argument("--keep", action="store_true", help="do not remove it")
    parser.add_argument("--output", default=str(Path(__file__).with_name("RESULTS.md")))
    return parser.parse_args(words)


def contenders(options: argparse.Namespace, place: Path) -> tuple[list[Contender], dict[str, str]]:
    """Those that are here and were asked for, their daemons running; name → version, or why not."""
    every: list[Contender] = [Iechor(place / "iechor", options.user)]
    every += [kind(place / kind.__name__.lower(), options.peer_user)
              for kind in (Buildah, Podman, Docker, Charliecloud)]
    if options.buildkit:
        every.append(BuildKit(place / "buildkit", options.peer_user, options.buildkit))
    present, versions = [], {}
    for who in every:
        if options.contenders and who.name not in options.contenders and who.peer:
            continue
        try:
            versions[who.name] = who.version()
            who.reset() if not isinstance(who, BuildKit) else None
            who.start()
        except Missing as error:
            versions[who.name] = f"not measured: {error}"
            continue
        present.append(who)
    return present, versions


def measured(workload: Workload, present: list[Contender],
             options: argparse.Namespace) -> tuple[dict[tuple[str, str], Times], list[str]]:
    """(shot, contender) → times; and what there is to say besides."""
    table: dict[tuple[str, str], Times] = {}
    extra: list[str] = []
    try:
        workload.make()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        return table, [f"- not measured: {error}"]
    try:
        for number in range(options.rounds):
            for who in [None, *present]:
                series(workload, who, table)
            if number == 0:
                extra = disk(workload, present)
    finally:
        getattr(workload, "close", bool)()
    return table, extra


def series(workload: Workload, who: Contender | None, table: dict[tuple[str, str], Times]) -> None:
    """One round of one contender; what fails once is not tried again."""
    name = who.name if who is not None else FLOOR
    try:
        for shot in workload.shots(who) if who is not None else workload.floor():
            times = table.setdefault((shot.name, name), Times())
            if times.error:
                return
            try:
                fire(shot, times, who.daemons() if who is not None else [])
            except Failed as error:
                times.error = str(error)
                print(f"{workload.key:>9} {shot.name:<5} {name:<16} {error}", file=sys.stderr, flush=True)
                return
            print(f"{workload.key:>9} {shot.name:<5} {name:<16} {times.wall[-1]:8.3f} s  CPU {times.cpu[-1]:7.3f} s  "
                  f"{times.memory[-1] / 1e6:6.0f} MB", file=sys.stderr, flush=True)
    except NotImplementedError:
        return


def fire(shot: Shot, times: Times, daemons: list[int]) -> None:
    """Errors: Failed."""
    shot.before()
    for argv in shot.also:
        measure.run(argv, also=daemons)
    if shot.cold:
        measure.drop_caches()
    wall, cpu, memory = measure.run(shot.argv, also=daemons)
    times.wall.append(wall)
    times.cpu.append(cpu)
    times.memory.append(memory)


def disk(workload: Workload, present: list[Contender]) -> list[str]:
    """W10, after the first round of the small files: what the two layers cost on disk."""
    if not isinstance(workload, copies.SmallFiles):
        return []
    content, _ = measure.used(workload.place / "data")
    tars = 2 * (workload.floors.place / "floor.tar").stat().st_size
    lines = ["", "W10, after W4 and W4b:", "", 
             "| | disk / content as it lies on disk | disk / two tars | inodes |", "|---|---|---|---|"]
    for who in present:
        size, inodes = measure.used(*who.stored())
        lines.append(f"| {who.name} | {size / content:.2f} | {size / tars:.2f} | {inodes} |")
    return lines


def write(path: Path, options: argparse.Namespace, versions: dict[str, str], aims: list[str],
          lines: list[str]) -> None:
    """Again after every workload: a run that is cut short leaves what it has."""
    head = ["# Measured side by side", "",
            (f"By `python3 -m bench`, {options.rounds} rounds, scale {options.scale:g}. Medians; a ratio below 1 is "
             "faster than what stands behind the slash."), "",
            *(f"- {name}: {text}" for name, text in versions.items()), "",
            "| aim | at most | measured | met |", "|---|---|---|---|", *aims]
    path.write_text("\n".join([*head, *lines, ""]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
