"""Where parked calls wait: one watch over the store for all of them, and one heartbeat.

A decision made in another process is seen by looking at a number of the store (microseconds) every
POLL_MS; only when it changed are the changed requests read. With nobody waiting nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator

from airlock.errors import StoreError
from airlock.model import ApprovalRequest
from airlock.ports import Clock, Store

POLL_MS = 40
"""How often the store is looked at: half of it is the mean time a decision elsewhere takes to be seen."""

BEAT_MS = 5_000
"""How often a process with parked calls says that it lives (decisions.md 24)."""

_NEWEST = 2**62

log = logging.getLogger(__name__)


class Lobby:
    """Wakes the calls that wait on a request when that request changes, whoever changed it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._guests = 0
        self._task: asyncio.Task[None] | None = None
        self._seq: int | None = None
        self._beat_at = 0
        self._failed = False

    async def enter(self) -> None:
        """Say that this process lives, before a call of it is written down as waiting."""
        if self._clock() - self._beat_at >= BEAT_MS:
            self._beat_at = self._clock()
            await self._store.beat()

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """While in it this process beats, whether a call of it waits or not."""
        await self.enter()
        with self._guest():
            yield

    @contextlib.contextmanager
    def seat(self, request_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the request may have changed; wait on it, clear it, look again."""
        bell = asyncio.Event()
        self._waiting[request_id].add(bell)
        try:
            with self._guest():
                yield bell
        finally:
            bells = self._waiting[request_id]
            bells.discard(bell)
            if not bells:
                del self._waiting[request_id]

    @contextlib.contextmanager
    def _guest(self) -> Iterator[None]:
        self._guests += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="airlock-lobby")
        try:
            yield
        finally:
            self._guests -= 1

    def wake(self, requests: Iterable[ApprovalRequest]) -> None:
        """Ring for requests that this process itself has just changed."""
        for request in requests:
            self._ring(request.id)

    def _ring(self, request_id: str) -> None:
        for bell in self._waiting.get(request_id, ()):
            bell.set()

    async def _watch(self) -> None:
        stamp, self._seq = -1, None
        while self._guests:
            try:
                stamp = await self._look(stamp)
                await self.enter()
                self._failed = False
            except StoreError as error:
                self._complain(error)
            await asyncio.sleep(POLL_MS / 1000)

    async def _look(self, stamp: int) -> int:
        now = self._store.stamp()
        if self._seq is None:
            # What changed before the first look is not known: everyone looks for themselves once.
            self._seq, _ = await self._store.changed_since(_NEWEST)
            self._ring_all()
        elif now != stamp:
            self._seq, changed = await self._store.changed_since(self._seq)
            self.wake(changed)
        return now

    def _ring_all(self) -> None:
        for request_id in list(self._waiting):
            self._ring(request_id)

    def _complain(self, error: StoreError) -> None:
        # The calls stay parked: when the store answers again they go on, else they expire.
        if not self._failed:
            log.warning("cannot watch the queue: %s", error)
        self._failed = True

    async def close(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
