"""A build that has nothing to do: what it said the last time is said again, and nothing of a build is imported."""

import contextlib
import os
import sys
import time
from collections.abc import Sequence

from ..answers.answer import Answer, call_of, path_of, read, usual_scratch
from ..answers.check import holds


def again(words: Sequence[str]) -> int | None:
    """The exit code; None where it has to be built. words: what follows "iechor"."""
    try:
        call = call_of(words, os.environ, os.getcwd())
    except OSError:
        return None
    answer = read(path_of(usual_scratch(os.environ), call))
    if answer is None or not holds(answer, call):
        return None
    _say(answer)
    for path in answer.used:
        with contextlib.suppress(OSError):
            os.utime(path)  # last use, for prune
    return 0


def _say(answer: Answer) -> None:
    """The events of that build, with the times of this one."""
    from .. import events
    from .render import showing

    began = time.monotonic()
    with showing(answer.progress, sys.stderr, os.environ) as emit:
        for name, fields in answer.events:
            if "seconds" in fields:
                fields = {**fields, "seconds": time.monotonic() - began}
            emit(getattr(events, name)(**fields))
    if answer.printed:
        print(answer.printed, flush=True)
