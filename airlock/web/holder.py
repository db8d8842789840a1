"""Arguments as they were sent, of open questions whose stored ones are masked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from airlock.canonical import encode
from airlock.model import Call

MOST, MOST_BYTES = 1_000, 16 << 20
"""Of one agent: so many calls, of so much JSON. What it asks beyond that costs the oldest of its own."""


class _Held(NamedTuple):
    arguments: Mapping[str, Any]
    size: int


class Holder:
    """For the judging at the moment of use. Only in memory, only the newest: what is gone is judged by its
    masked form, which opens no door that the real one would not."""

    def __init__(self) -> None:
        self._held: dict[str, OrderedDict[str, _Held]] = {}

    def hold(self, call: Call) -> None:
        """Remember the arguments of a call."""
        theirs = self._held.setdefault(call.agent, OrderedDict())
        theirs[call.id] = _Held(call.arguments, len(encode(call.arguments)))
        while len(theirs) > MOST or sum(one.size for one in theirs.values()) > MOST_BYTES:
            theirs.popitem(last=False)

    def held(self, call_id: str) -> Mapping[str, Any] | None:
        """They, if they are still known."""
        found = (theirs[call_id] for theirs in self._held.values() if call_id in theirs)
        held = next(found, None)
        return None if held is None else held.arguments
