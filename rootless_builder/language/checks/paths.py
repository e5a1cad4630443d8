"""Paths: WORKDIR, and what COPY and ADD take from the context."""

import posixpath
from collections.abc import Iterator

from ..ignore import IgnorePatterns
from ..instructions import Add, Copy, Workdir
from .rules import Finding


def of_workdir(this: Workdir, path: str, *, set_before: bool) -> Iterator[Finding]:
    """WorkdirRelativePath; `path` is expanded. One that the base image set does not count: it may change."""
    if not set_before and not path.startswith("/"):
        yield Finding(rule="WorkdirRelativePath", span=this.span,
                      detail=f'The relative working directory "{path}" depends on that of the base image')


def of_source(this: "Copy | Add", source: str, ignore: IgnorePatterns | None) -> Iterator[Finding]:
    """CopyIgnoredFile, for one expanded source in the context.

    Nothing is said where the ignore file has exceptions: a folder may be left out and something in it kept.
    """
    if ignore is None or any(pattern.startswith("!") for pattern in ignore.patterns):
        return
    path = posixpath.normpath(source)
    if path.startswith("//"):
        path = path[1:]
    if path in (".", "/"):
        left_out = any(pattern in ("*", "**", "**/*") for pattern in ignore.patterns)
    else:
        left_out = ignore.matches(path)
    if left_out:
        yield Finding(rule="CopyIgnoredFile", span=this.span,
                      detail=f'{this.keyword} of "{path}", which the ignore file leaves out')
