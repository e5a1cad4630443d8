"""iechor and every peer on this machine, side by side. As root, since caches are dropped and users changed:

    python3 -m bench [--only big,small,…] [--contenders iechor,buildah,…] [--scale 0.1] [--rounds 3] [--patience 60]
                     [--buildkit FOLDER] [--base TAR] [--append] [--output FILE]

Every round runs each contender once, one after the other, so that what else the machine does falls on all alike; the
floor runs among them. Figures are medians; --output (bench/RESULTS.md) gets ratios and versions, after each workload.
A peer that fails is told there, and the others go on. Ctrl-C and TERM end it, and leave what is written.
"""

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from . import copies, measure, results, runs, transfers
from .contenders.base import Contender, Missing
from .contenders.buildah import Buildah, Podman
from .contenders.charliecloud import Charliecloud
from .contenders.docker import BuildKit, Docker
from .contenders.iechor import Iechor
from .floors import NAME as FLOOR
from .floors import Floors
from .measure import Failed, Times
from .workloads import Row, Shot, Workload

WORKLOADS: tuple[type[Workload], ...] = (
    runs.Cached, runs.Trues, copies.BigFile, copies.SmallFiles, runs.Commit, runs.Packages, runs.Stages,
    transfers.Saves, transfers.Pulls, runs.Touch)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SPACE = 5e9  # bytes that one contender may take in one workload of full size


def main(words: Sequence[str]) -> int:
    options = parse(words)
    if os.geteuid() != 0:
        sys.exit("bench: it drops the page cache and becomes other users, so it has to run as root")
    os.umask(0o022)
    measure.adopt_orphans()
    for number in SIGNALS:
        signal.signal(number, stop)
    present: list[Contender] = []
    options.place = Path(tempfile.mkdtemp(prefix="iechor-bench-run-", dir=options.place.resolve()))
    try:
        options.place.chmod(0o755)
        report = Report(options, start(options, present))
        floors = Floors(options.place / "floor", Iechor(options.place, options.user).as_user([]))
        floors.compile()
        for kind in WORKLOADS:
            if not options.only or kind.key in options.only:
                workload = kind(options.place / "contexts", options.scale, floors)
                if isinstance(workload, runs.Packages):
                    workload.base = options.base
                report.add(workload, *measured(workload, present, options), present)
                shutil.rmtree(workload.place, ignore_errors=True)
                for who in present:
                    who.reset()
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for who in present:
            who.stop()
        measure.end_rest()
        remove(options.place)
    return 0


def stop(number: int, _: object) -> None:
    """Once: `make` and `timeout` may both have told us."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    keys = [kind.key for kind in WORKLOADS]
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="KEY,…",
                        help=f"of {', '.join(keys)}")
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=[], metavar="NAME,…",
                        help="iechor always is one; default: all that are here")
    parser.add_argument("--scale", type=float, default=1.0, help="of counts and sizes; the aims are about 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=60.0, metavar="SECONDS",
                        help="a peer that takes longer for one command is measured in one round only (default: 60)")
    parser.add_argument("--user", default="iechor-plain", help="who runs iechor")
    parser.add_argument("--peer-user", default="iechor-sub", help="who runs the rootless peers: has a subuid range")
    parser.add_argument("--buildkit", type=Path, help="folder of buildkitd, buildctl, buildkit-runc and rootlesskit")
    parser.add_argument("--base", type=Path, help="a tar of examples/debian-base.sh, for `packages`; else it is made")
    parser.add_argument("--place", type=Path, default=Path("/var/tmp"), metavar="FOLDER",
                        help="where a folder for everything is made, and removed at the end (default: /var/tmp)")
    parser.add_argument("--append", action="store_true", help="write after what is there, as a run of its own")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    options = parser.parse_args(words)
    if unknown := set(options.only) - set(keys):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if missing := {options.user, options.peer_user} - {entry.pw_name for entry in pwd.getpwall()}:
        parser.error(f"no such user: {', '.join(sorted(missing))}; `python3 tests/provision.py users` makes them")
    return options


def start(options: argparse.Namespace, present: list[Contender]) -> dict[str, str]:
    """Fills `present` with those that are here and were asked for, daemons running; name → version, or why not."""
    every: list[Contender] = [Iechor(options.place / "iechor", options.user)]
    every += [kind(options.place / kind.__name__.lower(), options.peer_user)
              for kind in (Buildah, Podman, Docker, Charliecloud)]
    if options.buildkit:
        every.append(BuildKit(options.place / "buildkit", options.peer_user, options.buildkit))
    versions = {}
    for who in every:
        if who.peer and options.contenders and who.name not in options.contenders:
            continue
        try:
            versions[who.name] = who.version()
            who.start()
            present.append(who)
        except Missing as error:
            versions[who.name] = f"not measured: {error}"
    return versions


def measured(workload: Workload, present: Sequence[Contender], options: argparse.Namespace) -> tuple[
        dict[tuple[str, str], Times], list[Row], list[str]]:
    """(shot, contender) → times; and what the disk says."""
    table: dict[tuple[str, str], Times] = {}
    rows: list[Row] = []
    lines: list[str] = []
    wanted, free = SPACE * options.scale * len(present), shutil.disk_usage(options.place).free
    if free < wanted:
        return table, rows, ["", f"Not measured: it may take {wanted / 1e9:.0f} GB of disk, {free / 1e9:.0f} are free."]
    try:
        workload.make()
        for number in range(options.rounds):
            for who in [None, *present]:
                if who is None or not who.peer or number == 0 or patient(table, who, options.patience):
                    series(workload, who, table)
            if number == 0:
                rows, lines = workload.look(present)
        return table, rows, lines
    except (OSError, subprocess.CalledProcessError) as error:
        return table, rows, ["", f"Not measured to its end: {error}"]
    finally:
        workload.close()


def patient(table: dict[tuple[str, str], Times], who: Contender, most: float) -> bool:
    """Whether a peer is quick enough to be asked again."""
    return all(max(times.wall, default=0.0) <= most for (_, name), times in table.items() if name == who.name)


def series(workload: Workload, who: Contender | None, table: dict[tuple[str, str], Times]) -> None:
    """One round of one contender; what fails once is not tried again."""
    name = FLOOR if who is None else who.name
    if any(times.error for (_, other), times in table.items() if other == name):
        return
    shots: Iterator[Shot] = workload.floor() if who is None else workload.shots(who)
    shot = None
    try:
        with closing(shots):  # type: ignore[type-var]
            for shot in shots:
                times = table.setdefault((shot.name, name), Times())
                fire(shot, times, who.daemons() if who is not None else [])
                tell(workload, shot.name, name, f"{times.wall[-1]:8.3f} s  CPU {times.cpu[-1]:7.3f} s  "
                                                f"{times.memory[-1] / 1e6:6.0f} MB")
    except (Failed, NotImplementedError) as error:
        said, failed = str(error) or "it has no such command", "" if shot is None else shot.name
        table.setdefault((failed, name), Times()).error = said
        tell(workload, failed, name, said)


def tell(workload: Workload, shot: str, name: str, text: str) -> None:
    print(f"{workload.key:>9} {shot:<5} {name:<18} {text}", file=sys.stderr, flush=True)


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


def remove(place: Path) -> None:
    """And what is still mounted below it."""
    with open("/proc/self/mounts") as mounts:
        points = [line.split()[1] for line in mounts]
    for point in reversed([point for point in points if point.startswith(f"{place}/")]):
        subprocess.run(["umount", "-l", point], check=False)
    subprocess.run(["rm", "-rf", place], check=True)


class Report:
    """The file, written again after every workload: a run that is cut short leaves what it has."""

    def __init__(self, options: argparse.Namespace, versions: dict[str, str]) -> None:
        self._path = options.output
        before = options.output.read_text() + "\n" if options.append and options.output.exists() else \
            "# Measured side by side\n\n"
        size = "Full size" if options.scale == 1 else f"{options.scale:g} of the full size, which the aims are about"
        text = (f"{size}; {os.cpu_count()} CPUs, Linux {os.uname().release}, load {os.getloadavg()[2]:.1f} in the last "
                f"15 minutes. Medians of {options.rounds} rounds, in each of which all ran in turn (of one, for a peer "
                f"that took longer than {options.patience:g} s for a command); a ratio below 1 is faster than what "
                "stands behind the slash.")
        self._head = [f"{before}## `{' '.join(['python3 -m bench', *shown(options)])}`", "", text, "",
                      *(f"- {name}: {version}" for name, version in versions.items()), ""]
        self._aims: list[str] = []
        self._lines: list[str] = []

    def add(self, workload: Workload, table: dict[tuple[str, str], Times], rows: list[Row], more: list[str],
            present: Sequence[Contender]) -> None:
        self._aims += map(results.row, [*results.of_aims(workload, table, present), *rows])
        self._lines += [*results.of_workload(workload, table, [*(who.name for who in present), FLOOR]), *more]
        self._path.write_text("\n".join([*self._head, *results.HEAD, *self._aims, *self._lines, ""]))


def shown(options: argparse.Namespace) -> list[str]:
    """What of the command line makes a difference to the figures."""
    return [f"--{name}={value}" for name, value, default in (
        ("scale", f"{options.scale:g}", "1"), ("rounds", str(options.rounds), "3"),
        ("only", ",".join(options.only), ""), ("contenders", ",".join(options.contenders), "")) if value != default]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
