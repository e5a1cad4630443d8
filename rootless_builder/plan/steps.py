"""What will be done, variables gone: fully expanded, hashable values, made by lower.py and done by steps/perform.py.

    Step = RunStep | CopyStep | WorkdirStep | ConfigStep

A step's `image` is the config after it; env, user, cwd and shell stand in the step as values, so that they reach its
cache key. A ConfigStep changes the config alone: no layer, no key.
"""

from collections.abc import Iterator

from ..language.instructions import Device
from ..oci.config import ImageConfig
from ..span import Span
from ..values import dataclass, field
from .mounts import BindMount, CacheMount, StepMount
from .remotes import GitSource, HttpSource

CopySource = str | HttpSource | GitSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a step is told: text to the user, created_by to the image's history. Neither is part of a key."""

    text: str
    created_by: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A heredoc's body under its name (which may have folders in it)."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """env: ("K=V", …) of ENV and of the ARGs in scope; proxies: the same, of predefined ARGs, outside the key.

    script: a heredoc with a shebang, mounted at /dev/pipes/NAME and named in argv. network: default, none or host.
    insecure: with every capability. devices: as asked for; which they are on this host is an input.
    """

    shown: Shown = field(compare=False)
    image: ImageConfig = field(compare=False)
    argv: tuple[str, ...]
    env: tuple[str, ...]
    proxies: tuple[str, ...] = field(default=(), compare=False)
    user: str
    cwd: str
    script: InlineFile | None = None
    network: str = "default"
    insecure: bool = False
    devices: tuple[Device, ...] = ()
    mounts: tuple[StepMount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStep:
    """sources: patterns in `origin`, and remote ones; dest: absolute, with the trailing slash it had.

    origin: None for the build context, a stage's index, or the name of an image or named context.
    mode: 0o0..0o7777 for all that is copied, or a symbolic one (filemode.py); owner: "user[:group]" as the image's own
    passwd and group know them. excludes: patterns of what is left out, relative to each source. parents: the folders
    of a source, from its "/./" on, come along. unpack: local archives among the sources are extracted (ADD).
    link: the layer is made from nothing, so that it depends on no state before it.
    """

    shown: Shown = field(compare=False)
    image: ImageConfig = field(compare=False)
    sources: tuple[CopySource, ...]
    inline: tuple[InlineFile, ...] = ()
    dest: str
    origin: int | str | None = None
    owner: str = ""
    mode: int | str | None = None
    excludes: tuple[str, ...] = ()
    parents: bool = False
    unpack: bool = False
    link: bool = False

    @property
    def patterns(self) -> tuple[str, ...]:
        """The sources in `origin`."""
        return tuple(source for source in self.sources if isinstance(source, str))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkdirStep:
    """Make `path` (absolute) where it is missing, owned by `user` of the image."""

    shown: Shown = field(compare=False)
    image: ImageConfig = field(compare=False)
    path: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigStep:
    shown: Shown = field(compare=False)
    image: ImageConfig = field(compare=False)


Step = RunStep | CopyStep | WorkdirStep | ConfigStep


def origins_of(step: Step) -> Iterator[int | str | None]:
    """Where the step reads besides the state before it: a stage's index, an image or named context, None: the build
    context, or what is fetched."""
    if isinstance(step, CopyStep):
        yield step.origin
    elif isinstance(step, RunStep):
        for mount in step.mounts:
            if isinstance(mount, BindMount) or (isinstance(mount, CacheMount) and mount.origin is not None):
                yield mount.origin
