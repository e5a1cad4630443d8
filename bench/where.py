"""Where the time of a cached build (W1), of a warm run (W9) and of a RUN (W2, W11) goes, on this machine, now; for
docs/performance.md.

    python -m bench.where [--rounds 7] [--runs 20]     as a plain user, or as root

A command is split by `-X importtime` and by a profile of what is done after the imports; a RUN by the difference of a
build of many and a build of one. Everything is told as a ratio to what it is measured beside.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .workloads import busybox, small_files, write_context

MODULES = 300  # more than that are too many for a cached build: tests/flows/test_start.py holds the list
PARTS = {"parser.py:get_parser": "command line", "call.py:settings": "configuration",
         "parser.py:parse": "the iEchorfile", "fold.py:stages": "keys, records, digests",
         "committing.py:commit": "config, manifest, name", "checking.py:tell": "build checks",
         "noting.py:_begin": "what it looks at, noted before", "keep.py:keep": "and kept after"}
PARTS_OF_RUN = {"parser.py:get_parser": "command line", "call.py:settings": "configuration",
                "serving.py:__init__": "the sandbox's server begun", "run.py:find_image": "image",
                "run.py:prepare": "root file system", "launcher.py:launch": "sandbox, its server's imports among it",
                "watch.py:_until_end": "application, and the end of its namespaces", "watch.py:_ended": "clean-up",
                "serving.py:close": "the server's end"}
ONCE_MORE = "IECHOR_WHERE"  # nobody reads it, but in another environment it is another call (docs/decisions/0049)
PROFILED = """\
import cProfile, os, pstats, sys
from rootless_builder.cli.main import main
sys.argv[0] = "iechor"
main()
os.environ["IECHOR_WHERE"] = "profiled"
profile = cProfile.Profile()
profile.enable()
main()
profile.disable()
for (file, _, name), (_, _, _, total, _) in pstats.Stats(profile).stats.items():
    print(f"{file.rpartition('/')[2]}:{name} {total:.6f}", file=sys.stderr)
"""


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.where", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="iechor-where-", dir="/var/tmp") as name:
        place = Path(name)
        environ = {**os.environ, "IECHOR_HOME": str(place / "store"), "IECHOR_SCRATCH": str(place / "scratch"),
                   "PYTHONPATH": os.pathsep.join(["", *filter(None, [os.environ.get("PYTHONPATH", os.getcwd())])])[1:]}
        cached(place, environ, options.rounds)
        warm(environ, options.rounds)
        runs(place, environ, options.rounds, options.runs)


def cached(place: Path, environ: dict[str, str], rounds: int) -> None:
    context = write_context(place / "cached", ["FROM scratch", "COPY rootfs /", "ENV A=b", "WORKDIR /app",
                                               "COPY app /app", "LABEL a=b", "EXPOSE 80", "USER 0", 'CMD ["/bin/sh"]'])
    busybox(context / "rootfs")
    small_files(context / "app", 20, 2, 1024)
    build = ["-m", "rootless_builder", "build", "--progress=plain", "-t", "where", str(context)]
    anew = [*build[:-1], "--jobs=4", build[-1]]
    for words in (build, build, anew):
        spent([sys.executable, *words], environ)
    bare, again, whole = [], [], []
    for number in range(rounds):
        bare.append(spent([sys.executable, "-c", "pass"], environ))
        again.append(spent([sys.executable, *build], environ))
        whole.append(spent([sys.executable, *anew], environ | {ONCE_MORE: str(number)}))
    print(f"W1  said again: wall {ratio(again, bare, 0):.1f} × and CPU {ratio(again, bare, 1):.1f} × a bare "
          "`python3 -c pass`")
    tell_imports(imported(build, environ))
    print(f"    built, all steps in the cache: wall {ratio(whole, bare, 0):.1f} ×, CPU {ratio(whole, bare, 1):.1f} ×")
    modules = imported(anew, environ | {ONCE_MORE: "imports"})
    tell_imports(modules)
    tell_parts(anew, environ | {ONCE_MORE: "parts"}, PARTS)
    if len(modules) > MODULES:
        sys.exit(f"{len(modules)} modules are more than {MODULES}")


def warm(environ: dict[str, str], rounds: int) -> None:
    """Of the image that `cached` has built."""
    run = ["-m", "rootless_builder", "run", "--rm", "where", "true"]
    spent([sys.executable, *run], environ)
    bare, whole = [], []
    for _ in range(rounds):
        bare.append(spent([sys.executable, "-c", "pass"], environ))
        whole.append(spent([sys.executable, *run], environ))
    over = (median(whole, 0) - median(bare, 0)) * 1000
    print(f"W9  a warm run: {over:.0f} ms over bare Python; wall {ratio(whole, bare, 0):.1f} ×, CPU of all processes "
          f"{ratio(whole, bare, 1):.1f} ×")
    tell_imports(imported(run, environ))
    tell_parts(run, environ, PARTS_OF_RUN)


def tell_imports(modules: dict[str, int]) -> None:
    ours = sum(cost for name, cost in modules.items() if name.startswith("rootless_builder"))
    print(f"    imports: {len(modules)} modules, {ours / sum(modules.values()):.0%} of their time ours; the costliest:")
    for name, cost in sorted(modules.items(), key=lambda item: -item[1])[:7]:
        print(f"        {cost / sum(modules.values()):6.1%}  {name}")


def tell_parts(words: Sequence[str], environ: dict[str, str], parts: dict[str, str]) -> None:
    told = subprocess.run([sys.executable, "-c", PROFILED, *words[2:]], env=environ, capture_output=True, text=True,
                          check=True).stderr
    found = {line.split()[0]: float(line.split()[1]) for line in told.splitlines() if re.match(r"\S+ [\d.]+$", line)}
    print("    after the imports:")
    for part, what in parts.items():
        if part in found:
            print(f"        {found[part] / found['main.py:main']:6.1%}  {what}")


def runs(place: Path, environ: dict[str, str], rounds: int, count: int) -> None:
    builds = []
    for number in (1, 1 + count):
        context = write_context(place / f"runs-{number}", ["FROM scratch", "COPY rootfs /", *["RUN true"] * number])
        busybox(context / "rootfs")
        builds.append([sys.executable, "-m", "rootless_builder", "build", "-q", "--no-cache", str(context)])
    bare, one, many = [], [], []
    for _ in range(rounds):
        bare.append(spent(["unshare", "-Urmpf", "true"], environ))
        one.append(spent(builds[0], environ))
        many.append(spent(builds[1], environ))
    for place_in, what in ((0, "wall"), (1, "CPU of all processes")):
        each = (median(many, place_in) - median(one, place_in)) / count
        print(f"W2  each RUN: {what} {each * 1000:.1f} ms beside {median(bare, place_in) * 1000:.1f} ms of "
              "`unshare -Urmpf true`")


def imported(build: Sequence[str], environ: dict[str, str]) -> dict[str, int]:
    """Module → microseconds of its own."""
    told = subprocess.run([sys.executable, "-X", "importtime", *build], env=environ, capture_output=True, text=True,
                          check=True).stderr
    return {match[2]: int(match[1]) for match in re.finditer(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", told)}


def spent(argv: Sequence[str], environ: dict[str, str]) -> tuple[float, float]:
    """(wall, CPU of it and all it waited for), seconds."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(argv)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def median(times: Sequence[tuple[float, float]], which: int) -> float:
    return statistics.median(one[which] for one in times)


def ratio(times: Sequence[tuple[float, float]], beside: Sequence[tuple[float, float]], which: int) -> float:
    return median(times, which) / median(beside, which)


if __name__ == "__main__":
    main(sys.argv[1:])
