"""Patterns for the actions of the Agent Action Firewall: its operations have one case."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from airlock.config import PatternLine, PatternLists, RuleConfig
from airlock.loader.reading import Reading
from airlock.words import Effect

_FACE: Final = "firewall"
_CAPITAL: Final = re.compile(r"[A-Z]")
_ESCAPED: Final = re.compile(r"%[0-9A-F]{2}")


def check_operations(reading: Reading, lists: Iterable[PatternLists], rules: Iterable[RuleConfig]) -> None:
    """Note patterns that name an operation in capitals.

    An operation is compared in small letters, however its agent wrote it: such a line would match nothing,
    and as a deny let through what it seems to stop.
    """
    written = [(line, one.owner, False) for one in lists for line in one.allow]
    written += [(line, one.owner, True) for one in lists for line in (*one.ask, *one.deny)]
    for rule in rules:
        place, strict = rule.place("tool"), rule.effect is not Effect.ALLOW
        written += [(PatternLine(text=text, where=place), f"rules.{rule.id}", strict) for text in rule.tools]
    for line, owner, strict in written:
        number = line.where.rpartition(":")[2]
        if _in_capitals(line.text.removeprefix("!"), strict=strict) and number.isdigit():
            reading.error(
                int(number),
                owner,
                f"`{line.text[:80]}` names an operation in capitals, and would match no action of `{_FACE}`",
                "write operations in small letters: agents may write them either way",
            )


def _in_capitals(pattern: str, *, strict: bool) -> bool:
    """True when it names an operation in capitals; where it is strict, also when it only may mean one."""
    provider, _, rest = pattern.partition("/")
    may_be = provider == _FACE or (strict and "*" in provider)
    deep = "/" in rest or "**" in pattern
    return may_be and deep and bool(_CAPITAL.search(_ESCAPED.sub("", pattern.rpartition("/")[2])))
