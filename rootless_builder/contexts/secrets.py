"""What a build may use and never keep: the secrets that --secret gives."""

from pathlib import Path

from ..errors import SourceError
from ..values import dataclass

SECRET_LIMIT = 500 << 10  # bytes, BuildKit's


@dataclass(frozen=True, slots=True)
class Secret:
    """What --secret gives: a file of the host, or a value."""

    path: Path | None = None
    value: bytes = b""

    def read(self, name: str) -> bytes:
        """Errors: SourceError."""
        if self.path is None:
            return self.value
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise SourceError(f"cannot read the secret {name} from {self.path}: {error.strerror}") from error
        if len(data) > SECRET_LIMIT:
            raise SourceError(f"cannot use the secret {name}: {self.path} is longer than {SECRET_LIMIT} bytes")
        return data
