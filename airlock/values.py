"""`dataclass`, made in a quarter of the time: making classes was two fifths of every start of Airlock.

The standard library writes seven methods of each class as text and compiles them. Here only `__init__` is
written, and only once a value is made; the rest is shared. What comes out is a dataclass like any other:
`replace`, `fields` and `asdict` work, and type checkers see the library's own decorator. A class with
anything unusual is left to the library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING, FrozenInstanceError
from functools import cache, partial
from inspect import get_annotations
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - exported
else:

    def dataclass(*, frozen: bool = False, slots: bool, kw_only: bool = False, eq: bool = True) -> Any:
        """The same decorator; `slots` are always wanted here."""

        def decorate(cls: type) -> type:
            wishes = {"frozen": frozen, "kw_only": kw_only, "eq": eq}
            if not slots or _unusual(cls):
                return dataclasses.dataclass(slots=slots, **wishes)(cls)
            return _made(cls, wishes)

        return decorate


_FACTORY: Any = object()
"""Stands for a default that is made anew for each value."""


def _unusual(cls: type) -> bool:
    """True for a class that the few lines below do not know how to make."""
    if hasattr(cls, "__post_init__") or hasattr(cls, "__dataclass_fields__"):
        return True
    names = get_annotations(cls)
    if any("ClassVar" in str(kind) or "InitVar" in str(kind) for kind in names.values()):
        return True
    return not all(_plain(cls.__dict__[name]) for name in names if name in cls.__dict__)


def _plain(default: Any) -> bool:
    """True for a value that may be a field's default, and for a field that tells no more than that."""
    if not isinstance(default, dataclasses.Field):
        return default.__class__.__hash__ is not None
    told = default.init and default.repr and default.compare and default.hash is None
    return bool(told and default.kw_only in {MISSING, False} and not default.metadata)


def _made(cls: type, wishes: Mapping[str, bool]) -> type:
    """The class anew, with slots and methods."""
    names = tuple(get_annotations(cls))
    given = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    members = {name: value for name, value in cls.__dict__.items() if name not in names}
    members.pop("__dict__", None)
    members.pop("__weakref__", None)
    twin = cache(partial(_twin, cls, given, wishes))
    shared: dict[str, Any] = {"__repr__": _repr}
    shared |= {name: _Later(name, twin) for name in ("__dataclass_fields__", "__dataclass_params__")}
    if wishes["eq"]:
        shared |= {"__eq__": _eq, "__hash__": _hash if wishes["frozen"] else None}
    if wishes["frozen"]:
        shared |= {"__setattr__": _set, "__delattr__": _delete}
        shared |= {"__getstate__": _state, "__setstate__": _restore}
    return type(cls)(
        cls.__name__,
        cls.__bases__,
        {
            **shared,
            **members,
            "__init__": _Unwritten(partial(_initialiser, names=names, given=given, wishes=wishes)),
            "__qualname__": cls.__qualname__,
            "__slots__": names,
            "__match_args__": () if wishes["kw_only"] else names,
            "__values__": staticmethod(_reader(names)),
        },
    )


def _initialiser(
    made: type, names: tuple[str, ...], given: Mapping[str, Any], wishes: Mapping[str, bool]
) -> Callable[..., None]:
    """`__init__`, the one method that is written for each class."""
    known: dict[str, Any] = {"_FACTORY": _FACTORY}
    heads, lines = ["self"] + ["*"] * (wishes["kw_only"] and bool(names)), []
    for name in names:
        default, value = given.get(name, MISSING), name
        if isinstance(default, dataclasses.Field):
            if default.default_factory is not MISSING:
                known[f"_new_{name}"] = default.default_factory
                value = f"_new_{name}() if {name} is _FACTORY else {name}"
                default = _FACTORY
            else:
                default = default.default
        known[f"_default_{name}"] = default
        heads.append(name if default is MISSING else f"{name}=_default_{name}")
        known[f"_set_{name}"] = made.__dict__[name].__set__
        # A slot's own setter passes by the `__setattr__` that refuses, and is quicker than `object`'s.
        lines.append(f" _set_{name}(self, {value})" if wishes["frozen"] else f" self.{name} = {value}")
    text = "\n".join([f"def __init__({', '.join(heads)}):", *lines, " return"])
    exec(text, known)  # noqa: S102 - nothing but the names of fields in our own code
    written: Any = known["__init__"]
    written.__qualname__ = f"{made.__qualname__}.__init__"
    written.__module__ = made.__module__
    return written  # type: ignore[no-any-return]


class _Unwritten:
    """`__init__` until the first value is made: in a short run most classes make none."""

    def __init__(self, write: Callable[[type], Callable[..., None]]) -> None:
        self._write = write
        self._owner: Any = None

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner

    def __get__(self, value: object, owner: type) -> Any:
        self._owner.__init__ = written = self._write(self._owner)
        return written.__get__(value, owner)


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """What reads all fields at once, as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


class _Later:
    """Something that the library keeps with a dataclass: it makes that itself, when somebody asks."""

    def __init__(self, name: str, twin: Callable[[], type]) -> None:
        self._name = name
        self._twin = twin

    def __get__(self, value: object, owner: type) -> Any:
        return getattr(self._twin(), self._name)


def _twin(cls: type, given: Mapping[str, Any], wishes: Mapping[str, bool]) -> type:
    """A class with the same fields, made by the library."""
    members = {"__annotations__": get_annotations(cls), "__module__": cls.__module__}
    return dataclasses.dataclass(**wishes)(type(cls.__name__, (), {**members, **given}))


# What all values share.


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{self.__class__.__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.__values__(self) == self.__values__(other)


def _hash(self: Any) -> int:
    return hash(self.__values__(self))


def _set(_: Any, name: str, __: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(_: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> tuple[Any, ...]:
    return self.__values__(self)  # type: ignore[no-any-return]


def _restore(self: Any, state: tuple[Any, ...]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)
