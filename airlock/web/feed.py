"""The audit chain as it grows, told to many listeners by one reader.

Each message has the event's sequence number as its id, so a listener that comes back names the last one
it saw and misses nothing. A listener that does not read is let go: it comes back the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from airlock.canonical import encode
from airlock.errors import StoreError
from airlock.ports import AuditEvent, AuditFilter
from airlock.views import iso, request_shape

if TYPE_CHECKING:
    from airlock.gate import Gate

POLL_S = 0.1
PAGE = 500
BACKLOG = 1_000
RESOLVED = frozenset({"request.approved", "request.denied", "request.expired", "request.cancelled"})
TOLD = ("effect", "rule", "reason", "refusal", "outcome", "duration_ms", "by", "note", "would")
"""What an activity message takes from its event's body: never arguments, which need `audit:read`."""

log = logging.getLogger(__name__)


class Listener:
    """One open stream: what it has still to be told, and whether it has fallen too far behind."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG)
        self.lagging = asyncio.Event()

    def tell(self, message: bytes) -> None:
        """Queue one message; a full queue marks the listener as lagging."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.lagging.set()


class Feed:
    """Reads new events once, as long as anybody listens."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._seq = 0
        self._starting = asyncio.Lock()

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    @contextlib.contextmanager
    def listening(self) -> Iterator[tuple[Listener, int]]:
        """A listener to all that comes after the sequence number beside it. `start` must have run."""
        listener = Listener()
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="airlock-feed")
        try:
            yield listener, self._seq
        finally:
            self._listeners.discard(listener)

    async def start(self) -> None:
        """Find the newest event, unless somebody listens already."""
        async with self._starting:
            if self._listeners:
                return
            newest = await self._newest()
            if not self._listeners:
                self._seq = newest

    async def _newest(self) -> int:
        store = self._gate.store
        last = await store.entries(AuditFilter(limit=1))
        seq = last[0].seq if last else 0
        while events := await store.events(after=seq, limit=PAGE):
            seq = events[-1].seq
        return seq

    async def replay(self, after: int, until: int) -> AsyncIterator[bytes]:
        """The messages of the events after one sequence number, up to and with another."""
        while after < until:
            events = await self._gate.store.events(after=after, limit=PAGE)
            if not events:
                return
            for event in events:
                if event.seq > until:
                    return
                yield await self._message(event)
            after = events[-1].seq

    async def _read(self) -> None:
        stamp: int | None = None
        while self._listeners:
            try:
                now = self._gate.store.stamp()
                if now != stamp:
                    await self._tell_new()
                    stamp = now
            except StoreError as error:
                log.warning("cannot read new events: %s", error)
            await asyncio.sleep(POLL_S)

    async def _tell_new(self) -> None:
        while events := await self._gate.store.events(after=self._seq, limit=PAGE):
            for event in events:
                message = await self._message(event)
                for listener in self._listeners:
                    listener.tell(message)
                self._seq = event.seq

    async def _message(self, event: AuditEvent) -> bytes:
        told = await self._told(event)
        return b"id: %d\ndata: %s\n\n" % (event.seq, encode(told))

    async def _told(self, event: AuditEvent) -> dict[str, Any]:
        base = {"seq": event.seq, "kind": event.kind, "at": iso(event.at)}
        opened = event.kind == "request.opened"
        if opened or event.kind in RESOLVED:
            request = await self._gate.store.find(event.request_id)
            if request is not None and opened:
                return {"type": "new", **base, "request": request_shape(request)}
            if request is not None:
                action = event.kind.removeprefix("request.")
                return {"type": "resolved", **base, "id": request.id, "code": request.code, "action": action}
        return {
            "type": "activity",
            **base,
            "agent_id": event.agent,
            "tool": event.tool,
            "call_id": event.call_id,
            "request_id": event.request_id or None,
            **_summary(event.body),
        }

    async def close(self) -> None:
        """End the reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _summary(body: str) -> dict[str, Any]:
    try:
        members = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(members, dict):
        return {}
    return {name: members[name] for name in TOLD if name in members}
