"""Arguments as they were sent, of open questions whose stored ones are masked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from airlock.model import Call

MOST = 1_000


class Holder:
    """For the judging at the moment of use. Only in memory, only the newest: what is gone is judged by its
    masked form, which opens no door that the real one would not."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def hold(self, call: Call) -> None:
        """Remember the arguments of a call."""
        self._held[call.id] = call.arguments
        while len(self._held) > MOST:
            self._held.popitem(last=False)

    def held(self, call_id: str) -> Mapping[str, Any] | None:
        """They, if they are still known."""
        return self._held.get(call_id)
