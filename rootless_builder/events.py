"""What a flow tells whoever watches: frozen values, rendered by cli/render.py (terminal, plain, JSON lines)."""

from collections.abc import Callable

from .values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """`number` of `total` within `stage` (its name or index); `text` is the instruction as shown."""

    step: int
    stage: str
    number: int
    total: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCached:
    step: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMissed:
    """`reason` is one sentence: the first input that differs from the last build of this step."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput:
    """Bytes a RUN wrote; `stream` is 1 (stdout) or 2 (stderr)."""

    step: int
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """`seconds` of wall time; `effect` says what changed: "+312 files, 84 MB"."""

    step: int
    seconds: float
    effect: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCancelled:
    """It was stopped because another step failed, whose error is told."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWritten:
    step: int
    diff_id: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A blob on its way: `done` of `total` bytes (total 0 when unknown); `verb` is pulling or pushing."""

    verb: str
    name: str
    digest: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTagged:
    name: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuilt:
    image_id: str
    manifest: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the user should know and need not act on: a fallback, an unused argument. Said once each."""

    text: str
    level: str = "note"  # note | warning


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFound:
    """A build check found something in lines `line` to `end_line`; `source`: the file's lines from `first` on,
    those and a few around them. description: of the rule; detail: of this finding."""

    rule: str
    description: str
    detail: str
    file: str
    line: int
    end_line: int
    first: int
    source: tuple[str, ...]


Event = (StepStarted | StepCached | StepMissed | StepOutput | StepFinished | StepCancelled | LayerWritten
         | Transfer | ImageTagged | ImageBuilt | Notice | CheckFound)
Emit = Callable[[Event], None]


def quiet(event: Event) -> None:
    """The null twin of a renderer."""
