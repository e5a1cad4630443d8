"""SOURCE_DATE_EPOCH (reproducible-builds.org): the time of a build that is to give the same bytes again.

    --timestamp, --source-date-epoch, --build-arg, $SOURCE_DATE_EPOCH     the command's, in this order
    ARG SOURCE_DATE_EPOCH=… before the first FROM                         the file's
    the value "context": of a git context the commit's time, of an archive by URL its newest file's, else none
"""

from ..contexts.contexts import Contexts, place_of
from ..errors import IechorfileError
from ..plan.remotes import GitSource, HttpSource
from ..plan.stages import StageGraph
from ..values import replace
from .request import EPOCH, BuildRequest

LATEST = 253_402_300_799  # the last second of the year 9999: RFC 3339 has no later one
_SECOND = 1_000_000_000


def seconds(text: str) -> int | None:
    """A time as SOURCE_DATE_EPOCH has it; None where the text is none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else LATEST + 1
    return number if number <= LATEST else None


def with_epoch(request: BuildRequest, graph: StageGraph, contexts: Contexts) -> BuildRequest:
    """The request with the time that counts, which ARG sees as a number too. Errors: IechorfileError."""
    if request.source_date_epoch is not None:
        return request
    text = request.build_args.get(EPOCH, graph.global_args.get(EPOCH, ""))
    if text == "context":
        epoch = _of_context(request.context, contexts)
        text = "" if epoch is None else str(epoch)
        request = replace(request, build_args={**request.build_args, EPOCH: text})
    if text and seconds(text) is None:
        raise IechorfileError(f'cannot use {EPOCH}="{text}": not a number of seconds',
                              hint='write seconds since 1970, or "context" for the time of a git context')
    return replace(request, source_date_epoch=seconds(text)) if text else request


def _of_context(context: str, contexts: Contexts) -> int | None:
    place = place_of(context)
    if isinstance(place, GitSource):
        return contexts.main().tree().root.meta.mtime // _SECOND
    if isinstance(place, HttpSource):
        return max((node.meta.mtime for _, node in contexts.main().tree().walk()), default=0) // _SECOND or None
    return None
