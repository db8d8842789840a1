"""What conditions look at while one thing is judged: its arguments, names, place, and known facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from airlock.model import NOTHING, Call
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.matching.regexes import PatternSet

Holds: TypeAlias = "bool | str"
"""What a condition says: True, False, or, as text, why it cannot be evaluated."""

UNRESOLVED: Final = "the real path is not known"


class Facts(NamedTuple):
    """What evaluation needs to know about the world: gathered before, so that evaluation stays pure.

    `rates` maps a scope to its uses within its window; `resolved` maps a lexical absolute path to the
    real one, None when that could not be found out.
    """

    now: int
    rates: Mapping[str, int] = NOTHING
    resolved: Mapping[str, str | None] = NOTHING


@dataclass(slots=True, kw_only=True, eq=False)
class Frame:
    """One thing that is judged, while it is. `base` is where relative paths start, "" when unknown.

    `local` is False for what runs on another machine, where our symlinks mean nothing. `fields` are the
    arguments that expressions look at, None for all.
    """

    call: Call
    facts: Facts
    tool: str
    provider: str
    name: str
    arguments: Mapping[str, Any]
    base: str = ""
    local: bool = True
    sets: Mapping[str, PatternSet] = NOTHING
    fields: frozenset[str] | None = None
    read: dict[tuple[str, str], frozenset[str] | str] | None = None
    engine: Any = None

    def found(self, path: str, text: str) -> frozenset[str] | str:
        """Which patterns for the argument `path` occur in `text`, or why that cannot be said."""
        if self.read is None:
            self.read = {}
        answer = self.read.get((path, text))
        if answer is None:
            answer = self.read[path, text] = self.sets[path].found(text)
        return answer
