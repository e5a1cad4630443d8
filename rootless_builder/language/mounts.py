"""`RUN --mount=…`: its fields as written, and the mount they mean once variables are expanded.

    type=bind     target|dst|destination  source|src  from  rw|readwrite  ro|readonly
    type=cache    target  id  ro  sharing=shared|private|locked  from  source  mode  uid  gid
    type=tmpfs    target  size
    type=secret   id  target  env  required  mode  uid  gid
    type=ssh      id  target  required  mode  uid  gid

The value is one line of CSV; keys have no case. `from` takes no variables.
"""

from collections.abc import Callable
from typing import TypeVar

from ..errors import IechorfileError
from ..span import Span
from ..values import dataclass
from . import csvline, numbers, suggest
from .characters import lower

_T = TypeVar("_T")
_TYPES = ("bind", "cache", "secret", "ssh", "tmpfs")
_SHARING = ("locked", "private", "shared")
_SWITCHES = ("readonly", "ro", "readwrite", "rw", "required")
# other spellings of a key
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_KEYS = ("type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required", "size", "mode",
         "uid", "gid", "env", *_ALIASES)


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

    @property
    def from_(self) -> str:
        """The stage or image the mount reads from, "" when none: known before anything is expanded."""
        return next((value or "" for key, value in reversed(self.fields) if key == "from"), "")

    def resolve(self, expand: Callable[[str], str], *, span: Span | None = None) -> RunMount:
        """The mount, its values expanded by `expand`. Raises IechorfileError: a key, value or pair of keys that
        the type does not allow."""
        fields = _Fields(self.text)
        try:
            for key, value in self.fields:
                fields.take(key, None if value is None else expand(value))
            return fields.mount()
        except IechorfileError as error:
            raise (error.at(span) if span else error) from None


def parse_mount(text: str) -> MountFlag:
    """`text` is the value of --mount. Raises IechorfileError: no CSV, or a variable in `from`.

    What the values may be is known only once they are expanded, so that is checked by `resolve`.
    """
    try:
        fields = csvline.read(text)
    except ValueError as error:
        raise IechorfileError(f"cannot read --mount={text}: {error}",
                              hint="write key=value pairs with commas between them") from None
    pairs = []
    for field in fields:
        key, equals, value = field.partition("=")
        key = lower(key)
        if key == "from" and "$" in value[:-1]:
            raise IechorfileError(f"cannot read --mount={text}: from takes no variables",
                                  hint="make a stage with FROM, where variables count, and name it here")
        pairs.append((key, value if equals else None))
    return MountFlag(text=text, fields=tuple(pairs))


class _Fields:
    """The fields of one mount, taken in order: `type` decides what later ones mean, as in BuildKit."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.type = "bind"
        self.values: dict[str, str] = {}
        self.readonly: bool | None = None
        self.required = False
        self.size = 0
        self.ids: dict[str, int] = {}

    def take(self, key: str, value: str | None) -> None:
        name = _ALIASES.get(key, key)
        if value is None and key not in _SWITCHES:
            raise self._error(f"{key} has no value", hint=f"write {key}=value")
        text = "true" if value is None else value
        if name == "type":
            self.type = self._one_of(text, _TYPES, "mount type")
        elif name in ("readonly", "readwrite"):
            self.readonly = self._boolean(key, text) is (name == "readonly")
        elif name == "required":
            self._only_for(key, ("secret", "ssh"))
            self.required = self._boolean(key, text)
        elif name == "size":
            self._only_for(key, ("tmpfs",))
            self.size = self._number(key, text, lambda: numbers.size(text))
        elif name == "sharing":
            self.values[name] = self._one_of(text, _SHARING, "kind of sharing")
        elif name in ("mode", "uid", "gid"):
            base = 8 if name == "mode" else 10
            self.ids[name] = self._number(key, text, lambda: numbers.integer(text, bits=32, base=base, signed=False))
        elif name in ("from", "source", "target", "id", "env"):
            self.values[name] = text
        else:
            raise self._error(f"there is no key {key!r}", notes=suggest.notes(key, _KEYS), mark=key,
                              hint="iEchorfile(5) lists the keys of each type")

    def mount(self) -> RunMount:
        value = self.values.get
        for name in self.ids:
            self._only_for(name, ("cache", "secret", "ssh"))
        if self.type == "secret":
            self._check_secret()
        if value("sharing"):
            self._only_for("sharing", ("cache",))
        readonly = self.type not in ("cache", "tmpfs") if self.readonly is None else self.readonly
        return RunMount(
            type=self.type, target=value("target", ""), source=value("source", ""), from_=value("from", ""),
            readonly=readonly, id=value("id", ""), sharing=value("sharing", ""), size=self.size,
            required=self.required, env=value("env"), mode=self.ids.get("mode"), uid=self.ids.get("uid"),
            gid=self.ids.get("gid"))

    def _check_secret(self) -> None:
        value = self.values.get
        if value("from"):
            raise self._error("a secret takes no from", hint="leave from out")
        if not (value("source") or value("target") or value("id")):
            raise self._error("the secret has no name", hint="give it an id")
        if value("source") and value("id"):
            raise self._error("source and id of a secret are the same thing", hint="leave one of them out")

    def _only_for(self, key: str, types: tuple[str, ...]) -> None:
        if self.type not in types:
            raise self._error(f"a {self.type} mount takes no {key}",
                              hint=f"leave it out, or write type={types[0]} before it")

    def _one_of(self, text: str, names: tuple[str, ...], what: str) -> str:
        name = lower(text)
        if name not in names:
            raise self._error(f"there is no {what} {text!r}", notes=suggest.notes(text, names), mark=text,
                              hint=f"take one of {', '.join(names)}")
        return name

    def _boolean(self, key: str, text: str) -> bool:
        return self._number(key, text, lambda: numbers.boolean(text))

    def _number(self, key: str, text: str, read: Callable[[], _T]) -> _T:
        try:
            return read()
        except ValueError as error:
            raise self._error(f"the value of {key} is wrong: {error}", hint=f"give {key} another value") from None

    def _error(self, cause: str, *, hint: str, notes: tuple[str, ...] = (), mark: str = "") -> IechorfileError:
        return IechorfileError(f"cannot mount {self.text}: {cause}", hint=hint, notes=notes, mark=mark or self.text)
