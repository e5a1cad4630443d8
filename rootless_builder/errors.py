"""Every error a user can meet. The class decides the exit code; docs/exit-codes.md and iechor(1) list them.

    IechorError                 1   (a bug of ours, or nothing finer below)
    ├── UsageError              2   the command line
    ├── ConfigFileError         2   config.toml, credential files
    ├── IechorfileError         3   text that does not parse, or a value no instruction accepts
    ├── UnsupportedError        4   it parses, and this release does not carry it out
    ├── SourceError             5   a COPY/ADD source, a build context, a named context
    ├── StepFailed              6   a RUN that ended with a code other than 0
    ├── ImageNotFound           7   no such image, stage or manifest, here or in the registry
    ├── RegistryError           8   the registry is down, slow, or answers nonsense
    ├── AuthError               9   the registry refuses our credentials
    ├── NamespaceError         10   this host forbids what RUN and run need
    ├── SandboxError           11   the sandbox could be made, and something in it failed
    ├── OwnershipError         12   owners would be lost, and the user did not allow it
    ├── DiskFull               13   ENOSPC or EDQUOT
    ├── StoreError             14   the store is damaged, unwritable or of a later format
    ├── UnsafeArchive          15   a tar, manifest or blob that lies or tries to escape
    ├── ContainerError         16   no such container, or in the wrong state
    └── Interrupted       130, 143  SIGINT, SIGTERM

`iechor run` and `iechor exec` answer 125 for every one of these (126, 127: the command could not be
started), because there the other codes belong to the application, as podman-run(1) has it.
"""

from .span import Span


class IechorError(Exception):
    """What went wrong, as one sentence of intent and cause: "cannot pull debian:12: connection refused".

    hint: the remedy, one imperative sentence. span: where in the iEchorfile. notes: further lines, printed
    after the message as they are (the last lines of a failed step, "did you mean"). source: the text that the span
    is in, where whoever raised it has it. mark: the word of that text which is to blame, as it is written there.
    """

    exit_code = 1
    source: str | None = None

    def __init__(self, message: str, *, hint: str | None = None, span: Span | None = None,
                 notes: tuple[str, ...] = (), mark: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.span = span
        self.notes = notes
        self.mark = mark

    def at(self, span: Span) -> "IechorError":
        """The same error, pointing at `span` unless it points somewhere already."""
        if self.span is None:
            self.span = span
        return self


class UsageError(IechorError):
    exit_code = 2


class ConfigFileError(IechorError):
    exit_code = 2


class IechorfileError(IechorError):
    exit_code = 3


class UnsupportedError(IechorError):
    exit_code = 4


class SourceError(IechorError):
    exit_code = 5


class StepFailed(IechorError):
    exit_code = 6


class ImageNotFound(IechorError):
    exit_code = 7


class RegistryError(IechorError):
    exit_code = 8


class AuthError(IechorError):
    exit_code = 9


class NamespaceError(IechorError):
    exit_code = 10


class SandboxError(IechorError):
    exit_code = 11


class OwnershipError(IechorError):
    exit_code = 12


class DiskFull(IechorError):
    exit_code = 13


class StoreError(IechorError):
    exit_code = 14


class UnsafeArchive(IechorError):
    exit_code = 15


class ContainerError(IechorError):
    exit_code = 16


class Interrupted(IechorError):
    """A signal ended us: exit code 128 + signal."""

    def __init__(self, signal: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal
