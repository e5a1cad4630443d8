"""Options of podman build and buildah that say in other words what is asked for, or ask for what always holds here."""

import argparse
import os
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..values import replace
from .call import Call

if TYPE_CHECKING:
    from ..oci.platform import Platform

ISOLATION = ("default", "oci", "rootless", "chroot")
FORMATS = ("oci", "docker", "v2s1", "v2s2")
OURS = ("fakeroot", "subuid", "host")
NAMESPACES = ("auto", "private", "container")


def add_compatible(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--mount", metavar="type=TYPE,...", action="append", default=[],
                       help="what every RUN sees: type=bind,source=PATH,target=PATH[,ro] of the host, or "
                            "type=tmpfs,target=PATH[,size=SIZE] (repeatable)")
    group.add_argument("--skip-unused-stages", action="store_true", default=True,
                       help="build what the target needs and no more, as is the default; =false: every stage before it")
    group.add_argument("--compat-volumes", action="store_true", default=False,
                       help="what RUN changes below a VOLUME, of this file or its base, is not kept")
    group.add_argument("--http-proxy", action="store_true", default=True,
                       help="RUN has the proxy variables of your environment, which is the default; =false: it has not")
    group.add_argument("--isolation", metavar="TYPE", choices=ISOLATION, default="default",
                       help="for compatibility: there is one kind")
    group.add_argument("--format", metavar="FORMAT", choices=FORMATS, default="oci",
                       help="for compatibility: an OCI image, in which HEALTHCHECK, ONBUILD and SHELL are kept as "
                            "docker keeps them")
    group.add_argument("--group-add", metavar="GROUP", choices=("keep-groups",), action="append", default=[],
                       help="for compatibility: keep-groups, which always holds")
    group.add_argument("--userns", metavar="MODE", choices=(*OURS, *NAMESPACES), default=None,
                       help="who keeps the owners of files: the fakeroot supervisor (fakeroot), the kernel with a "
                            "subordinate id range (subuid) or as real root (host); podman's auto, private and "
                            "container mean the default, which is that of the configuration")


def add_parts_of_platform(group: "argparse._ArgumentGroup") -> None:
    for part, example in (("os", "linux"), ("arch", "arm64"), ("variant", "v8")):
        group.add_argument(f"--{part}", metavar=part.upper(), default=None,
                           help=f"this part of the platform, as {example} (default: this machine's)")


def translated(call: Call) -> tuple[Call, list[str]]:
    """The call in our own words, and what the user should know about it."""
    options, notes = argparse.Namespace(**vars(call.options)), []
    if options.userns == "host" and os.geteuid() != 0:
        notes.append("--userns=host is for root: your own user builds, in the default way")
        options.userns = None
    elif options.userns in NAMESPACES:
        options.userns = None
    if options.isolation == "chroot":
        notes.append("--isolation=chroot: there is one kind of isolation, which needs no privilege")
    if options.format != "oci":
        notes.append(f"--format={options.format}: the image is an OCI image that has docker's fields too "
                     "(HEALTHCHECK, ONBUILD, SHELL); -o type=docker writes an archive for docker")
    return replace(call, options=options), notes


def platform(options: argparse.Namespace) -> "Platform | None":
    """--platform, or --os, --arch and --variant. Errors: UsageError."""
    from ..oci.platform import Platform, host_platform

    parts = (options.os, options.arch, options.variant)
    if options.platform:
        if any(parts):
            raise UsageError("cannot take --platform together with --os, --arch or --variant", hint="write --platform")
        return Platform.parse(options.platform)
    if not any(parts):
        return None
    host = host_platform()
    architecture = options.arch or host.architecture
    variant = options.variant or ("" if options.arch else host.variant)
    return Platform.parse("/".join([options.os or host.os, architecture, *([variant] if variant else [])]))
