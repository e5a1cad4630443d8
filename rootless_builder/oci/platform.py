"""Platforms: `os/architecture[/variant]` in Go's names, how hosts spell them, and which runs which.

The normal form is containerd's: arm64 has no variant (v8 is meant), arm without one is v7, amd64 v1 has none.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..values import dataclass

if TYPE_CHECKING:
    from .descriptor import Descriptor

_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "i386": ("386", ""), "i486": ("386", ""),
    "i586": ("386", ""), "i686": ("386", ""), "aarch64": ("arm64", ""), "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"), "armv8l": ("arm", "v8"), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"), "mips64el": ("mips64le", ""), "mipsel": ("mipsle", ""),
    "ppc64el": ("ppc64le", ""), "loongarch64": ("loong64", ""),
}
_KNOWN = frozenset({"386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le",
                    "ppc64", "ppc64le", "riscv64", "s390x", "wasm"})


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """`linux/arm64/v8`, `linux/amd64`, or an architecture alone (on linux). Errors: UsageError."""
        parts = text.strip().lower().split("/")
        if not 1 <= len(parts) <= 3 or not all(part and part.isascii() for part in parts):
            raise UsageError(f"cannot use {text!r} as a platform: it is not OS/ARCHITECTURE[/VARIANT]",
                             hint="write it as linux/amd64 or linux/arm64")
        if len(parts) == 1:
            architecture = _ARCHITECTURES.get(parts[0], (parts[0], ""))[0]
            if architecture in _KNOWN:
                return cls("linux", parts[0]).normal()
            if parts[0] == "linux":
                return host_platform()
            raise UsageError(f"cannot use {text!r} as a platform: no such architecture",
                             hint="write it as linux/amd64 or linux/arm64")
        return cls(parts[0], parts[1], "".join(parts[2:])).normal()

    def normal(self) -> "Platform":
        """The one spelling of this platform; os_version and os_features stay."""
        architecture, variant = _ARCHITECTURES.get(self.architecture, (self.architecture, ""))
        variant = self.variant or variant
        if variant and variant[0].isdigit():
            variant = "v" + variant
        if architecture == "arm64" and variant == "v8" or architecture == "amd64" and variant == "v1":
            variant = ""
        elif architecture == "arm" and not variant:
            variant = "v7"
        return Platform("linux" if self.os == "" else self.os, architecture, variant, self.os_version, self.os_features)

    def matches(self, offered: "Platform") -> bool:
        """Whether a machine of this platform runs what was built for `offered`."""
        return _bare(offered) in self.runs()

    def runs(self) -> tuple["Platform", ...]:
        """What a machine of this platform runs, best first: lower variants, then the 32-bit architecture."""
        own = _bare(self)
        chain = [own]
        if own.architecture == "amd64":
            level = int(own.variant[1:]) if own.variant[1:].isdigit() else 1
            chain += [Platform(own.os, "amd64", f"v{n}" if n > 1 else "") for n in range(level - 1, 0, -1)]
            chain.append(Platform(own.os, "386"))
        elif own.architecture == "arm64":
            chain += [Platform(own.os, "arm64")] if own.variant else []
            chain += [Platform(own.os, "arm", f"v{n}") for n in (8, 7, 6, 5)]
        elif own.architecture == "arm":
            level = int(own.variant[1:]) if own.variant[1:].isdigit() else 7
            chain += [Platform(own.os, "arm", f"v{n}") for n in range(level - 1, 4, -1)]
        return tuple(chain)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def _bare(platform: Platform) -> Platform:
    normal = platform.normal()
    return Platform(normal.os, normal.architecture, normal.variant)


def host_platform() -> Platform:
    """This machine, by uname(2)."""
    host = os.uname()
    return Platform(host.sysname.lower(), host.machine.lower()).normal()


def best(manifests: Iterable["Descriptor"], platform: Platform) -> "Descriptor | None":
    """The manifest of an index that `platform` runs best, the first of equals; None when there is none.

    One lonely manifest without a platform is taken as it is (image spec, image-index.md: platform is OPTIONAL).
    """
    offered = list(manifests)
    for wanted in platform.runs():
        for descriptor in offered:
            if descriptor.platform is not None and _bare(descriptor.platform) == wanted:
                return descriptor
    if len(offered) == 1 and offered[0].platform is None:
        return offered[0]
    return None
