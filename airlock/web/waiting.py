"""How many requests wait, without reading the queue again for everyone who asks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from airlock.ports import Clock

if TYPE_CHECKING:
    from airlock.gate import Gate

STALE_MS = 1_000
"""Expiry needs no commit: a count older than this is taken again even if nothing was written."""


class Waiting:
    """Counts pending requests by agent; the count is kept until any process has committed something."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock
        self._counts: Mapping[str, int] = {}
        self._stamp: int | None = None
        self._at = 0
        self._lock = asyncio.Lock()

    async def by_agent(self) -> Mapping[str, int]:
        """Pending requests of each agent that has any."""
        async with self._lock:
            stamp, now = self._gate.store.stamp(), self._clock()
            if stamp != self._stamp or not 0 <= now - self._at < STALE_MS:
                self._counts = Counter(request.agent for request in await self._gate.pending())
                self._stamp, self._at = stamp, now
            return self._counts

    async def count(self) -> int:
        """All of them."""
        return sum((await self.by_agent()).values())
