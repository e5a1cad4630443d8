"""One file that was fetched, as a context of its own: what BuildKit makes of a URL that is no archive."""

from collections.abc import Iterable
from typing import Self

from ..paths import ImagePath
from ..tree.node import Directory, File
from ..tree.tree import IMPLIED, Tree
from .selection import anywhere, selection_digest

NAME = "context"  # of the file, as in BuildKit


class FetchedSource:
    """The file's content has to stay readable for as long as this is used. file: None for a context without any."""

    def __init__(self, file: File | None) -> None:
        self._tree = Tree(Directory(IMPLIED, {NAME: file} if file is not None else {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def tree(self) -> Tree:
        return self._tree

    def digest(self, found: Iterable[tuple[ImagePath, ImagePath]], part: Tree | None = None) -> str:
        """See selection.selection_digest."""
        return selection_digest(part or self._tree, anywhere, found)
