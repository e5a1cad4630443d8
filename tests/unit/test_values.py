"""values.dataclass against the standard one: the same class body through both, and nothing tells them apart."""

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from rootless_builder import values

KINDS = [{"frozen": True, "slots": True, "kw_only": True}, {"frozen": True, "slots": True},
         {"slots": True}, {"frozen": True, "slots": True, "order": True}, {"kw_only": True}, {"frozen": True}]


def both(**options: bool) -> list[Any]:
    """A class by each module."""
    made = []
    for module in (values, dataclasses):
        class Base:
            __slots__ = ()

            def __post_init__(self) -> None:
                if self.a == 13:
                    raise ValueError("unlucky")

            @property
            def double(self) -> int:
                return 2 * self.a

        class Value(Base):
            """Doc."""

            a: int
            b: tuple[str, ...] = ("x",)
            c: dict[str, int] = module.field(default_factory=dict, compare=False)  # type: ignore[attr-defined]
            d: list[int] = module.field(default_factory=list, compare=False, repr=False)  # type: ignore[attr-defined]

        made.append(module.dataclass(**options)(Value))  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_like_the_standard_ones(options: dict[str, bool]) -> None:
    told = []
    for cls in both(**options):
        one, same, other = cls(a=1), cls(a=1, c={"k": 2}), cls(a=2, b=())
        assert one == same and one != other and one != object() and (one == 1) is False
        assert one.c == {} and one.c is not cls(a=1).c and one.double == 2 and same.c == {"k": 2}
        told.append((repr(one), cls.__match_args__, cls.__qualname__, cls.__doc__, cls.__module__,
                     dataclasses.asdict(same), [item.name for item in dataclasses.fields(cls)],
                     repr(dataclasses.replace(one, a=5)), repr(copy.copy(one)), hasattr(one, "__dict__")))
        if options.get("frozen"):
            assert hash(one) == hash(same)
            with pytest.raises(dataclasses.FrozenInstanceError):
                one.a = 3
            with pytest.raises(dataclasses.FrozenInstanceError):
                del one.a
        else:
            one.a = 3
            assert one.a == 3
            with pytest.raises(TypeError):
                hash(one)
        if options.get("order"):
            assert one < other and other >= one and max(other, one) is other
        for places, names in (((), {}), ((), {"a": 1, "z": 1}), ((1, ("y",), {}, [], 5), {})):
            with pytest.raises(TypeError):
                cls(*places, **names)
        with pytest.raises(ValueError, match="unlucky"):
            cls(a=13)
        if not options.get("kw_only"):
            assert cls(1, ("y",)).b == ("y",)
    assert told[0] == told[1]


@values.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


@values.dataclass(frozen=True, slots=True)
class Named(Point):
    name: str = ""

    def __repr__(self) -> str:
        return f"<{self.name}>"


@values.dataclass(slots=True, eq=False)
class Identity:
    x: int


def test_inheritance_pickles_and_matching() -> None:
    assert Named(1, 2, "n") == pickle.loads(pickle.dumps(Named(1, 2, "n"))) == copy.deepcopy(Named(1, 2, "n"))
    assert repr(Named(1, name="n")) == "<n>" and Named(1, 2) != Point(1, 2) and Named.__slots__ == ("name",)
    match Point(3, 4):
        case Point(x, y=4):
            assert x == 3
    assert Identity(1) != Identity(1) and {Identity(1)}


def test_replace_fields_and_what_is_one() -> None:
    assert values.replace(Named(1, 2, "n"), y=5) == Named(1, 5, "n")
    assert [item.name for item in values.fields(Named)] == ["x", "y", "name"]
    assert values.is_dataclass(Point) and values.is_dataclass(Point(1)) and not values.is_dataclass(3)
    assert dataclasses.is_dataclass(Point(1))
    with pytest.raises(TypeError):
        values.replace(Point(1), z=1)
    both_ways = Identity((Point(1), {"k": [Named(2)]}))  # type: ignore[arg-type]
    assert values.asdict(both_ways) == dataclasses.asdict(both_ways)  # type: ignore[call-overload]
