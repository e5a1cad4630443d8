"""Annotations and what they are put on, as BuildKit has it (its docs/annotations.md).

    --output     annotation[-WHERE][[PLATFORM]].KEY=VALUE
    --annotation [WHERE[,WHERE][[PLATFORM]]:]KEY=VALUE

    manifest                   (the default) the image's own manifest
    manifest-descriptor        what points at it, in the image's index or that of a layout or an archive
    index                      the image's own index, which it has then (of one manifest)
    index-descriptor           what points at that, in the index of a layout or an archive
"""

import re

from ..errors import UsageError
from ..language.suggest import nearest
from ..oci.platform import Platform
from ..values import dataclass, field

PLACES = ("manifest", "manifest-descriptor", "index", "index-descriptor")
IN_OUTPUT = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)")
_OPTION = re.compile(r"(?:([a-z,-]+)(?:\[([A-Za-z0-9_/-]+)\])?:)?([^\s=]+)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """key → value, by what they are put on."""

    manifest: dict[str, str] = field(default_factory=dict)
    descriptor: dict[str, str] = field(default_factory=dict)
    index: dict[str, str] = field(default_factory=dict)
    index_descriptor: dict[str, str] = field(default_factory=dict)

    def put(self, where: str, platform: str | None, key: str, value: str, *, built: Platform) -> None:
        """where: one of PLACES, "" for the first; built: the one platform that there is.

        Errors: UsageError.
        """
        where = where or PLACES[0]
        if where not in PLACES:
            near = nearest(where, PLACES)
            raise UsageError(f'cannot annotate the {where} with {key}: there is no such place',
                             hint=f"did you mean {near}?" if near else f"there are {', '.join(PLACES)}")
        if where.startswith("index") and platform is not None:
            raise UsageError(f"cannot annotate the {where} of {platform} with {key}: it is of every platform",
                             hint="leave the platform out")
        if platform is not None and Platform.parse(platform) != built:
            raise UsageError(f"cannot annotate the {where} of {platform} with {key}: {built} is built",
                             hint="leave the annotation out, or build for that platform")
        places = (self.manifest, self.descriptor, self.index, self.index_descriptor)
        places[PLACES.index(where)][key] = value


def annotations_of(texts: list[str], built: Platform) -> Annotations:
    """Every --annotation. Errors: UsageError."""
    found = Annotations()
    for text in texts:
        match = _OPTION.fullmatch(text)
        if match is None:
            raise UsageError(f'cannot use --annotation "{text}": not of the form KEY=VALUE',
                             hint="write --annotation KEY=VALUE or --annotation manifest-descriptor:KEY=VALUE")
        for where in (match[1] or "").split(","):
            found.put(where, match[2], match[3], match[4], built=built)
    return found
