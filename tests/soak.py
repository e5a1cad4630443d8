"""python3 tests/soak.py [PART …] — the trials that take minutes or hours, all or these parts; `make soak PART=fill`.

As root on a Debian machine, as tests/run. Each part is one command of its own, short enough for a night; its tests are
spread over the CPUs. At the end the figures: what was killed, failed, refused and fuzzed, in which time, and what was
found. The exit code is 1 where anything was. Only the standard library: tests/run installs what is missing.
"""

import collections
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RUN = ("tests/run", "-m", "soak", "-n", "auto", "--dist", "load")
ROUNDS = 10

# What is one file's whole soak; every other test with that mark is the part "rest".
FILES: Mapping[str, tuple[str, ...]] = {
    "kill": ("tests/reliability/test_kill.py",),
    "fill": ("tests/reliability/test_fill.py", "tests/reliability/test_each_command.py"),
    "crowd": ("tests/reliability/test_crowd.py", "tests/reliability/test_network_store.py"),
    "fuzz": ("tests/hostile/test_fuzz.py", "tests/sandbox/test_native_code.py"),
    "fakeroot": ("tests/sandbox/test_fakeroot.py", "tests/flows/test_matrix_soak.py"),
}
PARTS: Mapping[str, tuple[str, ...]] = {
    **{name: (*RUN, *files) for name, files in FILES.items()},
    "rest": (*RUN, *(f"--ignore={file}" for files in FILES.values() for file in files)),
    "sanitized": ("tests/sanitized",),  # every other test, the C under ASan and UBSan
    "pythons": ("tests/pythons",),  # the tests of one process without C, and with later Pythons
    # for what happens once in a while
    **{f"again-{number}": ("tests/run", "tests/flows", "tests/sandbox") for number in range(1, ROUNDS + 1)},
}
# What tests tell by record_property, and what it is called here.
FIGURES = {"kills": "kills survived", "faults": "faults injected", "crowded": "commands in crowds",
           "refused": "inputs refused", "executions": "fuzz executions"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    part: str
    seconds: float
    tests: int
    failed: tuple[str, ...]  # names of tests; or what the part's command ended with
    figures: Mapping[str, int]


def trial(part: str, report: Path) -> Result:
    """Runs it, its output where ours goes. report: a file that pytest writes."""
    began = time.monotonic()
    code = subprocess.run([*PARTS[part], "--junit-xml", report], cwd=ROOT, check=False).returncode
    seconds = time.monotonic() - began
    figures: collections.Counter[str] = collections.Counter()
    failed: list[str] = []
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        for told in case.iter("property"):
            if told.get("name") in FIGURES:
                figures[str(told.get("name"))] += int(str(told.get("value")))
    if code and not failed:
        failed.append(f"exit code {code}")
    return Result(part=part, seconds=seconds, tests=len(cases), failed=tuple(failed), figures=figures)


def shown(results: Iterable[Result]) -> str:
    lines = [f"{'part':<10} {'seconds':>8} {'tests':>6} {'failed':>6}  figures"]
    total: collections.Counter[str] = collections.Counter()
    for result in results:
        total.update({"seconds": round(result.seconds), "failures": len(result.failed)})
        total.update(result.figures)
        lines.append(f"{result.part:<10} {result.seconds:>8,.0f} {result.tests:>6,} {len(result.failed):>6,}  "
                     f"{said(result.figures)}".rstrip())
        lines += [f"    {name}" for name in result.failed]
    lines.append(f"in all: {', '.join(filter(None, [said(total), '{:,} s'.format(total['seconds'])]))}, "
                 f"{total['failures']:,} failures")
    return "\n".join(lines)


def said(figures: Mapping[str, int]) -> str:
    return ", ".join(f"{figures[name]:,} {words}" for name, words in FIGURES.items() if name in figures)


def main(wanted: list[str]) -> int:
    names = [name for want in wanted or ["all"]
             for name in PARTS if want in ("all", name, name.partition("-")[0])]
    if not names or any(want not in {"all", *PARTS, "again"} for want in wanted):
        print(f"tests/soak.py: the parts are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results = []
    with tempfile.TemporaryDirectory(prefix="iechor-soak-") as folder:
        for name in names:
            print(f"== {name}: {' '.join(PARTS[name])}", flush=True)
            results.append(trial(name, Path(folder) / f"{name}.xml"))
            print(shown(results), flush=True)
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
