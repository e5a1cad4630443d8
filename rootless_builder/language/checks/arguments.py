"""ARG as the checks and the outline see it: its value, where it stands, what its default is made of."""

from collections.abc import Mapping, Sequence

from ...errors import IechorfileError
from ...span import Span
from ...values import dataclass, field
from ..instructions import Arg
from .descriptions import description
from .variables import expanded


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgFact:
    """`parts` are the ARGs its default is made of: who uses it, uses them."""

    name: str
    value: str
    description: str
    span: Span
    parts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GlobalArgs:
    """env: every global ARG with a value, the platform's among them; facts: those that the file declares."""

    env: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, ArgFact] = field(default_factory=dict)

    def known(self) -> dict[str, object]:
        return {**self.facts, **self.env}


def global_args(declared: Sequence[Arg], platform_args: Mapping[str, str], build_args: Mapping[str, str], *,
                escape: str) -> GlobalArgs:
    """ARGs before the first FROM. Raises IechorfileError."""
    env = dict(platform_args)
    facts: dict[str, ArgFact] = {}
    for this in declared:
        for name, default in this.args:
            value, parts = build_args.get(name), frozenset[str]()
            if value is None and default is not None:
                try:
                    used = expanded(default, env, escape=escape)
                except IechorfileError as error:
                    raise error.at(this.span) from None
                value, parts = used.text, frozenset(used.matched)
                if name in parts:  # ARG a=${a}-more: what it was made of before
                    parts = parts - {name} | (facts[name].parts if name in facts else frozenset())
            if value is not None:
                env[name] = value
            facts[name] = ArgFact(name=name, value=value or "", span=this.span, parts=parts,
                                  description=description(this.comments, name))
    return GlobalArgs(env, facts)
