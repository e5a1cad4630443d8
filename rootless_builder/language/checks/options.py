"""Which rules count: `# check=skip=A,B;experimental=C;error=true`, at the top of the file or above an instruction.

    options = option { ";" option }            at most three of them
    option  = "skip=" rules | "experimental=" rules | "error=" boolean
    rules   = "all" | name { "," name }

The directive holds for the file, BUILDKIT_DOCKERFILE_CHECK of --build-arg stands in for it, and what a comment
above an instruction says is added for that instruction alone.
"""

import re
from collections.abc import Iterable, Mapping

from ...errors import IechorfileError
from ...values import dataclass, replace
from .. import numbers
from ..instructions import Script
from .rules import ALL_RULES

ALL = "all"
BUILD_ARG = "BUILDKIT_DOCKERFILE_CHECK"
_CHECK = re.compile(r"[ \t]*check[ \t]*=[ \t]*([^ ]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """`skip` and `experimental` are names of rules, ALL among them for every one; error: findings end the build."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    @classmethod
    def parse(cls, text: str) -> "CheckOptions":
        """Unknown names of rules are no error, as in BuildKit: a later version has them. Raises IechorfileError."""
        options = cls()
        for part in text.strip().split(";", 2) if text.strip() else ():
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or key not in ("skip", "experimental", "error"):
                raise _unreadable(text, f"there is no option {key!r}")
            if key == "error":
                try:
                    options = replace(options, error=numbers.boolean(value))
                except ValueError as error:
                    raise _unreadable(text, f"the value of error is wrong: {error}") from None
            else:
                names = frozenset(name.strip() for name in value.split(","))
                options = replace(options, skip=names) if key == "skip" else replace(options, experimental=names)
        return options

    @classmethod
    def of(cls, script: Script, build_args: Mapping[str, str]) -> "CheckOptions":
        """What holds for the whole file. Raises IechorfileError."""
        given = build_args.get(BUILD_ARG)
        if given is not None:
            return cls.parse(given)
        directive = script.directives.check
        if directive is None:
            return cls()
        try:
            return cls.parse(directive.value.partition(" ")[0])
        except IechorfileError as error:
            raise error.at(directive.span) from None

    def under(self, comments: Iterable[str]) -> "CheckOptions":
        """The options for the instruction below `comments`: the first `check=` among them is added, a wrong one not."""
        for comment in comments:
            if match := _CHECK.match(comment):
                try:
                    more = CheckOptions.parse(match[1])
                except IechorfileError:
                    return self
                return replace(self, skip=self.skip | more.skip, experimental=self.experimental | more.experimental)
        return self

    def allow(self, rule: str) -> bool:
        if ALL_RULES[rule].experimental:
            return bool(self.experimental & {rule, ALL})
        return not self.skip & {rule, ALL}


def _unreadable(text: str, cause: str) -> IechorfileError:
    return IechorfileError(f"cannot read the check options {text!r}: {cause}",
                           hint="write skip=RULE,RULE or skip=all, experimental=…, error=true, with ; between them")
