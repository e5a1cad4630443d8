"""What a build looks at and says, noted: if all its steps were in the cache, the next one may say it again (again.py).

Noted is only what is known to count: a build whose options, context or file may lead to something else is none to note.
"""

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..answers.answer import Answer, call_of, path_of, read, told_of, usual_scratch
from ..answers.check import bytes_of, facts_of_code, mode_of
from ..answers.context import Look, look
from ..answers.keep import keep
from ..config import config_paths
from ..contexts.buildfile import ignore_places, local_places
from ..contexts.memory import quiet_before
from ..values import asdict, dataclass
from .call import Call

if TYPE_CHECKING:
    from ..config import Settings
    from ..events import Emit, Event
    from ..store.store import Store

# Options whose words say all about them. Any other one, if it is given, reads or writes something besides.
PLAIN = frozenset({
    "add_host", "annotation", "base", "build_arg", "context", "debug", "file", "format", "http_proxy", "ignorefile",
    "isolation", "jobs", "label", "network", "progress", "quiet", "rewrite_timestamp", "shm_size",
    "skip_unused_stages", "source_date_epoch", "store", "tag", "target", "timestamp", "ulimit", "userns"})
# What a build says that found everything in the cache.
CALM = frozenset({"StepStarted", "StepCached", "StepFinished", "ImageTagged", "ImageBuilt", "Notice", "CheckFound"})
MOST = 1 << 20  # bytes of a file that is noted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What counts besides the store, before the build. ignore: the text of the ignore file, None without one.
    quiet: nanoseconds, see Look.memory."""

    call: tuple[str, bytes]
    files: dict[str, bytes | None]
    ignore: bytes | None
    look: Look
    quiet: int


class Noting:
    """Passes events on."""

    def __init__(self, call: Call, settings: "Settings", emit: "Emit") -> None:
        self._call = call
        self._settings = settings
        self._emit = emit
        self._begun = _begin(call, settings) if _is_plain(call, settings) else None
        self._events: list[Event] = []

    def __call__(self, event: "Event") -> None:
        if self._begun is not None and type(event).__name__ in CALM:
            self._events.append(event)
        elif self._begun is not None:  # a step that runs may say more than memory holds
            self._begun = None
            self._events.clear()
        self._emit(event)

    def keep(self, store: "Store", image: str) -> None:
        """To be called when the store is closed. image: its id, printed where no progress is shown."""
        layout, begun = store.layout, self._begun
        said = tuple((type(event).__name__, asdict(event)) for event in self._events)
        if begun is None or not layout.seen.whole or not CALM.issuperset(name for name, _ in said):
            return
        sizes = {str(path): size for path, size in layout.seen.sizes.items() if size is not None}
        mode, kind = mode_of(str(layout.root)), str(layout.root / "format")
        if mode is None or len(sizes) != len(layout.seen.sizes):
            return
        keep(Answer(
            call=begun.call, code=facts_of_code(_own_code()),
            files={path: told_of(data) for path, data in (
                *begun.files.items(), (kind, bytes_of(kind, MOST)),
                *((str(path), data) for path, data in layout.seen.files.items()))},
            sizes=sizes, context=(self._call.options.context, begun.ignore, begun.look.told),
            memory=begun.look.memory(begun.quiet), scratch=str(self._settings.scratch), store=str(layout.root),
            store_mode=mode, used=tuple(str(path) for path in layout.seen.files if layout.cache in path.parents),
            events=said, progress="quiet" if self._call.is_quiet else self._call.options.progress,
            printed=image if self._call.is_quiet else ""), now=time.time())


def _is_plain(call: Call, settings: "Settings") -> bool:
    options, given = call.options, vars(call.options)
    return (call.argv[:1] == ("build",) and all(
                name in PLAIN or value == options.parser.get_default(name) for name, value in given.items())
            and all("=" in text for text in options.build_arg)
            and str(settings.scratch) == usual_scratch(call.environ) and settings.shared_store is None
            and call.mode(settings).value != "subuid"  # all of it happens in a second life there
            and options.file != "-" and os.path.isdir(options.context))


def _begin(call: Call, settings: "Settings") -> _Begun | None:
    options, folder = call.options, Path(call.options.context)
    try:
        files = {str(path): bytes_of(str(path), MOST) for path in config_paths(call.environ)}
        build_file = _first(local_places(folder, options.file), files)
        text = None if build_file is None else files[str(build_file)]
        # cpp reads what the file includes; another platform's RUN needs what this machine has registered for it
        if build_file is None or text is None or ".in" in build_file.suffixes or b"--platform" in text.lower():
            return None
        named = call_of(call.argv, call.environ, os.getcwd())
        ignore_file = _first(ignore_places(folder, build_file, options.ignorefile), files)
    except OSError:
        return None
    ignore = None if ignore_file is None else files[str(ignore_file)]
    now = time.time_ns()
    before = read(path_of(str(settings.scratch), named))
    found = look(options.context, ignore, before.memory if before is not None else b"")
    quiet = quiet_before(now, folder.absolute())
    return None if found is None else _Begun(call=named, files=files, ignore=ignore, look=found, quiet=quiet)


def _first(paths: Iterable[Path], files: dict[str, bytes | None]) -> Path | None:
    """The first that is there; what was looked at on the way is noted. Errors: OSError."""
    for path in paths:
        files[str(path)] = bytes_of(str(path), MOST)
        if files[str(path)] is not None:
            return path
    return None


def _own_code() -> list[str]:
    package = __name__.partition(".")[0]
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == package]
    return [path for module in modules if (path := getattr(module, "__file__", None)) is not None]
