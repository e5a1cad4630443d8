"""The comment right above a stage or an ARG describes it, when it begins with its name: `# NAME what it is for`."""

from collections.abc import Iterable, Iterator

from ..instructions import Arg, From
from .rules import Finding


def description(comments: Iterable[str], name: str) -> str:
    """What the comments above say about `name`, "" when nothing does."""
    if not name:
        return ""
    return next((comment[len(name) + 1:] for comment in comments if comment.startswith(f"{name} ")), "")


def of_definition(this: "From | Arg") -> Iterator[Finding]:
    """InvalidDefinitionDescription, experimental: most comments are meant otherwise."""
    names = [name for name, _ in this.args] if isinstance(this, Arg) else [this.name] if this.name else []
    if not this.comments or not names or this.comments[-1].split(" ")[0] in names:
        return
    word = "ARG" if isinstance(this, Arg) else "FROM"
    shown = names[0] if len(names) == 1 else "<name of an ARG>"
    yield Finding(rule="InvalidDefinitionDescription", span=this.span,
                  detail=f"The comment above {word} should read `# {shown} <description>`, or stand apart from it")
