"""Where in an iEchorfile something stands. Every instruction and every user error has one."""

from .values import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Lines of a file, 1-based and inclusive; columns are 1-based characters of `line`, 0 when unknown.

    `file` is the name as the user gave it (shown in messages), never resolved.
    """

    file: str
    line: int
    end_line: int
    column: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
