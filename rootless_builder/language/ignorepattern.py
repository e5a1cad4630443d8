r"""One pattern of an ignore file, compiled.

    *        any characters but "/"          ?      one character but "/"        \x     x itself
    [a-z]    one of these, [^a-z] none       **     any characters, "/" too; `**/` also nothing at all

moby/patternmatcher writes a pattern down as a Go regular expression and forgets to escape what filepath.Match
does not know: `|`, `{2}`, `^`, classes such as `\d` or `[[:alpha:]]`. Those mean something then, as soon as the
pattern also has one of the signs above, and so they do here (goregex.py).
"""

import re

from . import goregex
from .characters import printable
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
        self._self = self._tree = re.compile("")
        self._by_ancestor = False
        if self._kind == "regex":
            try:
                translated = goregex.translate(source)
            except BadPattern as error:
                self.error = str(error)
                return
            self._self = re.compile(translated.whole, re.ASCII)
            self._tree = re.compile(translated.tree, re.ASCII)
            self._by_ancestor = translated.exact_only

    def hits(self, path: str) -> bool:
        """Whether `path` itself matches."""
        text = self.text
        if self._kind == "exact":
            return path == text
        if self._kind == "prefix":
            return path.startswith(text[:-2])
        if self._kind == "suffix":
            return path.endswith(text[2:]) or (text[2] == "/" and path == text[3:])
        return self._self.search(path) is not None

    def covers(self, path: str) -> bool:
        """Whether `path`, relative and clean, or a folder above it matches."""
        text = self.text
        if self._kind == "exact":
            return path == text or path.startswith(text + "/")
        if self._kind == "prefix":
            return path.startswith(text[:-2])
        if self._kind == "suffix":
            suffix, below = text[2:] + "/", path + "/"
            return suffix in below or (text[2:3] == "/" and below.startswith(suffix[1:]))
        if self._by_ancestor:
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
