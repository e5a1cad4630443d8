"""`iechor build --output` and the options around it → where the result goes, and what is written about it."""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DiskFull, UnsupportedError, UsageError
from .build_compat import platform
from .call import Call

if TYPE_CHECKING:
    from ..config import Settings
    from ..outputs.annotating import Annotations
    from ..outputs.exporting import Destinations, Warnings
    from ..store.images import Image

FORMATS = ("gzip", "zstd", "none", "uncompressed")


def add_outputs(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "-o", "--output", metavar="DIR|-|type=TYPE[,KEY=VALUE...]", action="append", default=[],
        help="where the result goes (repeatable): a folder for its files, - for a tar of them on standard output, or "
             "a type: local (dest, mode=copy|delete), tar (dest), oci and docker (dest, tar=false, name), image (name, "
             "push, push-by-digest, ...), registry (image with push=true), cacheonly. Without it the image is kept in "
             "the store, see OUTPUTS")
    parser.add_argument("--push", action="store_true", help="also send the image to the registries its names say, as "
                                                            "-o type=registry does")
    parser.add_argument("--load", action="store_true", help="keep the image in the store beside other outputs, as -o "
                                                            "type=docker does")
    add_compression(parser, "of layers in outputs (default: from the configuration, else gzip)")
    parser.add_argument("--force-compression", action="store_true", help="compress the layers of the base so too")
    parser.add_argument("--disable-compression", action="store_true", default=True,
                        help="for compatibility: layers are compressed on their way out only")


def add_compression(parser: "argparse._ActionsContainer", text: str) -> None:
    parser.add_argument("--compression-format", "--compression", choices=FORMATS, default=None, help=text)
    parser.add_argument("--compression-level", metavar="N", type=int, default=None,
                        help="0 to 9 for gzip, 0 to 22 for zstd (default: 2, 3)")


def compression_of(call: Call) -> str | None:
    """What was asked for, as it is called below the command line."""
    asked = call.options.compression_format
    return "none" if asked == "uncompressed" else asked


def annotations(call: Call) -> "Annotations":
    """What --annotation asks for. Errors: UsageError."""
    from ..oci.platform import host_platform
    from ..outputs.annotating import annotations_of

    return annotations_of(call.options.annotation, platform(call.options) or host_platform())


def destinations(call: Call, settings: "Settings", *, indexed: bool) -> "Destinations":
    """Checked, as far as that can be done before anything is built. indexed: see OutputDefaults.

    Errors: UsageError, UnsupportedError.
    """
    from ..oci.reference import Reference
    from ..outputs.exporting import Destinations

    options = call.options
    for path in filter(None, (options.iidfile, options.metadata_file)):
        if not Path(path).absolute().parent.is_dir():
            raise UsageError(f"cannot write {path}: there is no such folder", hint="name a file in one that is there")
    tags = tuple(dict.fromkeys(Reference.parse(name, default_registry=settings.default_registry)
                               for name in options.tag))
    annotated = annotations(call)
    if not (options.output or options.push or options.load):
        if annotated.index or annotated.index_descriptor:
            raise UnsupportedError("cannot annotate the index: images of the store have none",
                                   hint="write one with --push or --output type=oci, or annotate the manifest")
        return Destinations(tags=tags)
    from ..oci.platform import host_platform
    from ..outputs.specs import COMPRESSIONS, OutputDefaults, parse_outputs

    asked = options.compression_format
    found = Destinations(tags=tags, outputs=parse_outputs(options.output, OutputDefaults(
        names=tags, settings=settings, compression=COMPRESSIONS[asked] if asked else None,
        level=options.compression_level, force=options.force_compression,
        platform=platform(options) or host_platform(), annotations=annotated, indexed=indexed,
        keep=(settings.store, settings.scratch, Path(call.environ.get("HOME") or "/"), *context_of(options.context)),
    ), push=options.push, load=options.load))
    found.check(terminal=os.isatty(1))
    return found


def context_of(context: str) -> tuple[Path, ...]:
    """The build context, where it is a folder."""
    return (Path(context),) if Path(context).is_dir() else ()


def write_ids(call: Call, image: "Image", told: Mapping[str, Any] | None = None) -> None:
    """--iidfile, as soon as there is an image; --metadata-file, with what `told` says. Errors: DiskFull."""
    path, text = (call.options.iidfile, str(image.id)) if told is None else \
        (call.options.metadata_file, json.dumps(told, indent=2))
    if path:
        try:
            Path(path).write_text(text)
        except OSError as error:
            raise DiskFull(f"cannot write {path}: {error.strerror}", hint="name another file") from error


def wanted_warnings(call: Call, found: "Warnings") -> dict[str, Any]:
    """What the build checks found, for those who ask for it as they ask docker buildx."""
    wanted = call.environ.get("BUILDX_METADATA_WARNINGS", "").lower() in ("1", "t", "true")
    return {"buildx.build.warnings": found.as_metadata()} if wanted and found.found else {}
