"""The checks of what a build did, made possible because every step's changes are known (docs/checks.md).

    step run   ─▶ its changes ─▶ findings ─▶ the step's record, as text (FACT)
    step found ─▶ the record  ─▶ the same findings: a build that runs nothing says them again
    any step   ─▶ its line of the history

They are told with the other checks, at the end, and count as they do: skip=, error=true.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import IechorError
from ..language.checks.pairs import names_a_secret
from ..language.checks.rules import EFFECT_RULES, Finding
from ..plan.steps import CopyStep, RunStep, Step
from ..store.buildcache import StepRecord
from ..tree.changes import ChangeSet
from ..tree.tree import Tree
from .secretscan import SHORTEST, Known, in_files, in_text

if TYPE_CHECKING:
    from ..contexts.secrets import Secret

FACT = "findings"
LONGEST = 600  # letters of one finding


class Effects:
    """What one build found; threads share it. secrets and build_args: what was given, to be recognised again."""

    def __init__(self, secrets: "Mapping[str, Secret]", build_args: Mapping[str, str]) -> None:
        self._found: dict[Finding, None] = {}
        self._lock = threading.Lock()
        self._given = tuple(_given(secrets, build_args))

    def given(self) -> list[bytes]:
        """The values that are looked for."""
        return [one.value for one in self._given]

    def facts(self, step: Step, changes: ChangeSet, below: Callable[[], Tree]) -> dict[str, str]:
        """For the record of a step that was just run; contents of `changes` are read. below: the tree before it, asked
        for only where it is needed.
        """
        found = [{"rule": rule, "detail": detail[:LONGEST]}
                 for rule, detail in _of_changes(step, changes, below, self._given) if detail]
        return {FACT: json.dumps(found)} if found else {}

    def note(self, step: Step, record: StepRecord | None = None) -> None:
        """A step of this build, run or found; None: it only changes the config."""
        span = step.shown.span
        found = [Finding(rule=rule, detail=detail, span=span) for rule, detail in _recorded(record)]
        told = in_text(step.shown.created_by, self._given)
        if told is not None:
            found.append(Finding(rule="SecretInHistory", detail=f"The history of the image shows {told}", span=span))
        with self._lock:
            self._found.update(dict.fromkeys(found))

    def found(self) -> tuple[Finding, ...]:
        with self._lock:
            return tuple(self._found)


def _of_changes(step: Step, changes: ChangeSet, below: Callable[[], Tree],
                given: Sequence[Known]) -> Iterator[tuple[str, str | None]]:
    from .rules import deleted, files_of, listed, package_caches, set_ids, shown, unreadable

    files = files_of(changes)
    yield "PackageCacheInLayer", package_caches(files)
    yield "SetIdAdded", set_ids(changes, below)
    if isinstance(step, RunStep):
        yield "UnreadableToOthers", unreadable(changes, copied=False)
    elif isinstance(step, CopyStep) and not step.owner and step.mode is None and step.origin is None:
        yield "UnreadableToOthers", unreadable(changes, copied=True)
    yield "DeletedFromLowerLayer", deleted(changes, below)
    secrets = [f"{what} in {shown(path)}" for path, what in in_files(files, given)]
    yield "SecretInLayer", f"The layer holds {listed(secrets)}" if secrets else None


def _recorded(record: StepRecord | None) -> Iterator[tuple[str, str]]:
    """Of a record that may have been written by others: what is not as we write it is passed over."""
    try:
        entries = json.loads(record.facts.get(FACT, "[]")) if record is not None else []
        for entry in entries:
            rule, detail = entry["rule"], entry["detail"]
            if rule in EFFECT_RULES and isinstance(detail, str) and detail.isprintable():
                yield rule, detail[:LONGEST]
    except (ValueError, TypeError, KeyError, RecursionError):
        return


def _given(secrets: "Mapping[str, Secret]", build_args: Mapping[str, str]) -> Iterator[Known]:
    if not secrets and not build_args:
        return
    from .rules import shown

    for name, secret in secrets.items():
        try:
            value = secret.read(name).strip()
        except IechorError:
            continue  # the step that wants it says so
        if len(value) >= SHORTEST:
            yield Known(f"the value of the secret {shown(name)[1:]}", value)
    for name, text in build_args.items():
        value = text.encode("utf-8", "surrogateescape").strip()
        if len(value) >= SHORTEST and names_a_secret(name):
            yield Known(f"the value of --build-arg {shown(name)[1:]}", value)
