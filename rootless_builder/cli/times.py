"""The options of `iechor build` about time.

    --source-date-epoch, $SOURCE_DATE_EPOCH   the image is of that time; files of new layers are not later
    --rewrite-timestamp=false                 but files keep the times they have
    --timestamp                               the image and every file of its new layers are of that very time
"""

import argparse
from typing import TYPE_CHECKING

from ..errors import UsageError
from .call import Call

if TYPE_CHECKING:
    from ..steps.world import Rewrite

ARG = "SOURCE_DATE_EPOCH"


def add_times(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument("--source-date-epoch", metavar="SECONDS", default=None,
                        help="the image is of this time, and no file in a new layer is later (default: "
                             "$SOURCE_DATE_EPOCH, else now); two builds then give the same bytes")
    parser.add_argument("--rewrite-timestamp", action="store_true", default=True,
                        help="bring times of files down to --source-date-epoch (default); =false leaves them")
    parser.add_argument("--timestamp", metavar="SECONDS", default=None,
                        help="the image and every file in its new layers are of this very time")


def epoch_of(call: Call, build_args: dict[str, str]) -> "tuple[int | None, Rewrite]":
    """Seconds since 1970, None when none are said or only in the file; and what they mean for files. ARG gets them.

    Errors: UsageError.
    """
    options = call.options
    if options.timestamp is not None and options.source_date_epoch is not None:
        raise UsageError("cannot use --timestamp together with --source-date-epoch",
                         hint="--timestamp makes all times the same, --source-date-epoch only brings later ones down")
    text, name = next(((value, name) for name, value in (
        ("--timestamp", options.timestamp), ("--source-date-epoch", options.source_date_epoch),
        (ARG, build_args.get(ARG)), (ARG, call.environ.get(ARG))) if value is not None), ("", ""))
    passed = options.source_date_epoch or call.environ.get(ARG)  # as docker does it, and podman
    if passed:
        build_args.setdefault(ARG, passed)
    rewrite: Rewrite = "force" if options.timestamp is not None else "clamp" if options.rewrite_timestamp else "keep"
    if text == "" or (text == "context" and name == ARG):
        return None, rewrite
    from ..building.epochs import seconds

    found = seconds(text)
    if found is None:
        raise UsageError(f'cannot use {name}="{text}": not a number of seconds',
                         hint=f"set it to seconds since 1970, or {'unset it' if name == ARG else 'leave it out'}")
    return found, rewrite

