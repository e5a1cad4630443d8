r"""Quotes, escapes and variables: how the words of an iEchorfile become values.

    word      = { "'" chars "'" | '"' { char | escaped | variable } '"' | escaped | variable | char }
    variable  = "$" name | "${" name [ form ] "}"
    form      = ":-" word | "-" word       the value, or `word` when unset (or empty, with the colon)
              | ":+" word | "+" word       `word` when set (and not empty)
              | ":?" word | "?" word       an error saying `word` when unset (or empty)
              | "#" pattern | "##" pattern | "%" pattern | "%%" pattern      shortest, longest prefix, suffix off
              | "/" pattern "/" word | "//" pattern "/" word                first, every match replaced

The rules, the odd ones included, are those of BuildKit's shell lexer. Words nest as deep as
the user likes, so nothing here recurses: a rule that needs another yields it, and `_drive` keeps the stack.
"""

import re
from collections.abc import Callable, Generator, Mapping
from functools import lru_cache
from typing import Any, NoReturn

from ..errors import IechorfileError
from . import shellpatterns
from .characters import SPACES, printable

_Rule = Generator[Any, str, str]

_RUNS = re.compile(f"[{SPACES}]+|[^{SPACES}]+")
_HEREDOC = re.compile("<(?:<[\t\r ]*)?")


def expand(text: str, env: Mapping[str, str], *, escape: str = "\\") -> tuple[str, frozenset[str]]:
    """`text` as one word: quotes and escapes gone, variables replaced; and the names that `env` does not have.

    Raises IechorfileError: a quote or brace that is not closed, an unknown form, `${v:?}` of an unset v.
    """
    lexer = WordLexer(text, env.get, escape=escape)
    return lexer.run(), frozenset(lexer.unmatched)


def expand_words(text: str, env: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """The same, then split at spaces outside quotes; values of variables are split too."""
    lexer = WordLexer(text, env.get, escape=escape)
    lexer.run()
    return lexer.words


def expand_raw(text: str, env: Mapping[str, str]) -> str:
    r"""The content of a COPY or ADD heredoc whose delimiter is not quoted: quotes stay, the escape token is `\`."""
    return WordLexer(text, env.get, quotes=False).run()


class WordLexer:
    """One pass over one text. `words` and `unmatched` are filled by `run`.

    raw_quotes, raw_escapes: they stay in the result. quotes=False: a quote is a character like any other.
    keep_unset: a variable that is not set stays as written.
    """

    def __init__(self, text: str, lookup: Callable[[str], str | None], *, escape: str = "\\", quotes: bool = True,
                 raw_quotes: bool = False, raw_escapes: bool = False, keep_unset: bool = False) -> None:
        self.source = text
        self.text = printable(text).removeprefix("\ufeff")
        self.lookup = lookup
        self.escape = escape
        self.raw_quotes = raw_quotes
        self.raw_escapes = raw_escapes
        self.keep_unset = keep_unset
        self.specials = "$<'\"" if quotes else "$<"
        self.position = 0
        self.word: list[str] = []
        self.words: list[str] = []
        self.unmatched: set[str] = set()

    def run(self) -> str:
        result = _drive(self._until("", self.raw_escapes))
        self._end_word()
        return result

    # -- reading ---------------------------------------------------------------------------------------

    def _peek(self) -> str:
        return self.text[self.position: self.position + 1]

    def _next(self) -> str:
        char = self._peek()
        self.position += 1
        return char

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match.group()

    def _fail(self, cause: str) -> NoReturn:
        shown = self.source if len(self.source) <= 200 else self.source[:200] + "…"
        raise IechorfileError(f"cannot expand {printable(shown)!r}: {cause}")

    # -- words -----------------------------------------------------------------------------------------

    def _end_word(self) -> None:
        if any(self.word):
            self.words.append("".join(self.word))
        self.word.clear()

    def _add_split(self, text: str) -> None:
        for run in _RUNS.findall(text):
            if run[0] in SPACES:
                self._end_word()
            else:
                self.word.append(run)

    # -- rules -----------------------------------------------------------------------------------------

    def _until(self, stop: str, raw: bool) -> _Rule:
        """Everything up to `stop` ("": the end). A word in progress outside of it is lost, as in BuildKit, where
        a nested word uses the same buffer."""
        raw_outside, self.raw_escapes = self.raw_escapes, raw
        words_outside, self.words = self.words, []
        self.word.clear()
        plain = _plain(self.escape, stop)
        out: list[str] = []
        while char := self._peek():
            if run := self._take(plain):
                self._add_split(run)
                out.append(run)
            elif char == stop:
                self.position += 1
                self.raw_escapes, self.words = raw_outside, words_outside
                self.word.clear()
                return "".join(out)
            elif char in self.specials:
                value = self._simple(char)
                if value is None:
                    value = yield self._variable() if char == "$" else self._double_quoted()
                (self._add_split if char == "$" else self.word.append)(value)
                out.append(value)
            else:
                self._add_escaped(self._next(), out)
        if stop:
            self._fail(f"missing {stop!r}")
        return "".join(out)

    def _add_escaped(self, char: str, out: list[str]) -> None:
        if char != self.escape:  # a quote or brace that means nothing here
            self._add_split(char)
            out.append(char)
            return
        both = (char if self.raw_escapes else "") + self._next()
        self.word.append(both)
        out.append(both)

    def _simple(self, char: str) -> str | None:
        """What begins with `char`, when no word can be nested in it; else None, and nothing is read."""
        if char == "<":
            # `<<` takes the blanks behind it along, so that `<< EOF` is one word.
            return self._take(_HEREDOC)
        if char == "'":
            start = self.position + 1
            end = self.text.find("'", start)
            if end < 0:
                self._fail("a single quote is not closed")
            self.position = end + 1
            return self.text[start - 1: end + 1] if self.raw_quotes else self.text[start:end]
        if char == "$" and not self.text.startswith("{", self.position + 1):
            self.position += 1
            name = self._name()
            value = self._value(name) if name else "$"
            return ("$" + name if self.keep_unset else "") if value is None else value
        return None

    def _double_quoted(self) -> _Rule:
        self.position += 1
        quote = '"' if self.raw_quotes else ""
        plain = _in_quotes(self.escape)
        out = [quote]
        while char := self._peek():
            if run := self._take(plain):
                out.append(run)
            elif char == '"':
                self.position += 1
                out.append(quote)
                return "".join(out)
            elif char == "$":
                value = self._simple(char)
                out.append((yield self._variable()) if value is None else value)
            else:
                self.position += 1
                if self.raw_escapes:
                    out.append(char)
                # Before anything else an escape is a character, so a raw one is there twice, as in BuildKit.
                escapes = self._peek() in ('"', "$", self.escape)
                if self._peek():
                    out.append(self._next() if escapes else char)
        self._fail("a double quote is not closed")

    def _variable(self) -> _Rule:
        """`${…}`."""
        self.position += 2
        if not self._peek():
            self._fail("missing '}'")
        if self._peek() in "{}:":
            self._fail("bad substitution")
        name = self._name()
        form = self._next()
        if not form:
            self._fail("missing '}'")
        if form == "}":
            value = self._value(name)
            if value is None:
                return f"${{{name}}}" if self.keep_unset else ""
            return value
        if form == "/":
            return (yield self._replaced(name))
        return (yield self._modified(name, form))

    def _modified(self, name: str, form: str) -> _Rule:
        """`${name:-word}` and its like; `form` is what stands right behind the name."""
        colon = form == ":"
        if colon:
            form = self._next()
        elif form not in ("+", "-", "?", "#", "%"):
            self._fail(f"unsupported modifier {form!r} in ${{{name}…}}")
        cut = form in ("#", "%")
        if colon and cut:
            self._fail(f"unsupported modifier {':' + form!r} in ${{{name}…}}")
        word = yield self._until("}", cut)
        value = self._value(name)
        if value is None and self.keep_unset:
            return f"${{{name}{':' if colon else ''}{form}{word}}}"
        text = value or ""
        missing = value is None or (colon and not text)
        if form == "-":
            return word if missing else text
        if form == "+":
            return "" if missing else word
        if form == "?":
            if missing:
                self._fail(f"{name}: {word or 'is not allowed to be ' + ('unset' if value is None else 'empty')}")
            return text
        if not cut:
            self._fail(f"unsupported modifier {':' + form!r} in ${{{name}…}}")
        longest = word.startswith(form)
        trim = shellpatterns.trim_prefix if form == "#" else shellpatterns.trim_suffix
        return self._matching(lambda: trim(word[longest:], text, longest=longest))

    def _replaced(self, name: str) -> _Rule:
        every = self._peek() == "/"
        self.position += every
        pattern = yield self._until("/", True)
        replacement = yield self._until("}", True)
        value = self._value(name)
        if value is None and self.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        return self._matching(lambda: shellpatterns.replace(pattern, value or "", replacement, every=every))

    def _matching(self, work: Callable[[], str]) -> str:
        try:
            return work()
        except shellpatterns.BadPattern as error:
            self._fail(str(error))

    def _name(self) -> str:
        """Letters, digits and "_"; or digits alone; or one special parameter; or ""."""
        first = self._peek()
        if first and first in "@*#?-$!":
            return self._next()
        accepted = str.isdecimal if first.isdecimal() else _is_name
        start = self.position
        while accepted(self._peek()):
            self.position += 1
        return self.text[start: self.position]

    def _value(self, name: str) -> str | None:
        value = self.lookup(name)
        if value is None:
            self.unmatched.add(name)
        return value


def _is_name(char: str) -> bool:
    return char == "_" or char.isalpha() or char.isdecimal()


@lru_cache
def _plain(escape: str, stop: str) -> re.Pattern[str]:
    return re.compile("[^$<'\"" + re.escape(escape + stop) + "]+")


@lru_cache
def _in_quotes(escape: str) -> re.Pattern[str]:
    return re.compile('[^"$' + re.escape(escape) + "]+")


def _drive(rule: _Rule) -> str:
    """Run `rule` and every rule it yields, innermost first; a finished rule's value goes to the one that yielded."""
    stack = [rule]
    value: Any = None
    while stack:
        try:
            stack.append(stack[-1].send(value))
            value = None
        except StopIteration as end:
            stack.pop()
            value = end.value
    return str(value)
