"""Where in a call's arguments a condition looks: `a.b`, `a[0]`, `a[*].b`, `a["x.y"]`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from airlock.matching.spelling import OTHER_LETTERS, UNCLEAR, in_other_letters
from airlock.values import dataclass

MISSING: Final = object()
"""What stands for an argument that is not there; None is JSON's null, which is there."""

MAX_ITEMS: Final = 10_000
"""More values than this are an error: a condition looks at each of them."""

EACH: Final = "*"
_STEP = re.compile(r'(?:^|\.)([^.\[\]"*]+)|\[(\*|\d+)\]|\["((?:[^"\\]|\\.)*)"\]')


class PathError(ValueError):
    """A path that cannot be read."""


class WrongType(Exception):
    """The arguments have another shape than the path expects; the text says where."""


@dataclass(frozen=True, slots=True)
class Member:
    """A step into an object."""

    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """A step into a list: one place, or (None) every one."""

    place: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentPath:
    """A path, ready to follow. `many` when it has `[*]`."""

    text: str
    steps: tuple[Member | Item, ...]

    @property
    def many(self) -> bool:
        """True when it leads to any number of values."""
        return Item(None) in self.steps

    @property
    def plain(self) -> str | None:
        """The name of the argument when the path is nothing else."""
        only = self.steps[0]
        return only.name if len(self.steps) == 1 and isinstance(only, Member) else None

    def values(self, arguments: Mapping[str, Any]) -> list[Any]:
        """What the path leads to: one value (perhaps MISSING), or one for each way through `[*]`.

        WrongType when something on the way is neither missing nor of the right shape.
        """
        found: list[Any] = [arguments]
        for number, step in enumerate(self.steps):
            following: list[Any] = []
            for value in found:
                if value is MISSING:
                    following.append(MISSING)
                else:
                    following += self._follow(step, value, number)
            if len(following) > MAX_ITEMS:
                raise WrongType(f"has more than {MAX_ITEMS:,} items")
            found = following
        return found

    def _follow(self, step: Member | Item, value: Any, number: int) -> Sequence[Any]:
        if isinstance(step, Member):
            if value is UNCLEAR:
                raise WrongType(OTHER_LETTERS)
            if not isinstance(value, Mapping):
                raise WrongType(self._misfit(number, "an object"))
            if number and in_other_letters(step.name, value):
                raise WrongType(OTHER_LETTERS)
            return (value.get(step.name, MISSING),)
        if value is UNCLEAR:
            raise WrongType(OTHER_LETTERS)
        if not isinstance(value, list):
            raise WrongType(self._misfit(number, "a list"))
        if step.place is None:
            return value
        return (value[step.place] if step.place < len(value) else MISSING,)

    def _misfit(self, number: int, wanted: str) -> str:
        step = self.steps[number - 1]
        before = step.name if isinstance(step, Member) else "an item"
        return f"needs `{before}` to be {wanted}" if number else f"needs {wanted}"


def parse_path(text: str) -> ArgumentPath:
    """The path that `text` means; PathError with the reason when it means none."""
    steps: list[Member | Item] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (at == 0 and match[1] is None and match[3] is None):
            raise PathError(f'`{text}` is no path: write `a.b`, `a[0]`, `a[*].b` or `["odd.name"]`')
        if match[1] is not None:
            steps.append(Member(match[1]))
        elif match[2] is not None:
            steps.append(Item(None if match[2] == EACH else int(match[2])))
        else:
            steps.append(Member(re.sub(r"\\(.)", r"\1", match[3])))
        at = match.end()
    if not steps or len(steps) > 16 or text != text.strip():
        raise PathError(f"`{text}` is no path to an argument")
    return ArgumentPath(text=text, steps=tuple(steps))
