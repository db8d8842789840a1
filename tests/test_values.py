"""Our `dataclass` is the library's: held against it, class by class."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from typing import Any

import pytest

import airlock
from airlock import values
from airlock.model import Grant, Origin, Principal


@values.dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Two numbers and what is known of them."""

    x: int
    y: int = 2
    notes: tuple[str, ...] = ()
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def sum(self) -> int:
        """Both."""
        return self.x + self.y


@values.dataclass(frozen=True, slots=True)
class Placed:
    """By place."""

    a: int
    b: str = "b"


@values.dataclass(slots=True)
class Open:
    """Not frozen."""

    a: list[int] = field(default_factory=list)
    b: int = 0


@values.dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No fields."""


@values.dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """One field."""

    only: str = "x"


MAKE: list[Callable[[], Any]] = [
    lambda: Point(x=1),
    lambda: Point(x=1, y=5, notes=("n",), seen={"a": 1}),
    lambda: Placed(1),
    lambda: Placed(1, b="c"),
    Open,
    lambda: Open([1], 2),
    Nothing,
    Single,
]


@pytest.mark.parametrize("make", MAKE)
def test_a_value_equals_its_like_and_says_what_it_is(make: Callable[[], Any]) -> None:
    one, other = make(), make()
    assert one == other
    assert one is not other
    assert one != object()
    said = ", ".join(f"{each.name}={getattr(one, each.name)!r}" for each in fields(one))
    assert repr(one) == f"{type(one).__qualname__}({said})"
    assert replace(one) == one
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    assert asdict(one) == {each.name: getattr(one, each.name) for each in fields(one)}
    assert not hasattr(one, "__dict__")


def test_what_is_frozen_stays_as_it_is_and_can_be_a_key() -> None:
    place = Placed(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'a'"):
        place.a = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        place.other = 2  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError):
        del place.a
    assert {Placed(1): "one"}[place] == "one"
    assert hash(Single()) == hash(("x",))


def test_what_is_open_can_be_changed_and_cannot_be_a_key() -> None:
    thing = Open()
    thing.b = 3
    assert thing == Open(b=3)
    assert Open().a is not Open().a
    with pytest.raises(TypeError, match="unhashable"):
        hash(thing)


@pytest.mark.parametrize("wrong", [Point, lambda: Point(1), lambda: Point(x=1, z=2), Placed])
def test_wrong_arguments_are_refused(wrong: Callable[[], Any]) -> None:
    with pytest.raises(TypeError):
        wrong()


def test_values_match_by_place_and_by_name() -> None:
    match Placed(1):
        case Placed(1, "b"):
            found = True
    match Point(x=4):
        case Point(x=4, y=two):
            assert (found, two) == (True, 2)


def test_what_is_unusual_is_left_to_the_library() -> None:
    @values.dataclass(frozen=True, slots=True, kw_only=True)
    class Hidden:
        """A field that is not shown."""

        secret: str = field(repr=False)

    assert repr(Hidden(secret="s")).endswith("Hidden()")
    with pytest.raises(ValueError, match="mutable default"):

        @values.dataclass(slots=True)
        class Shared:
            """A default that all would share."""

            items: list[int] = []  # noqa: RUF012 - that is the point


def ours() -> list[type]:
    names = [
        one.name for one in pkgutil.walk_packages(airlock.__path__, "airlock.") if "__main__" not in one.name
    ]
    found = [(name, one) for name in names for one in vars(importlib.import_module(name)).values()]
    return [
        one
        for name, one in found
        if inspect.isclass(one) and one.__module__ == name and "__values__" in vars(one)
    ]


def test_every_class_of_ours_takes_what_the_librarys_would_take() -> None:
    classes = ours()
    assert {Grant, Origin, Principal} <= set(classes)
    for one in classes:
        made = dataclasses.make_dataclass(
            one.__name__,
            [(each.name, each.type, each) for each in fields(one)],
            kw_only=not one.__match_args__ and bool(fields(one)),
            frozen=one.__dataclass_params__.frozen,  # type: ignore[attr-defined]
        )
        kinds = [(p.name, p.kind, p.default is p.empty) for p in inspect.signature(made).parameters.values()]
        assert kinds == [
            (p.name, p.kind, p.default is p.empty) for p in inspect.signature(one).parameters.values()
        ], one
