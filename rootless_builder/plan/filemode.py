"""`--chmod` of COPY and ADD: octal, or symbolic as chmod(1) has it, by the rules of BuildKit's mode library.

    u=rwX,g+s,o-w,+t     WHO… OP PERM… [OP PERM…], separated by commas; no WHO: all of them, and no umask
    X                    execution for a folder, and for a file that had it for anyone
    go=u                 a copy of another's bits, as they are by then
"""

from collections.abc import Callable, Iterator

from ..errors import IechorfileError
from ..values import dataclass

_SET_ID, _STICKY, _OTHERS, _ALL = 0o6000, 0o1000, 0o007, 0o6777
_EVERY = 0xFFFF  # of who is not said
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o007, "a": _ALL}
_PERM = {"r": 0o444, "w": 0o222, "x": 0o111}
_SHIFT = {"u": 6, "g": 3, "o": 0}

Change = Callable[[int, int, bool], int]  # (mode now, mode at first, is a folder) → mode


@dataclass(frozen=True, slots=True)
class FileMode:
    """What --chmod makes of a mode. `fixed`: the mode it gives whatever was there, None for a symbolic one."""

    text: str
    fixed: int | None
    changes: tuple[Change, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "FileMode":
        """Errors: IechorfileError."""
        if text[:1].isdigit():
            if any(char not in "01234567" for char in text) or int(text, 8) > 0o7777:
                raise IechorfileError(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and "
                                      "07777", hint="write --chmod=755, or symbolically --chmod=u=rwX,go=rX")
            return cls(text, int(text, 8))
        try:
            return cls(text, None, tuple(_changes(text)))
        except ValueError as error:
            raise IechorfileError(f"invalid chmod parameter: '{text}': {error}",
                                  hint="write --chmod=755, or symbolically --chmod=u=rwX,go=rX") from None

    def apply(self, mode: int, *, folder: bool) -> int:
        """mode: 0o0..0o7777, of a folder or of anything else."""
        if self.fixed is not None:
            return self.fixed
        now = mode
        for change in self.changes:
            now = change(now, mode, folder)
        return now & 0o7777


def _changes(text: str) -> Iterator[Change]:
    for clause in text.split(","):
        rest = clause.lstrip("ugoa")
        who = 0
        for char in clause[:len(clause) - len(rest)]:
            who |= _WHO[char]
        if not rest:
            raise ValueError("it ends where +, - or = is expected")
        emptied = False
        while rest:
            op, rest = rest[0], rest[1:]
            if op not in "+-=":
                raise ValueError(f"{op!r} stands where +, - or = is expected")
            emptied = emptied and op != "="
            end = next((at for at, char in enumerate(rest) if char not in "rwxXstugo"), len(rest))
            changes, who, emptied = _operation(op, rest[:end], who & ~_STICKY, emptied)
            yield from changes
            rest = rest[end:]


def _operation(op: str, perms: str, who: int, emptied: bool) -> tuple[list[Change], int, bool]:
    """One OP and its PERMs → (changes, who, whether "=" has cleared what it clears). "t" is from then on part of who,
    as BSD's setmode has it: so "+rt" is "+t".
    """
    changes: list[Change] = []
    bits = conditional = 0
    for char in perms:
        if char in _SHIFT:
            if bits:
                changes += _plain(op, who, bits)
                bits = 0
            emptied = emptied or op == "="
            if conditional:
                changes.append(_if_executable(_limit(who, conditional)))
                conditional = 0
            changes.append(_copied(op, _SHIFT[char], who))
        elif char in _PERM:
            bits |= _PERM[char]
        elif char == "X":
            conditional, bits = (0o111, bits) if op != "-" else (conditional, bits | 0o111)
        elif who == 0 or who & ~_OTHERS:
            bits |= _SET_ID if char == "s" else _STICKY
            who |= _STICKY if char == "t" else 0
    if bits or (op == "=" and not emptied):
        emptied = emptied or op == "="
        changes += _plain(op, who, bits)
    if conditional:
        changes.append(_if_executable(_limit(who, conditional)))
    return changes, who, emptied


def _limit(who: int, bits: int) -> int:
    return bits & (who or _EVERY)


def _plain(op: str, who: int, bits: int) -> list[Change]:
    given = _limit(who, bits)
    if op == "-":
        return [lambda now, first, folder: now & ~given]
    cleared = (who or _ALL) if op == "=" else 0
    return [lambda now, first, folder: now & ~cleared | given]


def _if_executable(bits: int) -> Change:
    return lambda now, first, folder: now | bits if folder or first & 0o111 else now


def _copied(op: str, source: int, who: int) -> Change:
    """The bits of u, g or o, given to, taken from or set for each of who."""
    targets = [shift for shift, bit in ((6, 0o400), (3, 0o040), (0, 0o004)) if not who or who & bit]

    def change(now: int, first: int, folder: bool) -> int:
        value = now >> source & 0o7
        for shift in targets:
            now &= ~((0o7 if op == "=" else value if op == "-" else 0) << shift)
            now |= (value if op != "-" else 0) << shift
        return now

    return change
