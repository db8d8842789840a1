"""Whose turn it is, where only so many at once are served: it goes round among those who wait."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Full(Exception):
    """Somebody waits for too many turns already."""


class Turns:
    """A semaphore. However many turns one has asked for, another waits for one of them at most."""

    def __init__(self, *, most: int, at_once: int = 1) -> None:
        self._most = most
        self._free = at_once
        self._last = ""
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, who: str, *, seconds: float) -> AsyncIterator[None]:
        """One turn; TimeoutError when it does not come in time, Full when `who` waits for too many."""
        async with asyncio.timeout(seconds):
            await self._take(who)
        try:
            yield
        finally:
            self._give()

    async def _take(self, who: str) -> None:
        if self._free:
            self._free, self._last = self._free - 1, who
            return
        mine = self._waiting.setdefault(who, deque())
        if sum(not one.done() for one in mine) >= self._most:
            raise Full
        turn = asyncio.get_running_loop().create_future()
        mine.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()  # it came in the moment of giving up
            raise

    def _give(self) -> None:
        """To the first who still waits, and to all others before it comes back to the same."""
        if self._last in self._waiting:
            self._waiting.move_to_end(self._last)
        while self._waiting:
            who, theirs = self._waiting.popitem(last=False)
            waits = deque(one for one in theirs if not one.done())
            if waits:
                waits.popleft().set_result(None)
                self._last = who
                if waits:
                    self._waiting[who] = waits
                return
        self._free += 1
