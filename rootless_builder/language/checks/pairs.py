"""Keys and values: LABEL, ENV, ARG."""

import re
from collections.abc import Iterator

from ...span import Span
from ..instructions import Env, Label
from .rules import Finding

_SECRET = re.compile(r"(?i)(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)")
_HARMLESS = re.compile(r"(?i)(?:_|^)(?:public|file|version)(?:_|$)")


def of_legacy(this: "Env | Label") -> Iterator[Finding]:
    if this.legacy:
        word = this.keyword
        yield Finding(rule="LegacyKeyValueFormat", span=this.span,
                      detail=f'"{word} key=value" should be written instead of "{word} key value"')


def of_secret(word: str, name: str, span: Span) -> Iterator[Finding]:
    """SecretsUsedInArgOrEnv: by the words in the variable's name alone; `word` is ARG or ENV."""
    if names_a_secret(name):
        yield Finding(rule="SecretsUsedInArgOrEnv", span=span,
                      detail=f'A secret is not safe in ARG or ENV: everyone who has the image can read it '
                             f'({word} "{name}")')


def names_a_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret, by the words in it."""
    return bool(_SECRET.search(name)) and not _HARMLESS.search(name)
