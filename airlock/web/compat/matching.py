"""What a stored policy's `match` says of a request: exact values and operators over dotted paths.

    {"action": "send_email", "params.amount": {"$gt": 100}, "context.env": {"$in": ["prod"]}}

Every entry must hold. A path that is not there does not match; a value of the wrong type cannot be told, nor
can a name in other letters, and then a rule never opens a door: it is for whoever asks to take None as a
match where the rule is strict. A match that cannot be read is refused when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlock.errors import UsageError
from airlock.matching import regexes
from airlock.matching.spelling import UNCLEAR, in_other_letters

OPERATORS = ("$lt", "$gt", "$lte", "$gte", "$in", "$regex")
MOST_TERMS = 50
_MISSING = object()


def check_match(match: Any, where: str) -> None:
    """UsageError when this is no match that `matches` understands."""
    if not isinstance(match, dict) or len(match) > MOST_TERMS:
        raise UsageError(f"`{where}` must be an object of at most {MOST_TERMS} members")
    for path, wanted in match.items():
        if not path:
            raise UsageError(f"`{where}` has an empty path")
        if isinstance(wanted, dict) and any(name.startswith("$") for name in wanted):
            _check_operators(wanted, f"{where}.{path}")


def _check_operators(wanted: Mapping[str, Any], where: str) -> None:
    for name, value in wanted.items():
        if name not in OPERATORS:
            raise UsageError(f"`{where}`: unknown operator `{name[:40]}`: there are {', '.join(OPERATORS)}")
        if name == "$in" and not isinstance(value, list):
            raise UsageError(f"`{where}`: `$in` needs a list")
        if name == "$regex":
            _check_regex(value, where)
        elif name != "$in" and (not isinstance(value, (int, float)) or isinstance(value, bool)):
            raise UsageError(f"`{where}`: `{name}` needs a number")


def _check_regex(pattern: Any, where: str) -> None:
    if not isinstance(pattern, str):
        raise UsageError(f"`{where}`: `$regex` needs text")
    try:
        regexes.check(pattern)
    except regexes.RegexError as error:
        raise UsageError(f"`{where}`: the pattern cannot be used: {error}") from None


def matches(match: Mapping[str, Any], facts: Mapping[str, Any]) -> bool | None:
    """True when every entry holds of these facts; None when one cannot be told and no other fails."""
    return _all([_holds(wanted, _value(facts, path)) for path, wanted in match.items()])


def _all(answers: list[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True


def _value(facts: Mapping[str, Any], path: str) -> Any:
    """What a dotted path leads to. A member whose own name has dots is never meant: whoever asks names it."""
    value: Any = facts
    for name in path.split("."):
        if isinstance(value, Mapping) and in_other_letters(name, value):
            return UNCLEAR
        if not isinstance(value, Mapping) or name not in value:
            return _MISSING
        value = value[name]
    return value


def _holds(wanted: Any, value: Any) -> bool | None:
    if value is _MISSING:
        return False
    if value is UNCLEAR:
        return None
    if isinstance(wanted, Mapping) and any(name.startswith("$") for name in wanted):
        return _all([_operator(name, bound, value) for name, bound in wanted.items()])
    return _same(wanted, value)


def _operator(name: str, bound: Any, value: Any) -> bool | None:
    if name == "$in":
        return any(_same(one, value) for one in bound)
    if name == "$regex":
        return regexes.search(bound, value) if isinstance(value, str) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    answers = {"$lt": value < bound, "$gt": value > bound, "$lte": value <= bound, "$gte": value >= bound}
    return answers.get(name)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other)
