"""bench/RESULTS.md: who was measured, and ratios; never seconds, which are those of one machine and one hour."""

from collections.abc import Mapping, Sequence

from .contenders.base import Contender
from .floors import NAME as FLOOR
from .measure import Times
from .workloads import Aim, Row, Workload

Table = Mapping[tuple[str, str], Times]  # (shot, contender) → times
HEAD = ("| aim | at most | measured | met |", "|---|---|---|---|")


def of_workload(workload: Workload, table: Table, names: Sequence[str]) -> list[str]:
    """A row for each shot of each contender: multiples of iechor's and of the floor's."""
    lines = ["", f"### {workload.key}: {workload.title}", "",
             "| | | time / iechor | time / floor | CPU / iechor | memory / iechor | rounds |",
             "|---|---|---|---|---|---|---|"]
    for shot in dict.fromkeys(shot for shot, _ in table):
        ours, floor = table.get((shot, "iechor"), Times()), table.get((shot, FLOOR), Times())
        for who in names:
            if (times := table.get((shot, who))) is None or not times.wall:
                continue
            cells = [_ratio(times, ours, "wall"), _ratio(times, floor, "wall"), _ratio(times, ours, "cpu"),
                     _ratio(times, ours, "memory"), str(len(times.wall))]
            lines.append(f"| {shot} | {who} | {' | '.join(cells)} |")
    failed = [f"- {who}, {shot}: {times.error}" for (shot, who), times in table.items() if times.error]
    return [*lines, *([""] if failed else []), *failed]


def of_aims(workload: Workload, table: Table, present: Sequence[Contender]) -> list[Row]:
    rows = []
    for aim in workload.aims:
        mine, less = (table[name, "iechor"].median() if (name, "iechor") in table else None
                      for name in (aim.name, aim.less))
        if mine is None or aim.less and less is None:
            continue
        for against, base in _bases(aim, table, present):
            shot = f"{aim.name} less {aim.less}" if aim.less else aim.name
            beside = ": ".join(filter(None, [against, aim.text]))
            rows.append(Row(f"{shot} / {beside}", aim.most, (mine - (less or 0.0)) / (base + aim.plus)))
    for shot, most in workload.memory.items():
        if (shot, "iechor") in table and table[shot, "iechor"].memory:
            rows.append(Row(f"W12: memory in {shot} / {most / 1e6:.0f} MB", 1.0,
                            max(table[shot, "iechor"].memory) / most))
    return rows


def row(of: Row) -> str:
    if of.most is None:
        return f"| {of.text} | | {of.value:.2f} | |"
    return f"| {of.text} | {of.most:.2f} | {of.value:.2f} | {'yes' if of.value <= of.most else '**no**'} |"


def _bases(aim: Aim, table: Table, present: Sequence[Contender]) -> list[tuple[str, float]]:
    """(name, seconds) of everything the aim is held against."""
    if aim.against == "":
        return [("", 0.0)]
    if aim.against.startswith("W"):
        wanted = [(aim.against, (aim.against, "iechor"))]
    elif aim.against in ("peers", "rootless peers"):
        wanted = [(who.name, (aim.name, who.name)) for who in present
                  if who.peer and (who.rootless or aim.against == "peers")]
    else:
        wanted = [(aim.against, (aim.name, aim.against))]
    found = [(name, table[key].median()) for name, key in wanted if key in table]
    return [(name, seconds) for name, seconds in found if seconds is not None]


def _ratio(times: Times, base: Times, what: str) -> str:
    mine, other = times.median(what), base.median(what)
    return "–" if mine is None or not other else f"{mine / other:.2f}"
