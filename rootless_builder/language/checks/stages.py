"""FROM: names of stages, base images, platforms."""

from collections.abc import Callable, Iterator, Sequence

from ..instructions import From
from .rules import Finding
from .variables import Expanded

RESERVED = ("context", "scratch")


def of_names(stages: Sequence[From]) -> Iterator[Finding]:
    """ReservedStageName, DuplicateStageName (at the second and later ones)."""
    seen = set[str]()
    for this in stages:
        if this.name in RESERVED:
            yield Finding(rule="ReservedStageName", span=this.span,
                          detail=f'The name "{this.name}" means something else already')
        if this.name and this.name in seen:
            yield Finding(rule="DuplicateStageName", span=this.span,
                          detail=f'There is another stage of the name "{this.name}"')
        seen.add(this.name)


def of_default_base(this: From, base: str, is_image: Callable[[str], bool]) -> Iterator[Finding]:
    """InvalidDefaultArgInFrom; `base` is what FROM names when no --build-arg is given."""
    if not is_image(base):
        yield Finding(rule="InvalidDefaultArgInFrom", span=this.span,
                      detail=f"Without --build-arg, {this.image} is empty or no name of an image")


def of_platform(this: From, platform: Expanded, target: str,
                parts: Callable[[str], tuple[str, str] | None]) -> Iterator[Finding]:
    """RedundantTargetPlatform, FromPlatformFlagConstDisallowed; parts: text → (os, architecture), None for no platform.

    A stage whose name tells the platform is made for it, and may say so.
    """
    if platform.matched == ("TARGETPLATFORM",) and not platform.unmatched and platform.text == target:
        yield Finding(rule="RedundantTargetPlatform", span=this.span,
                      detail=f"--platform={this.platform} is redundant, it is what FROM takes anyway")
    if platform.matched or platform.unmatched:
        return
    found = parts(platform.text)
    if found is not None and not any(part in this.name for part in found):
        yield Finding(rule="FromPlatformFlagConstDisallowed", span=this.span,
                      detail=f'--platform should not be the constant "{platform.text}"')


def of_base_platform(this: From, name: str, actual: str, wanted: str,
                     parts: Callable[[str], tuple[str, str] | None]) -> Iterator[Finding]:
    """InvalidBaseImagePlatform; the platforms as os/architecture[/variant], of which the variant does not count."""
    if parts(actual) != parts(wanted):
        yield Finding(rule="InvalidBaseImagePlatform", span=this.span,
                      detail=f'The base image {name} is for "{actual}", and this build for "{wanted}"')
