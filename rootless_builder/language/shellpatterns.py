r"""The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*` and `?` are wild, `\` escapes these two and itself.

Neither wild card matches a line end. What BuildKit leaves to a regular expression is placed segment by segment
here (a segment is what stands between two stars): each at its first place, the last one at its last place when
the longest match is asked for. That finds the same match and never backtracks over the stars.
"""

import re

_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


class BadPattern(ValueError):
    """A backslash before something it cannot escape."""


def trim_prefix(pattern: str, value: str, *, longest: bool) -> str:
    end = _Pattern(pattern, longest=longest).end(value, 0)
    return value if end is None else value[end:]


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    return trim_prefix(_reversed(pattern), value[::-1], longest=longest)[::-1]


def replace(pattern: str, value: str, replacement: str, *, every: bool) -> str:
    """The longest match from the left gives way to `replacement`; in every place, `$0` there is what matched."""
    wanted = _Pattern(pattern, longest=True)
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
        first, *others = _segments(pattern.removeprefix("\ufeff"))
        self._first = re.compile(first)
        self._others = [re.compile(".*?" + segment) for segment in others[:-1]]
        if others:
            self._others.append(re.compile((".*" if longest else ".*?") + others[-1]))

    def end(self, value: str, start: int) -> int | None:
        """Where a match that begins at `start` ends."""
        match = self._first.match(value, start)
        for segment in self._others:
            match = match and segment.match(value, match.end())
        return match.end() if match else None

    def search(self, value: str, position: int) -> tuple[int, int] | None:
        """The first match from `position` on: its start and end."""
        while position <= len(value) and (candidate := self._first.search(value, position)):
            end = self.end(value, candidate.start())
            if end is not None:
                return candidate.start(), end
            position = candidate.start() + 1
        return None


def _segments(pattern: str) -> list[str]:
    """The pattern cut at its stars, each piece as a regular expression."""
    segments = [""]
    chars = iter(pattern)
    for char in chars:
        if char == "*":
            segments.append("")
        elif char == "?":
            segments[-1] += "."
        elif char == "\\":
            escaped = next(chars, "")
            # "}" and "/" had to be escaped to get through ${…}; the backslash is not part of the pattern.
            if escaped not in ("*", "?", "\\", "}", "/"):
                raise BadPattern(f"invalid escape \\{escaped}")
            segments[-1] += re.escape(escaped)
        else:
            segments[-1] += re.escape(char)
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
