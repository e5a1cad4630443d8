r"""The corner of Go's regular expressions that ignore patterns can reach, translated for Python's `re`.

    (.*/)?  .*  [^/]*  [^/]  ^  $     what IgnorePattern writes itself
    a|b  a{2,3}  ^                    what it leaves unescaped
    [a-z] [^a] [[:alpha:]] [\d]       classes
    \d \w \s \b \A \z \Q…\E \x41 \pL  escapes; a letter without a meaning is an error

Only whether something matches counts, never where. Scripts (`\p{Greek}`) are refused: Python has no table.
"""

import re
import sys
import unicodedata
from functools import lru_cache

from ..values import dataclass
from .filepattern import BadPattern

_Ranges = list[tuple[int, int]]

_END = "\0END\0"
_BOX = "(.*/)?"
_REPEAT = re.compile(r"\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}")
_POSIX = re.compile(r"\[:(.*?):\]", re.DOTALL)
_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_ASSERTIONS = {"A": r"\A", "b": r"\b", "B": r"(?:(?<=\w)(?=\w)|(?<!\w)(?!\w))", "z": r"\Z"}
_NAMED = {
    "d": "09", "w": "09AZ__az", "s": "\t\n\f\r  ", "alnum": "09AZaz", "alpha": "AZaz", "ascii": "\0\x7f",
    "blank": "\t\t  ", "cntrl": "\0\x1f\x7f\x7f", "digit": "09", "graph": "!~", "lower": "az", "print": " ~",
    "punct": "!/:@[`{~", "space": "\t\r  ", "upper": "AZ", "word": "09AZ__az", "xdigit": "09AFaf",
}
_CATEGORIES = ("C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl",
               "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs")


@dataclass(frozen=True, slots=True)
class Translated:
    """`whole` matches a path, `tree` a path or a folder above it; where `tree` would be wrong, `exact_only`."""

    whole: str = ""
    tree: str = ""
    exact_only: bool = False


def translate(source: str) -> Translated:
    """For `re.search` with re.ASCII. Raises BadPattern for what Go's regexp.Compile refuses."""
    translator = _Translator(source)
    regex = translator.run()
    return Translated(regex.replace(_END, r"\Z"), regex.replace(_END, r"(?=/|\Z)"), translator.ends_inside)


class _Translator:
    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0
        self.done: list[str] = []  # finished alternatives
        self.atoms: list[str] = []  # of the alternative at hand
        self.ends_inside = False

    def run(self) -> str:
        repeated = False
        while self.position < len(self.source):
            repeated = self._step(repeated)
        return "|".join([*self.done, "".join(self.atoms)])

    def _peek(self) -> str:
        return self.source[self.position: self.position + 1]

    def _next(self) -> str:
        char = self._peek()
        if not char:
            raise BadPattern("it ends too early")
        self.position += 1
        return char

    def _step(self, repeated: bool) -> bool:
        """One atom or one repetition; says whether it was a repetition."""
        if self.source.startswith(_BOX, self.position):
            self.position += len(_BOX)
            self.atoms.append("(?:[^\n]*/)?")
            return True
        repeat = _REPEAT.match(self.source, self.position)
        if repeat or self._peek() == "*":
            self.position += len(repeat.group()) if repeat else 1
            self._repeat(repeat, repeated)
            return True
        char = self._next()
        if char == "|":
            self.done.append("".join(self.atoms))
            self.atoms = []
        elif char == "[":
            self.atoms.append(self._class())
        elif char == "\\":
            self._escape()
        else:
            self.atoms.append({"^": r"\A", "$": _END, ".": "[^\n]"}.get(char) or re.escape(char))
        return False

    def _repeat(self, repeat: re.Match[str] | None, repeated: bool) -> None:
        if repeated:
            raise BadPattern("it repeats a repetition")
        if not self.atoms:
            raise BadPattern("it repeats nothing")
        times = "*"
        if repeat:
            low = int(repeat[1]) if len(repeat[1]) < 9 else 9999
            high = low if repeat[2] is None else int((repeat[3] or str(low))[:9])
            if low > 1000 or high > 1000 or low > high:
                raise BadPattern(f"{repeat.group()} is no number of repetitions")
            times = f"{{{low},{'' if repeat[2] == ',' else high}}}"
        self.atoms[-1] = f"(?:{self.atoms[-1]}){times}"

    def _escape(self) -> None:
        """Behind a backslash, outside a class."""
        char = self._peek()
        if char in _ASSERTIONS and char:
            self.position += 1
            self.ends_inside = self.ends_inside or char == "z"
            self.atoms.append(_ASSERTIONS[char])
        elif char == "Q":
            literal, _, rest = self.source[self.position + 1:].partition("\\E")
            self.position = len(self.source) - len(rest)
            self.atoms += map(re.escape, literal)
        else:
            ranges = self._group()
            self.atoms.append(_as_class(ranges) if ranges is not None else re.escape(chr(self._escaped_char())))

    def _group(self) -> _Ranges | None:
        r"""`d`, `W`, `pL`, `p{^Lu}` behind a backslash; None, and nothing read, when it is something else."""
        char = self._peek()
        if char and char in "dswDSW":
            self.position += 1
            ranges = _pairs(_NAMED[char.lower()])
            return _negated(ranges) if char.isupper() else ranges
        if char and char in "pP":
            self.position += 1
            name = self._next()
            if name == "{":
                end = self.source.find("}", self.position)
                if end < 0:
                    raise BadPattern("a brace is not closed")
                name, self.position = self.source[self.position: end], end + 1
            bare = name.removeprefix("^")
            if bare not in _CATEGORIES:
                raise BadPattern(f"there is no class \\p{{{bare}}}")
            ranges = _category(bare)
            return _negated(ranges) if (char == "P") != (bare != name) else ranges
        return None

    def _escaped_char(self) -> int:
        """The code point of what stands behind a backslash. Raises BadPattern for a letter without a meaning."""
        char = self._next()
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x":
            return self._hexadecimal()
        octal = re.compile("0[0-7]{0,2}|[1-7][0-7]{1,2}").match(self.source, self.position - 1)
        if octal:
            self.position = octal.end()
            return int(octal.group(), 8)
        if char.isascii() and not char.isalnum():
            return ord(char)
        raise BadPattern(f"\\{char} means nothing")

    def _hexadecimal(self) -> int:
        digits = re.compile(r"\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{2})").match(self.source, self.position)
        if digits is None:
            raise BadPattern("\\x needs two hexadecimal digits")
        self.position = digits.end()
        code = int(digits[1] or digits[2], 16)
        if code > sys.maxunicode:
            raise BadPattern("\\x names no character")
        return code

    def _class(self) -> str:
        """Behind a "[": up to its "]"."""
        negated = self._peek() == "^"
        self.position += negated
        ranges: _Ranges = []
        first = True
        while first or self._peek() != "]":
            first = False
            ranges += self._class_item()
        self.position += 1
        return _as_class(_negated(ranges) if negated else ranges)

    def _class_item(self) -> _Ranges:
        named = _POSIX.match(self.source, self.position)
        if named:
            self.position = named.end()
            name = named[1].removeprefix("^")
            if name not in _NAMED or len(name) == 1:
                raise BadPattern(f"there is no class {named.group()}")
            ranges = _pairs(_NAMED[name])
            return _negated(ranges) if name != named[1] else ranges
        if self._peek() == "\\":
            self.position += 1
            group = self._group()
            if group is not None:
                return group
            self.position -= 1
        low = self._class_char()
        high = low
        if self._peek() == "-" and self.source[self.position + 1: self.position + 2] not in ("", "]"):
            self.position += 1
            high = self._class_char()
            if high < low:
                raise BadPattern("a range goes backwards")
        return [(low, high)]

    def _class_char(self) -> int:
        char = self._next()
        return self._escaped_char() if char == "\\" else ord(char)


def _pairs(chars: str) -> _Ranges:
    return [(ord(low), ord(high)) for low, high in zip(chars[0::2], chars[1::2], strict=True)]


def _negated(ranges: _Ranges) -> _Ranges:
    found, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            found.append((start, low - 1))
        start = max(start, high + 1)
    return [*found, (start, sys.maxunicode)] if start <= sys.maxunicode else found


def _as_class(ranges: _Ranges) -> str:
    if not ranges:
        return "(?!)"
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges) + "]"


@lru_cache
def _category(name: str) -> _Ranges:
    codes = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith(name)]
    ranges: _Ranges = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return ranges
