"""`RUN --mount=…`: its fields as written, and the mount they mean once variables are expanded.

    type=bind     target|dst|destination  source|src  from  rw|readwrite  ro|readonly
    type=cache    target  id  ro  sharing=shared|private|locked  from  source  mode  uid  gid
    type=tmpfs    target  size
    type=secret   id  target  env  required  mode  uid  gid
    type=ssh      id  target  required  mode  uid  gid

The value is one line of CSV; keys have no case. `from` takes no variables.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import IechorfileError
from ..span import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """A mount of one RUN, as BuildKit types it.

    `readonly` has its default of the type filled in. `size` in bytes (tmpfs). `env` is None unless given;
    "" means the secret's own id. `mode`, `uid` and `gid` are None unless given.
    """

    type: str  # bind | cache | tmpfs | secret | ssh
    target: str = ""
    source: str = ""
    from_: str = ""
    readonly: bool = True
    id: str = ""
    sharing: str = ""  # "" | shared | private | locked
    size: int = 0
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFlag:
    """`text` as written, split into (key, value) fields; keys in lower case, value None without "="."""

    text: str
    fields: tuple[tuple[str, str | None], ...]
    span: Span

    @property
    def from_(self) -> str:
        """The stage or image the mount reads from, "" when none: known before anything is expanded."""
        return next((value or "" for key, value in reversed(self.fields) if key == "from"), "")

    def resolve(self, expand: Callable[[str], str]) -> RunMount:
        """The mount, its values expanded by `expand`. Raises IechorfileError."""
        raise NotImplementedError
