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
    match = _compile(pattern, longest=longest).match(value)
    return value[match.end():] if match else value


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    return trim_prefix(_reversed(pattern), value[::-1], longest=longest)[::-1]


def replace(pattern: str, value: str, replacement: str, *, every: bool) -> str:
    """The longest match from the left gives way to `replacement`; in every place, `$0` there is what matched."""
    regex = _compile(pattern, longest=True)
    if not every:
        match = regex.search(value)
        return value[: match.start()] + replacement + value[match.end():] if match else value
    out, end, position = [], 0, 0
    while position <= len(value) and (match := regex.search(value, position)):
        out.append(value[end: match.start()])
        if match.end() > end or match.start() == 0:  # an empty match right behind another one does not count
            out.append(_fill_in(replacement, match.group()))
        end = match.end()
        position = max(end, position + 1)
    return "".join(out) + value[end:]


def _compile(pattern: str, *, longest: bool) -> re.Pattern[str]:
    segments = _segments(pattern.removeprefix("\ufeff"))
    regex = segments[0]
    for segment in segments[1:-1]:
        regex += f"(?>.*?{segment})"
    if len(segments) > 1:
        regex += (".*" if longest else ".*?") + segments[-1]
    return re.compile(regex)


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
