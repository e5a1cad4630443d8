"""What the checks have to be told, since a file does not say it: arguments, base images, the ignore file."""

from collections.abc import Callable, Mapping

from ...values import dataclass, field
from ..ignore import IgnorePatterns
from ..instructions import Instruction
from .options import CheckOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """What a base image hands down. platform: "os/architecture[/variant]" it is for; own_shell: it has a SHELL.

    triggers: its ONBUILD instructions, at the place of the FROM.
    """

    env: Mapping[str, str]
    platform: str = ""
    own_shell: bool = False
    triggers: tuple[Instruction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """platform: the one to build for. base: (name of an image, platform or "") → its facts, None where it is not
    known; what depends on it is not checked then. stages: those that are built, None for all of them.

    replaced: what a named context puts in the place of that name: a stage, "" for what is not in the file, None where
    there is no such context. FROM and instructions of a stage that has that name count for nothing.
    is_image: is this the name of an image? platform_parts: "linux/arm64" → ("linux", "arm64"), None for nonsense.
    """

    base: Callable[[str, str], BaseFacts | None]
    is_image: Callable[[str], bool]
    platform_parts: Callable[[str], tuple[str, str] | None]
    platform: str
    platform_args: Mapping[str, str]
    build_args: Mapping[str, str] = field(default_factory=dict)
    ignore: IgnorePatterns | None = None
    options: CheckOptions = field(default_factory=CheckOptions)
    stages: frozenset[int] | None = None
    replaced: Callable[[str], str | None] = lambda name: None
