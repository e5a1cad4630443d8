""" "Did you mean": the nearest of the names that would have been right."""

from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name at most two edits away from `word`, None when there is none. Of several as near, the one with the
    same letters: they are only in another order."""
    if len(word) > 64:
        return None
    letters = sorted(word)
    distance, _, name = min(((_distance(word, name), sorted(name) != letters, name) for name in names),
                            default=(3, True, ""))
    return name if 0 < distance < 3 else None


def notes(word: str, names: Iterable[str]) -> tuple[str, ...]:
    """The line for IechorError.notes, or none."""
    name = nearest(word, names)
    return (f"Did you mean {name}?",) if name else ()


def _distance(a: str, b: str) -> int:
    """Levenshtein's: insertions, deletions and replacements from `a` to `b`."""
    row = list(range(len(b) + 1))
    for i, char in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (char != other))
    return row[-1]
