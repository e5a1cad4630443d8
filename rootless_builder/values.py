"""Values as `dataclasses` has them, for a tenth of the cost of import: what every command would pay, used or not.

`dataclasses.dataclass` compiles six functions for each class. Here `__init__` is compiled when the first value is made,
and the others are closures. Fields, order, keyword-only, frozen and slots mean what they mean there, and its
functions (`asdict`, `fields`, `replace`) work on these classes: what they look for is made when they look.
"""

from __future__ import annotations  # typing alone would cost as much as all that is below

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
else:
    def dataclass_transform(**_):
        return lambda decorator: decorator


class _Missing:
    __slots__ = ()


MISSING = _Missing()


class Field:
    """One field: what `field()` was told, and under which name."""

    __slots__ = ("compare", "default", "default_factory", "hash", "kw_only", "name", "repr", "type")

    def __init__(self, default: Any, default_factory: Any, *, compare: bool, hash: bool | None, repr: bool) -> None:
        self.name = ""
        self.type: Any = None
        self.default = default
        self.default_factory = default_factory
        self.compare = compare
        self.hash = compare if hash is None else hash
        self.repr = repr
        self.kw_only = False


def field(*, default: Any = MISSING, default_factory: Any = MISSING, compare: bool = True, hash: bool | None = None,
          repr: bool = True) -> Any:
    return Field(default, default_factory, compare=compare, hash=hash, repr=repr)


@dataclass_transform(field_specifiers=(field,))
def dataclass(*, frozen: bool = False, slots: bool = False, kw_only: bool = False, eq: bool = True,
              order: bool = False) -> Callable[[type[T]], type[T]]:
    """The decorator; always called."""
    def made(cls: type[T]) -> type[T]:
        found, members = _fields(cls, kw_only)
        if slots:
            inherited = {name for base in cls.__mro__[1:] for name in getattr(base, "__slots__", ())}
            members["__slots__"] = tuple(name for name in found if name not in inherited)
            members["__qualname__"] = cls.__qualname__
            meta: Any = type(cls)
            cls = meta(cls.__name__, cls.__bases__, members)
        for name, value in _methods(cls, found, frozen=frozen, eq=eq, order=order).items():
            setattr(cls, name, value)
        if frozen and slots:
            cls.__getstate__, cls.__setstate__ = _state, _set_state  # type: ignore[method-assign,attr-defined]
        _lazy_init(cls, found, frozen=frozen)
        return cls

    return made


def fields(value: Any) -> tuple[Field, ...]:
    """Of a value or a class made by `dataclass`, in order."""
    return tuple(value.__value_fields__.values())


def is_dataclass(value: Any) -> bool:
    return hasattr(value, "__value_fields__") or hasattr(value, "__dataclass_fields__")


def asdict(value: Any) -> dict[str, Any]:
    """The fields by name, values in them likewise."""
    return {name: _plain(getattr(value, name)) for name in value.__value_fields__}


def _plain(value: Any) -> Any:
    if hasattr(value, "__value_fields__"):
        return asdict(value)
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def replace(value: T, /, **changes: Any) -> T:
    """A copy with these fields changed."""
    known: dict[str, Field] = value.__value_fields__  # type: ignore[attr-defined]
    for name in known:
        if name not in changes:
            changes[name] = getattr(value, name)
    return type(value)(**changes)


def prepare(cls: type) -> None:
    """Compiles `__init__` now, for what is forked from here."""
    cls.__init__ = _init(cls, cls.__value_fields__, frozen="__setattr__" in cls.__dict__)  # type: ignore[misc,attr-defined]


def _fields(cls: type, kw_only: bool) -> tuple[dict[str, Field], dict[str, Any]]:
    """(all fields, those of bases first; the class's own members without the fields' defaults)."""
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        found.update(base.__dict__.get("__value_fields__", {}))
    members = dict(cls.__dict__)
    members.pop("__dict__", None)
    members.pop("__weakref__", None)
    for name, kind in members.get("__annotations__", {}).items():
        default = members.pop(name, MISSING)
        one = default if isinstance(default, Field) else Field(default, MISSING, compare=True, hash=None, repr=True)
        one.name, one.type, one.kw_only = name, kind, kw_only
        found[name] = one
        if isinstance(default, Field) and name in cls.__dict__:
            delattr(cls, name)
    return found, members


def _methods(cls: type, found: dict[str, Field], *, frozen: bool, eq: bool, order: bool) -> dict[str, Any]:
    """What the class gets, but for what it defines itself."""
    given: dict[str, Any] = {"__repr__": _repr}
    if eq:
        compared = _getter([name for name, one in found.items() if one.compare])
        given["__eq__"] = _comparison(compared, "__eq__")
        if order:
            given |= {name: _comparison(compared, name) for name in ("__lt__", "__le__", "__gt__", "__ge__")}
        if frozen:
            hashed = _getter([name for name, one in found.items() if one.hash])
            given["__hash__"] = lambda self: hash(hashed(self))
        else:
            given["__hash__"] = None
    own = cls.__dict__
    # A class that has __eq__ has a __hash__ of None that it did not write.
    kept = {name: value for name, value in given.items()
            if name not in own or (name == "__hash__" and own[name] is None and "__eq__" not in own)}
    if frozen:
        kept |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
    kept["__value_fields__"] = found
    kept["__dataclass_fields__"] = _StandardFields()
    kept["__match_args__"] = tuple(name for name, one in found.items() if not one.kw_only)
    return kept


def _getter(names: list[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda value: ()


def _comparison(get: Callable[[Any], Any], name: str) -> Callable[[Any, Any], Any]:
    """Of two of one class; `get` gives what counts of each."""
    def compare(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        mine, theirs = get(self), get(other)
        if name == "__eq__":
            return mine is theirs or mine == theirs
        return getattr((mine,), name)((theirs,))

    compare.__name__ = name
    return compare


def _lazy_init(cls: type, found: dict[str, Field], *, frozen: bool) -> None:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__ = _init(cls, found, frozen=frozen)  # type: ignore[misc]
        cls.__init__(self, *args, **kwargs)  # type: ignore[misc]

    cls.__init__ = __init__  # type: ignore[misc]


def _init(cls: type, found: dict[str, Field], *, frozen: bool) -> Callable[..., None]:
    """`__init__`, compiled. A frozen value with slots is filled through the slots, which is quicker than setattr."""
    scope: dict[str, Any] = {"_missing": MISSING, "_set": object.__setattr__}
    by_place: list[str] = []
    by_name: list[str] = []
    body: list[str] = []
    for name, one in found.items():
        given = ""
        value = name
        if one.default is not MISSING:
            scope[f"_d_{name}"] = one.default
            given = f"=_d_{name}"
        elif one.default_factory is not MISSING:
            scope[f"_f_{name}"] = one.default_factory
            given, value = "=_missing", f"_f_{name}() if {name} is _missing else {name}"
        (by_name if one.kw_only else by_place).append(name + given)
        if not frozen:
            body.append(f"self.{name} = {value}")
        elif hasattr(cls, name) and hasattr(getattr(cls, name), "__set__"):
            scope[f"_s_{name}"] = getattr(cls, name).__set__
            body.append(f"_s_{name}(self, {value})")
        else:
            body.append(f"_set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join(["self", *by_place, *(["*", *by_name] if by_name else [])])
    lines = "".join(f" {line}\n" for line in body or ["pass"])
    # Names and places alone: no value ever becomes text.
    exec(f"def __init__({parameters}):\n{lines}", scope)  # noqa: S102
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name, one in self.__value_fields__.items() if one.repr)
    return f"{type(self).__qualname__}({shown})"


def _refuse_set(self: Any, name: str, value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__value_fields__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__value_fields__, state, strict=True):
        object.__setattr__(self, name, value)


class _StandardFields:
    """`__dataclass_fields__` as the standard module makes it, when that module is asked about one of our classes."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[str, Any] | None = None

    def __get__(self, value: object, cls: Any) -> dict[str, Any]:
        import dataclasses

        if self._made is None:
            self._made = {}
            for name, one in cls.__value_fields__.items():
                told: dict[str, Any] = {"default": one.default} if one.default is not MISSING else {}
                if one.default_factory is not MISSING:
                    told = {"default_factory": one.default_factory}
                made: Any = dataclasses.field(compare=one.compare, repr=one.repr, kw_only=one.kw_only, **told)
                made.name, made.type, made._field_type = name, one.type, dataclasses._FIELD  # type: ignore[attr-defined]
                self._made[name] = made
        return self._made
