"""What the container runs: CMD, ENTRYPOINT, HEALTHCHECK; and MAINTAINER."""

from collections.abc import Iterator

from ..instructions import Cmd, Entrypoint, HealthCheck, Instruction, Maintainer
from .rules import Finding


def of_form(this: "Cmd | Entrypoint", *, own_shell: bool) -> Iterator[Finding]:
    """JSONArgsRecommended; own_shell: SHELL was given, here or by the base, so that a shell is meant."""
    if this.shell and not own_shell:
        yield Finding(rule="JSONArgsRecommended", span=this.span,
                      detail=f"{this.keyword} should be a JSON array, so that signals reach the program")


def of_repetition(this: "Cmd | Entrypoint | HealthCheck", last: Instruction | None) -> Iterator[Finding]:
    """MultipleInstructionsDisallowed, at the one before: it is the one that counts for nothing."""
    if last is not None:
        yield Finding(rule="MultipleInstructionsDisallowed", span=last.span,
                      detail=f"More than one {this.keyword} in this stage: only the last one counts")


def of_maintainer(this: Maintainer) -> Iterator[Finding]:
    yield Finding(rule="MaintainerDeprecated", span=this.span,
                  detail=f"{this.keyword} is deprecated: write a label, org.opencontainers.image.authors")
