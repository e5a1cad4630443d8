"""bench/RESULTS.md: who was measured, and ratios; never seconds, which are those of one machine and one hour."""

from collections.abc import Mapping, Sequence

from .measure import Times
from .workloads import Aim, Workload

Table = Mapping[tuple[str, str], Times]  # (shot, contender) → times
MEMORY = {"W3": 120e6, "W4": 400e6, "W9": 250e6}  # W12: bytes


def ratio(table: Table, name: str, who: str, base: Times | None) -> float | None:
    mine = table.get((name, who))
    if mine is None or mine.median is None or base is None or not base.median:
        return None
    return mine.median / base.median


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def of_workload(workload: Workload, table: Table, names: Sequence[str]) -> list[str]:
    """One row a contender: each shot as a multiple of iechor's, of the floor's, and its memory against iechor's."""
    shots = list(dict.fromkeys(shot for shot, _ in table))
    lines = [f"## {workload.key}: {workload.title}", ""]
    head = [cell for shot in shots for cell in (f"{shot} / iechor", f"{shot} / floor", f"{shot} CPU / iechor",
                                                f"{shot} memory / iechor")]
    lines += [f"| | {' | '.join(head)} |", f"|---|{'---|' * len(head)}"]
    for who in names:
        cells = []
        for shot in shots:
            times, mine = table.get((shot, who)), table.get((shot, "iechor"))
            cells += [shown(ratio(table, shot, who, mine)), shown(ratio(table, shot, who, table.get((shot, "floor")))),
                      shown(_of(times, mine, "cpu")), shown(_of(times, mine, "memory"))]
        lines.append(f"| {who} | {' | '.join(cells)} |")
    failed = {who: times.error for (_, who), times in table.items() if times.error}
    lines += ["", *(f"- {who} failed: {error}" for who, error in failed.items())]
    return lines


def of_aims(workload: Workload, table: Table, names: Sequence[str]) -> list[str]:
    """| aim | at most | measured | met |"""
    rows = []
    for aim in workload.aims:
        for against, base in _bases(aim, table, names):
            value = ratio(table, aim.name, "iechor", base)
            if value is not None:
                rows.append(_row(f"{aim.name} / {against}{f' ({aim.text})' if aim.text else ''}", aim.most, value))
    for shot, most in MEMORY.items():
        times = table.get((shot, "iechor"))
        if times is not None and times.memory:
            rows.append(_row(f"W12: memory in {shot} / {most / 1e6:.0f} MB", 1.0, max(times.memory) / most))
    return rows


def _row(text: str, most: float, value: float) -> str:
    return f"| {text} | {most:.2f} | {value:.2f} | {'yes' if value <= most else '**no**'} |"


def _bases(aim: Aim, table: Table, names: Sequence[str]) -> list[tuple[str, Times]]:
    if aim.against == "peers":
        peers = [who for who in names if who not in ("iechor", "floor")]
        return [(who, table[aim.name, who]) for who in peers if (aim.name, who) in table]
    if aim.against.startswith("W"):
        found = table.get((aim.against, "iechor"))
    else:
        found = table.get((aim.name, "floor" if aim.against == "walk" else aim.against))
    return [(aim.against, found)] if found is not None else []


def _of(times: Times | None, mine: Times | None, what: str) -> float | None:
    if times is None or mine is None or not getattr(times, what) or not getattr(mine, what):
        return None
    ours = sorted(getattr(mine, what))[len(getattr(mine, what)) // 2]
    theirs = sorted(getattr(times, what))[len(getattr(times, what)) // 2]
    return float(theirs / ours) if ours else None
