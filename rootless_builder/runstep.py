"""RUN: the one place of a build where the model and a process meet.

    layers ──scratch──▶ root file system ──sandbox──▶ the command runs, its output goes to events and a log
                                  └──────── what it left changed ──────▶ ChangeSet
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import StepFailed
from .events import Emit, Notice, StepOutput
from .plan.steps import RunStep
from .scratch.scratch import Scratch
from .store.images import LayerRef
from .store.store import Store
from .tree.changes import ChangeSet

LAST_LINES = 20
HOSTNAME = "iechor"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How every RUN of this build is run. volumes: "source:target[:ro]"; add_hosts: (name, address)."""

    scratch: Callable[[], Scratch]
    network: str = "host"
    volumes: tuple[str, ...] = ()
    add_hosts: tuple[tuple[str, str], ...] = ()
    fsync: bool = False
    logs: Path | None = None


def run_step(step: RunStep, layers: Sequence[LayerRef], store: Store, settings: RunSettings, *, emit: Emit,
             number: int) -> ChangeSet:
    raise StepFailed("RUN is being built")
