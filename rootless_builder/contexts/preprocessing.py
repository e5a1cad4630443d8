"""Build files that are written for the C preprocessor: those whose name ends in .in, as in buildah."""

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import UsageError
from ..events import Emit, Notice
from ..sources.directory import DirectorySource
from ..values import dataclass, field, replace
from .buildfile import BuildFile
from .contexts import Contexts

SUFFIX = ".in"
VARIABLE = "BUILDAH_CPPFLAGS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessor:
    """flags: of --cpp-flag. environ: the user's, for cpp; VARIABLE in it has flags that come before these."""

    flags: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)

    def read(self, contexts: Contexts, file: str | None, ignorefile: str | None, emit: Emit) -> BuildFile:
        """The build file as it is to be parsed. Errors: SourceError, UsageError, IechorfileError."""
        found = contexts.read_build_file(file, ignorefile)
        if not re.sub(r"[?#].*", "", found.name).endswith(SUFFIX):
            return found
        from ..sources.cpp import preprocess

        main = contexts.main()
        made = preprocess(found.text, found.name, flags=(*self._usual(), *self.flags), environ=self.environ,
                          folder=Path(main.path) if isinstance(main, DirectorySource) else None, tmp=contexts.tmp)
        if made.comments:
            emit(Notice(text=f"{found.name}: {made.comments} lines that begin with # are nothing to cpp, and left out"))
        return replace(found, text=made.text, name=f"{found.name} (after cpp)")

    def _usual(self) -> list[str]:
        import shlex

        try:
            return shlex.split(self.environ.get(VARIABLE, ""))
        except ValueError as error:
            raise UsageError(f"cannot read {VARIABLE}: {error}", hint="quote it as a shell would") from None
