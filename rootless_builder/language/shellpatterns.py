r"""The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*` and `?` are wild, `\` escapes these two and itself.

Neither wild card matches a line end. What BuildKit leaves to a regular expression is placed segment by segment
here (a segment is what stands between two stars): each at its first place, the last one at its last place when
the longest match is asked for. That finds the same match and never backtracks over the stars. Where the segments behind
the first star do not fit, they fit nowhere later in that line, so no line is looked through twice.
"""

import re
from collections.abc import Sequence

from ..values import dataclass

# With "?" in a segment, each place is compared letter by letter; what takes longer than a second is refused.
_LONGEST = 1 << 27  # letters of the pattern times letters of the value
_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


class BadPattern(ValueError):
    """A backslash before something it cannot escape, or a pattern that would take too long."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """size: letters it matches, always as many. text: what it is, None with a "?" in it; form: a regular expression."""

    size: int
    text: str | None
    form: re.Pattern[str]

    @classmethod
    def of(cls, letters: Sequence[str | None]) -> "_Segment":
        """None: any letter."""
        text = None if None in letters else "".join(letter or "" for letter in letters)
        return cls(len(letters), text, re.compile("".join("." if one is None else re.escape(one) for one in letters)))

    def first(self, value: str, start: int) -> int | None:
        """Where it ends at its first place from `start` on, with no line end before it."""
        if self.text is None:
            match = re.compile(f".*?{self.form.pattern}").match(value, start)
            return match.end() if match else None
        return self._ending(value.find(self.text, start, _line_end(value, start) + self.size))

    def last(self, value: str, start: int) -> int | None:
        """The same at its last place."""
        if self.text is None:
            match = re.compile(f".*{self.form.pattern}").match(value, start)
            return match.end() if match else None
        return self._ending(value.rfind(self.text, start, _line_end(value, start) + self.size))

    def _ending(self, place: int) -> int | None:
        return None if place < 0 else place + self.size


def trim_prefix(pattern: str, value: str, *, longest: bool) -> str:
    wanted = _Pattern(pattern, longest=longest)
    wanted.check(value)
    end = wanted.end(value, 0)
    return value if end is None else value[end:]


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    return trim_prefix(_reversed(pattern), value[::-1], longest=longest)[::-1]


def replace(pattern: str, value: str, replacement: str, *, every: bool) -> str:
    """The longest match from the left gives way to `replacement`; in every place, `$0` there is what matched."""
    wanted = _Pattern(pattern, longest=True)
    wanted.check(value)
    out, end, position = [], 0, 0
    while place := wanted.search(value, position):
        start, stop = place
        if not every:
            return value[:start] + replacement + value[stop:]
        out.append(value[end:start])
        if stop > end or start == 0:  # an empty match right behind another one does not count
            out.append(_fill_in(replacement, value[start:stop]))
        end = stop
        position = max(end, position + 1)
    return "".join(out) + value[end:]


class _Pattern:
    def __init__(self, pattern: str, *, longest: bool) -> None:
        self._first, *others = map(_Segment.of, _segments(pattern.removeprefix("\ufeff")))
        self._others = tuple(others)
        self._longest = longest
        self._wild = any(one.text is None for one in (self._first, *others))
        self._size = len(pattern)

    def end(self, value: str, start: int) -> int | None:
        """Where a match that begins at `start` ends."""
        match = self._first.form.match(value, start)
        return self._rest(value, match.end()) if match else None

    def search(self, value: str, position: int) -> tuple[int, int] | None:
        """The first match from `position` on: its start and end."""
        while position <= len(value) and (candidate := self._first.form.search(value, position)):
            end = self._rest(value, candidate.end())
            if end is not None:
                return candidate.start(), end
            line = _line_end(value, candidate.end())
            if line == len(value):
                return None
            position = max(candidate.start() + 1, line + 1 - self._first.size)
        return None

    def check(self, value: str) -> None:
        """Raises BadPattern."""
        if self._wild and self._size * len(value) > _LONGEST:
            raise BadPattern(f"a pattern of {self._size} letters is too long for a value of {len(value)}")

    def _rest(self, value: str, position: int) -> int | None:
        """Where the segments behind the first star end, which may begin to match at `position`."""
        end: int | None = position
        for segment in self._others:
            if end is None:
                return None
            last = self._longest and segment is self._others[-1]
            end = segment.last(value, end) if last else segment.first(value, end)
        return end


def _line_end(value: str, start: int) -> int:
    place = value.find("\n", start)
    return len(value) if place < 0 else place


def _segments(pattern: str) -> list[list[str | None]]:
    """The pattern cut at its stars: letters, None for any."""
    segments: list[list[str | None]] = [[]]
    chars = iter(pattern)
    for char in chars:
        if char == "*":
            segments.append([])
        elif char == "?":
            segments[-1].append(None)
        elif char == "\\":
            escaped = next(chars, "")
            # "}" and "/" had to be escaped to get through ${…}; the backslash is not part of the pattern.
            if escaped not in ("*", "?", "\\", "}", "/"):
                raise BadPattern(f"invalid escape \\{escaped}")
            segments[-1].append(escaped)
        else:
            segments[-1].append(char)
    return segments


def _reversed(pattern: str) -> str:
    """Back to front, an escape staying before what it escapes: `a\\*c` → `c\\*a`."""
    pieces = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join(reversed(pieces))


def _fill_in(replacement: str, matched: str) -> str:
    """`replacement` with Go's references filled in: `$0` is the match, `$$` a dollar, other names are empty."""

    def value(reference: re.Match[str]) -> str:
        if reference.group() == "$$":
            return "$"
        return matched if (reference[1] or reference[2]) == "0" else ""

    return _REFERENCE.sub(value, replacement) if "$" in replacement else replacement
