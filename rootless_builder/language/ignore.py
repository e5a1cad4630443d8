"""Ignore files: which paths of a build context are left out.

    # comment        only at the very start of a line
    *.log            a pattern, from the root of the context; "/" before it changes nothing
    !keep.log        an exception: takes back what patterns above it left out

The last pattern that matches a path, or a folder above it, decides (as in moby/patternmatcher).
"""

from collections.abc import Iterable

from ..errors import IechorfileError
from .characters import decode, encode, printable, strip
from .filepattern import BadPattern, clean
from .ignorepattern import IgnorePattern, ancestors

_MAX_LINE = 65_536  # bytes, its line end included


def read_patterns(text: str | bytes) -> list[str]:
    """The patterns of an ignore file: comments and empty lines gone, paths cleaned, "!" kept in front.

    Raises IechorfileError for a line longer than 65,535 bytes.
    """
    data = encode(text) if isinstance(text, str) else text
    patterns = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if len(line) >= _MAX_LINE:
            raise IechorfileError(f"cannot read line {number} of the ignore file: it is longer than "
                                  f"{_MAX_LINE - 1} bytes", hint="break the pattern up")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        pattern = strip(decode(line.removesuffix(b"\r")))
        if line.startswith(b"#") or not pattern:
            continue
        mark = "!" if pattern.startswith("!") else ""
        pattern = strip(pattern.removeprefix("!"))
        if pattern:
            pattern = clean(pattern)
            pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
        patterns.append(mark + pattern)
    return patterns


class IgnorePatterns:
    """The patterns of one ignore file, compiled once.

    Raises IechorfileError for a pattern that cannot be read.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self._compiled = [compiled for text in self.patterns if (compiled := _compiled(text))]
        self._exclusions = [pattern for pattern in self._compiled if pattern.exclusion]

    @classmethod
    def read(cls, text: str | bytes) -> "IgnorePatterns":
        """From the text of an ignore file."""
        return cls(read_patterns(text))

    def __bool__(self) -> bool:
        return bool(self._compiled)

    def matches(self, path: str) -> bool:
        """Whether `path`, relative to the context, is left out. The context itself never is.

        Raises IechorfileError for a pattern that only matching shows to be wrong.
        """
        path = clean(path)
        if path == ".":
            return False
        left_out = False
        for pattern in self._compiled:
            if pattern.exclusion != left_out:
                continue  # it could only say what is so already
            if pattern.error:
                raise _unreadable(pattern.text, pattern.error)
            if _covers(pattern, path):
                left_out = not left_out
        return left_out

    def may_reinclude_below(self, folder: str) -> bool:
        """Whether an exception may take back something below `folder`, which is left out itself; if not, a walk
        need not enter it."""
        folder = clean(folder)
        return any(pattern.may_hit_below(folder) for pattern in self._exclusions)


    def may_match_below(self, folder: str) -> bool:
        """Whether a pattern could say anything of a path below `folder`, which is not left out itself; True when in
        doubt. The context itself is "".
        """
        folder = clean(folder) if folder else ""
        return any(not folder or pattern.error or pattern.may_hit_below(folder) for pattern in self._compiled)


def _covers(pattern: IgnorePattern, path: str) -> bool:
    if path.startswith("/"):
        return any(map(pattern.hits, [path, *ancestors(path)]))
    return pattern.covers(path)


def _compiled(text: str) -> IgnorePattern | None:
    """None for an empty line. The path is cleaned before "!" is looked for, as moby does."""
    bare = strip(text)
    if not bare:
        return None
    pattern = clean(bare)
    if pattern == "!":
        raise _unreadable(text, "there is nothing behind the !")
    exclusion = pattern.startswith("!")
    try:
        return IgnorePattern(pattern.removeprefix("!"), exclusion=exclusion)
    except BadPattern as error:
        raise _unreadable(text, str(error)) from None


def _unreadable(text: str, cause: str) -> IechorfileError:
    return IechorfileError(f"cannot read the ignore pattern {printable(text)!r}: {cause}",
                           hint="correct it, or put a backslash before what is to stand for itself")
