"""Variables while the checks walk a stage: what a word becomes, which names it used, which there were not."""

from collections.abc import Iterator, Mapping

from ...span import Span
from ...values import dataclass
from .. import suggest
from ..words import WordLexer
from .rules import Finding

# ARGs that BuildKit reads for itself and shows to nobody.
_NOT_SHOWN = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
_MOST_NAMES = 200  # to look for the nearest of: each use would be compared with each of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """`text` as one word; `words` split at blanks; the names it used that are set, and those that are not."""

    text: str
    words: tuple[str, ...]
    matched: tuple[str, ...]
    unmatched: tuple[str, ...]


def expanded(text: str, env: Mapping[str, str], *, escape: str, raw: bool = False) -> Expanded:
    """raw: the content of a heredoc. Raises IechorfileError."""
    matched: dict[str, None] = {}

    def lookup(name: str) -> str | None:
        value = env.get(name)
        if value is not None:
            matched[name] = None
        return value

    lexer = WordLexer(text, lookup, quotes=False) if raw else WordLexer(text, lookup, escape=escape)
    result = lexer.run()
    return Expanded(text=result, words=tuple(lexer.words), matched=tuple(matched),
                    unmatched=tuple(sorted(lexer.unmatched)))


def of_unmatched(used: Expanded, env: Mapping[str, str], declared: frozenset[str], span: Span) -> Iterator[Finding]:
    """UndefinedVar; an ARG without a value is `declared`, and empty because its author wants it so."""
    for name in used.unmatched:
        if name not in declared and name not in _NOT_SHOWN:
            yield Finding(rule="UndefinedVar", span=span,
                          detail=f"The variable '${name}' is not defined{_near(name, env, '$')}")


def of_unmatched_in_from(used: Expanded, known: Mapping[str, object], span: Span) -> Iterator[Finding]:
    """UndefinedArgInFrom; `known` are the global ARGs, those without a value among them."""
    for name in used.unmatched:
        if name not in known:
            yield Finding(rule="UndefinedArgInFrom", span=span,
                          detail=f"FROM uses the ARG '{name}', which is not declared{_near(name, known, '')}")


def _near(name: str, names: Mapping[str, object], sign: str) -> str:
    near = suggest.nearest(name, names) if len(names) <= _MOST_NAMES else None
    return f" (did you mean {sign}{near}?)" if near else ""
