"""Upper and lower case: of stage names, of AS, of instructions."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ..instructions import From, Instruction
from .rules import Finding


def of_from(this: From) -> Iterator[Finding]:
    """StageNameCasing, FromAsCasing. A FROM of mixed case is ConsistentInstructionCasing's, and AS has to wait."""
    if this.as_written is None:
        return
    word, name = this.as_written
    if name != name.lower():
        yield Finding(rule="StageNameCasing", span=this.span, detail=f"Stage name '{name}' should be lower case")
    cases = [case for case in (str.lower, str.upper) if case(this.keyword) == this.keyword]
    if cases and cases[0](word) != word:
        yield Finding(rule="FromAsCasing", span=this.span,
                      detail=f"'{word}' should have the same case as '{this.keyword}'")


def of_keywords(staged: Sequence[Instruction]) -> Iterator[Finding]:
    """ConsistentInstructionCasing, for everything from the first FROM on: most of them decide, a draw is upper case."""
    votes = Counter("lower" if one.keyword.islower() else "upper" for one in staged
                    if one.keyword in (one.keyword.lower(), one.keyword.upper()))
    case = "lower" if votes["lower"] > votes["upper"] else "upper"
    for one in staged:
        if one.keyword != (one.keyword.lower() if case == "lower" else one.keyword.upper()):
            yield Finding(rule="ConsistentInstructionCasing", span=one.span,
                          detail=f"Instruction '{one.keyword}' should be {case} case, as most of this file are")
