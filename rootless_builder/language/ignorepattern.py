r"""One pattern of an ignore file, compiled.

    *        any characters but "/"          ?      one character but "/"        \x     x itself
    [a-z]    one of these, [^a-z] none       **     any characters, "/" too; `**/` also nothing at all

moby/patternmatcher writes a pattern down as a Go regular expression and forgets to escape what filepath.Match
does not know: `|`, `{2}`, `^`, classes such as `\d` or `[[:alpha:]]`. Those mean something then, as soon as the
pattern also has one of the signs above, and so they do here (goregex.py).
"""

import re
from functools import cached_property

from . import globregex, goregex
from .characters import decode, encode, printable
from .filepattern import BadPattern, match

_ESCAPED = ".+()$"


class IgnorePattern:
    """`text` is clean and without its "!". Raises BadPattern for what filepath.Match cannot read.

    `error` is what only matching finds out; the path is then an error too.
    """

    def __init__(self, text: str, *, exclusion: bool) -> None:
        match(text, ".")
        self.text = text
        self.exclusion = exclusion
        self.error = ""
        self._kind, source = _compile(text)
        self._suffix = decode(encode(text)[2:])  # without its "**"; of a byte order mark before them a part stays
        self._regex = goregex.Translated()
        if self._kind == "regex":
            try:
                self._regex = goregex.translate(source)
            except BadPattern as error:
                self.error = str(error)

    @cached_property
    def _plain(self) -> tuple[re.Pattern[str], re.Pattern[str]] | None:
        """For `hits` and `covers`: quick whatever the stars, where the pattern has no other signs."""
        source = globregex.translate(self.text)
        return (re.compile(rf"\A{source}\Z"), re.compile(rf"\A{source}(?:/|\Z)")) if source is not None else None

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        return re.compile(self._regex.whole, re.ASCII)

    @cached_property
    def _tree(self) -> re.Pattern[str]:
        return re.compile(self._regex.tree, re.ASCII)

    def hits(self, path: str) -> bool:
        """Whether `path` itself matches."""
        text = self.text
        if self._kind == "exact":
            return path == text
        if self._kind == "prefix":
            return path.startswith(text[:-2])
        if self._kind == "suffix":
            return path.endswith(self._suffix) or (self._suffix[0] == "/" and path == self._suffix[1:])
        if self._plain and "\n" not in path:
            return self._plain[0].match(path) is not None
        return self._whole.search(path) is not None

    def covers(self, path: str) -> bool:
        """Whether `path`, relative and clean, or a folder above it matches."""
        text = self.text
        if self._kind == "exact":
            return path == text or path.startswith(text + "/")
        if self._kind == "prefix":
            return path.startswith(text[:-2])
        if self._kind == "suffix":
            suffix, below = self._suffix + "/", path + "/"
            return suffix in below or (self._suffix[:1] == "/" and below.startswith(suffix[1:]))
        if self._plain and "\n" not in path:
            return self._plain[1].match(path) is not None
        if self._regex.exact_only:
            return any(map(self.hits, [path, *ancestors(path)]))
        return self._tree.search(path) is not None

    def may_hit_below(self, folder: str) -> bool:
        """Whether a path below `folder` could match though `folder` does not; True when in doubt."""
        if self.covers(folder):
            return False
        literal = re.split(r"[*?\[\\|{^]", self.text, maxsplit=1)[0]
        below = folder + "/"
        if self._kind == "exact":
            return self.text.startswith(below)
        return literal.startswith(below) or below.startswith(literal)


def ancestors(path: str) -> list[str]:
    """The folders above a clean path, as moby/patternmatcher counts them: for "/a" also "" and "/"."""
    cuts = [index for index, char in enumerate(path) if char == "/"]
    found = [path[:cut] for cut in cuts]
    return [*found, "/"] if len(cuts) == 1 and path.startswith("/") else found


def _compile(text: str) -> tuple[str, str]:
    """exact, prefix, suffix or regex; and the Go regular expression."""
    kind, source = "exact", "^"
    chars = printable(text).removeprefix("\ufeff")
    position = 0
    while position < len(chars):
        char, first = chars[position], position == 0
        position += 1
        if chars.startswith("**", position - 1):
            position += 1 + chars.startswith("/", position + 1)
            if position < len(chars):
                source += "(.*/)?"
                kind = "regex"
            elif kind == "exact":
                kind = "prefix"
            else:
                source += ".*"
                kind = "regex"
            kind = "suffix" if first else kind
        elif char in "*?":
            source += "[^/]*" if char == "*" else "[^/]"
            kind = "regex"
        elif char == "\\" and position < len(chars):
            source += "\\" + chars[position]
            position += 1
            kind = "regex"
        else:
            source += "\\" + char if char in _ESCAPED or char == "\\" else char
            kind = "regex" if char in "[]" else kind
    return kind, source + "$"
