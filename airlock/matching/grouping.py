"""Rules with one condition on the same argument, asked together: one look-up instead of one test a rule.

A group answers exactly what each rule would have answered by itself; a property test holds it to that.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from airlock.matching.arguments import MISSING, ArgumentPath, WrongType
from airlock.matching.conditions import Condition, odd_spelling
from airlock.matching.frame import Frame
from airlock.matching.rules import Rule
from airlock.values import dataclass

_NOTHING: frozenset[str] = frozenset()
_LIMITS = ("gt", "gte", "lt", "lte")


@dataclass(slots=True)
class Limits:
    """The limits of one operator, sorted, and the rules that they belong to, in the same order."""

    operator: str
    values: list[Any] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, value: Any, number: int) -> None:
        """Put one more in its place."""
        place = bisect_right(self.values, value)
        self.values.insert(place, value)
        self.numbers.insert(place, number)

    def passed_by(self, value: float) -> list[int]:
        """The rules whose limit the value passes."""
        operator = self.operator
        find = bisect_left if operator in {"gt", "lte"} else bisect_right
        place = find(self.values, value)
        return self.numbers[:place] if operator in {"gt", "gte"} else self.numbers[place:]


@dataclass(slots=True, kw_only=True)
class Group:
    """The grouped rules of one argument; they are known by their numbers among the candidates."""

    path: ArgumentPath
    name: str | None
    texts: dict[str, list[int]] = field(default_factory=dict)
    regexes: dict[str, list[int]] = field(default_factory=dict)
    globs: dict[str, list[int]] = field(default_factory=dict)
    limits: list[Limits] = field(default_factory=list)
    textual: list[int] = field(default_factory=list)
    globbed: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    numeric: list[int] = field(default_factory=list)

    def ask(self, frame: Frame) -> tuple[list[int], list[tuple[int, str]]]:
        """The rules that hold, and those that cannot say with the reason."""
        name = self.name
        try:
            value = (
                self.path.values(frame.arguments)[0] if name is None else frame.arguments.get(name, MISSING)
            )
        except WrongType as error:
            return [], self._trouble((*self.textual, *self.numeric), str(error))
        if value is MISSING:
            return [], []
        if isinstance(value, str):
            holding, troubled = self._ask_text(value, frame)
            if self.numeric:
                troubled += self._trouble(self.numeric, "is not a number")
            return holding, troubled
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            holding = [number for one in self.limits for number in one.passed_by(value)]
            return holding, self._trouble(self.textual, "is not a text") if self.textual else []
        return [], [
            *self._trouble(self.textual, "is not a text"),
            *self._trouble(self.numeric, "is not a number"),
        ]

    def _trouble(self, numbers: Iterable[int], why: str) -> list[tuple[int, str]]:
        return [(number, f"`{self.path.text}` {why}") for number in numbers]

    def _ask_text(self, text: str, frame: Frame) -> tuple[list[int], list[tuple[int, str]]]:
        holding = list(self.texts.get(text, ()))
        found = frame.found(self.path.text, text) if self.read else _NOTHING
        if isinstance(found, str):
            return holding, self._trouble(self.read, found)
        if not found and not self.globbed:
            return holding, []
        troubled: list[tuple[int, str]] = []
        hits: set[int] = set()
        for source in found:
            hits.update(self.regexes.get(source, ()))
        if self.globbed and (odd := odd_spelling(text)):
            troubled = self._trouble(self.globbed, odd)
        elif self.globbed:
            for source in found:
                hits.update(self.globs.get(source, ()))
        return holding + list(hits), troubled


def group(rules: Iterable[tuple[int, Rule]]) -> tuple[tuple[Group, ...], frozenset[int]]:
    """The groups of these numbered rules, and the numbers that are in one."""
    groups: dict[str, Group] = {}
    taken: set[int] = set()
    for number, rule in rules:
        if len(rule.conditions) != 1 or rule.when or rule.unless or rule.window or rule.rate:
            continue
        condition = rule.conditions[0]
        if condition.path.many or not _groupable(condition.written):
            continue
        _add(
            groups.setdefault(condition.path.text, Group(path=condition.path, name=condition.path.plain)),
            number,
            condition,
        )
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
