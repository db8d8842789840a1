"""Rules with one condition on the same argument, asked together: one look-up instead of one test a rule.

A group answers exactly what each rule would have answered by itself; a property test holds it to that.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeAlias

from airlock.matching.arguments import MISSING, ArgumentPath, WrongType
from airlock.matching.conditions import Condition
from airlock.matching.frame import Frame
from airlock.matching.globs import odd_spelling
from airlock.matching.rules import Rule
from airlock.matching.spelling import OTHER_LETTERS, UNCLEAR
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.matching.regexes import PatternSet

_LIMITS = ("gt", "gte", "lt", "lte")


class Limits:
    """The limits of one operator, sorted, and the rules that they belong to, in the same order."""

    __slots__ = ("_find", "_low", "_numbers", "_values", "operator")

    def __init__(self, operator: str) -> None:
        self.operator = operator
        self._low = operator in {"gt", "gte"}
        """True where a value passes the limits that lie below it."""
        self._find = bisect_left if operator in {"gt", "lte"} else bisect_right
        self._values: list[Any] = []
        self._numbers: list[int] = []

    def add(self, value: Any, number: int) -> None:
        """Put one more in its place."""
        place = bisect_right(self._values, value)
        self._values.insert(place, value)
        self._numbers.insert(place, number)

    def passed_by(self, value: float) -> list[int]:
        """The rules whose limit the value passes."""
        place = self._find(self._values, value)
        return self._numbers[:place] if self._low else self._numbers[place:]


Trouble: TypeAlias = "list[tuple[int, str]]"
"""The rules that cannot say, by their numbers, and why."""


@dataclass(slots=True, kw_only=True)
class Group:
    """The grouped rules of one argument; they are known by their numbers among the candidates.

    `sets` has for each argument the expressions of all rules that look at it, also of those in no group.
    """

    path: ArgumentPath
    name: str | None
    sets: Mapping[str, PatternSet]
    texts: dict[str, list[int]] = field(default_factory=dict)
    regexes: dict[str, list[int]] = field(default_factory=dict)
    globs: dict[str, list[int]] = field(default_factory=dict)
    limits: list[Limits] = field(default_factory=list)
    textual: list[int] = field(default_factory=list)
    globbed: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    numeric: list[int] = field(default_factory=list)

    def ask(
        self, arguments: Mapping[str, Any], frame: Frame | None, holding: list[int], troubled: Trouble
    ) -> None:
        """Add the rules that hold, and those that cannot say. A frame remembers what it read for others."""
        name = self.name
        try:
            value = self.path.values(arguments)[0] if name is None else arguments.get(name, MISSING)
        except WrongType as error:
            self._doubt((*self.textual, *self.numeric), str(error), troubled)
            return
        if value is MISSING:
            return
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            for one in self.limits:
                holding += one.passed_by(value)
            if self.textual:
                self._doubt(self.textual, "is not a text", troubled)
        elif isinstance(value, str):
            self._ask_text(value, frame, holding, troubled)
            if self.numeric:
                self._doubt(self.numeric, "is not a number", troubled)
        elif value is UNCLEAR:
            self._doubt((*self.textual, *self.numeric), OTHER_LETTERS, troubled)
        else:
            self._doubt(self.textual, "is not a text", troubled)
            self._doubt(self.numeric, "is not a number", troubled)

    def _doubt(self, numbers: Iterable[int], why: str, troubled: Trouble) -> None:
        for number in numbers:
            troubled.append((number, f"`{self.path.text}` {why}"))

    def _ask_text(self, text: str, frame: Frame | None, holding: list[int], troubled: Trouble) -> None:
        holding += self.texts.get(text, ())
        if not self.read:
            return
        path = self.path.text
        found = self.sets[path].found(text) if frame is None else frame.found(path, text)
        if not isinstance(found, frozenset):
            self._doubt(self.read, found, troubled)
            return
        odd = odd_spelling(text) if self.globbed else ""
        if odd:
            self._doubt(self.globbed, odd, troubled)
        if found:
            hits: set[int] = set()
            for source in found:
                hits.update(self.regexes.get(source, ()))
                hits.update(() if odd else self.globs.get(source, ()))
            holding += hits


def group(
    rules: Iterable[tuple[int, Rule]], sets: Mapping[str, PatternSet]
) -> tuple[tuple[Group, ...], frozenset[int]]:
    """The groups of these numbered rules, and the numbers that are in one."""
    groups: dict[str, Group] = {}
    taken: set[int] = set()
    for number, rule in rules:
        if len(rule.conditions) != 1 or rule.when or rule.unless or rule.window or rule.rate:
            continue
        condition = rule.conditions[0]
        path = condition.path
        if path.many or not _groupable(condition.written):
            continue
        one = groups.setdefault(path.text, Group(path=path, name=path.plain, sets=sets))
        _add(one, number, condition)
        taken.add(number)
    return tuple(groups.values()), frozenset(taken)


def _groupable(written: Any) -> bool:
    if isinstance(written, str):
        return True
    if not isinstance(written, Mapping) or len(written) != 1:
        return False
    ((operator, value),) = written.items()
    if operator == "in":
        return all(isinstance(one, str) for one in value)
    return operator in {"regex", "glob", *_LIMITS} or (operator == "equals" and isinstance(value, str))


def _add(one: Group, number: int, condition: Condition) -> None:
    written = condition.written
    operator, value = ("equals", written) if isinstance(written, str) else next(iter(written.items()))
    if operator in _LIMITS:
        limits = next((own for own in one.limits if own.operator == operator), None)
        if limits is None:
            one.limits.append(limits := Limits(operator))
        limits.add(value, number)
        one.numeric.append(number)
        return
    one.textual.append(number)
    if operator in {"regex", "glob"}:
        one.read.append(number)
        table = one.regexes if operator == "regex" else one.globs
        one.globbed += [number] if operator == "glob" else []
        for source in condition.expressions:
            table.setdefault(source, []).append(number)
        return
    for text in dict.fromkeys([value] if isinstance(value, str) else value):
        one.texts.setdefault(text, []).append(number)
