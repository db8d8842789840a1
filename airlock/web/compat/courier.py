"""Follows the history and delivers to webhooks: what is decided on any road, in any process, is told.

Each delivery is a row: taken by compare-and-set under a lease, so that two gateways on one database send it
once, and one that dies leaves it to the other. A delivery that fails is tried again after its face's pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airlock.errors import AirlockError, Conflict, StoreError
from airlock.ports import AuditEvent, AuditFilter
from airlock.ports_faces import Record, RecordFilter
from airlock.posting import FAILURES, TEMPORARY, Target, post
from airlock.web.compat.asking import KIND as REQUEST
from airlock.web.compat.face import Face, Happening, News, Parcel
from airlock.web.compat.sealing import unseal
from airlock.web.compat.webhooks import DELIVERY, KIND, enqueue, purpose, wants

if TYPE_CHECKING:
    from airlock.web.services import Services

POLL_S = 0.1
PAGE = 500
LEASE_MS = 60_000
CURSOR = "courier"
TOLD = {
    "request.opened": "opened",
    "request.approved": "approved",
    "request.denied": "denied",
    "request.expired": "expired",
    "request.cancelled": "cancelled",
    "request.undone": "cancelled",
}

log = logging.getLogger(__name__)


class Courier:
    """One task of the gateway. Without a face that has webhooks it never runs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._faces = {face.name: face for face in services.faces}
        self._task: asyncio.Task[None] | None = None
        self._seq: int | None = None
        self._stamp: int | None = None
        self._next_due: int | None = 0
        self._failed = False
        self._rounds: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin, if there is a face, and a running loop to begin on."""
        if self._faces and self._services.records is not None and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="airlock-courier")

    async def close(self) -> None:
        """End. What was not delivered yet stays in the queue."""
        running = [task for task in (self._task, *self._rounds.values()) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
                self._failed = False
            except StoreError as error:
                if not self._failed:
                    log.warning("webhooks cannot be delivered: %s", error)
                self._failed = True
            await asyncio.sleep(POLL_S)

    async def _look(self) -> None:
        """Follow what is new, deliver what is due; a look at a number when neither is the case."""
        stamp, now = self._services.gate.store.stamp(), self._services.clock()
        if stamp != self._stamp or self._seq is None:
            await self._follow()
            self._stamp, self._next_due = stamp, 0
        if self._next_due is not None and now >= self._next_due:
            self._next_due = await self._deliver()

    # -- following -----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        hooks = [
            hook
            for hook in await self._records.find_records(RecordFilter(kind=KIND))
            if hook.face in self._faces and hook.body["enabled"]
        ]
        if self._seq is None:
            self._seq = await self._begin()
        if not hooks:
            self._seq, _ = await self._services.gate.store.changed_since(2**62)
            return
        asked = AuditFilter(asked=True)
        store = self._services.gate.store
        while events := await store.events(after=self._seq, limit=PAGE, wanted=asked):
            await self._tell(hooks, [event for event in events if event.kind in TOLD], events[-1].seq)
            self._seq = events[-1].seq

    async def _begin(self) -> int:
        cursor = await self._records.get_record("", "setting", CURSOR)
        if cursor is not None:
            return int(cursor.body["seq"])
        newest, _ = await self._services.gate.store.changed_since(2**62)
        return newest

    async def _tell(self, hooks: Sequence[Record], events: Sequence[AuditEvent], seq: int) -> None:
        told: list[tuple[Record, News]] = []
        for event in events:
            for face in self._faces.values():
                for news in await self._news(face, event):
                    told += [
                        (hook, news)
                        for hook in hooks
                        if hook.face == face.name and hook.created_at <= event.at and wants(hook, news.event)
                    ]
        if not told:
            return
        await enqueue(self._services, told)
        await self._remember(seq)

    async def _news(self, face: Face, event: AuditEvent) -> Sequence[News]:
        request = await self._services.gate.store.find(event.request_id)
        if request is None:
            return ()
        record = await self._records.get_record(face.name, REQUEST, request.id)
        happening = Happening(what=TOLD[event.kind], at=event.at, request=request, record=record)
        return await face.announce(self._services, happening)

    async def _remember(self, seq: int) -> None:
        """Write down how far we are: a gateway that starts again goes on from there."""
        now = self._services.clock()
        old = await self._records.get_record("", "setting", CURSOR)
        version = 1 if old is None else old.version + 1
        made = now if old is None else old.created_at
        cursor = Record(
            face="",
            kind="setting",
            id=CURSOR,
            version=version,
            created_at=made,
            updated_at=now,
            body={"seq": seq},
        )
        with contextlib.suppress(Conflict):  # another gateway is as far
            await self._records.put_records([cursor])

    # -- delivering ----------------------------------------------------------------------------------

    async def _deliver(self) -> int | None:
        """See to all that is due, each webhook by itself; when the next is due, None when nothing waits."""
        soon: list[int] = []
        for face in self._faces:
            wanted = RecordFilter(kind=DELIVERY, face=face, due_by=2**62, limit=PAGE)
            now = self._services.clock()
            for one in await self._records.find_records(wanted):
                if one.due_at > now:
                    soon.append(one.due_at)
                    break
                if one.link not in self._rounds:
                    self._rounds[one.link] = asyncio.create_task(self._serve(face, one.link))
        return min(soon, default=None)

    async def _serve(self, face: str, webhook: str) -> None:
        """Deliver to one webhook what is due, in its order: one that is slow keeps no other waiting."""
        try:
            while True:
                now = self._services.clock()
                wanted = RecordFilter(kind=DELIVERY, face=face, links=(webhook,), due_by=now, limit=1)
                due = await self._records.find_records(wanted)
                if not due:
                    return
                await self.attempt(due[0])
        except StoreError as error:
            log.warning("webhooks cannot be delivered: %s", error)
        finally:
            del self._rounds[webhook]
            self._next_due = 0

    async def attempt(self, delivery: Record) -> Record:
        """One attempt; the row as it is afterwards, or as it was when somebody else is at it."""
        now = self._services.clock()
        body = {**delivery.body, "attempts": delivery.body["attempts"] + 1}
        taken = replace(
            delivery, version=delivery.version + 1, updated_at=now, due_at=now + LEASE_MS, body=body
        )
        try:
            await self._records.put_records([taken])
        except Conflict:
            return delivery
        outcome = await self._outcome(taken)
        over = replace(taken, version=taken.version + 1, updated_at=self._services.clock(), **outcome)
        with contextlib.suppress(Conflict):
            await self._records.put_records([over])
        return over

    async def _outcome(self, delivery: Record) -> dict[str, Any]:
        """What the row becomes."""
        face, body = self._faces[delivery.face], delivery.body
        status, problem, again = await self._sent(face, delivery)
        now = self._services.clock()
        if status is not None and status < 300:
            done = {**body, "state": "delivered", "status": status, "error": "", "delivered_at": now}
            return {"due_at": None, "body": done}
        tried = int(body["attempts"])
        failed = {**body, "status": status, "error": problem[:500]}
        if not again or tried > len(face.retries):
            return {"due_at": None, "body": {**failed, "state": "failed"}}
        return {"due_at": now + face.retries[tried - 1], "body": failed}

    async def _sent(self, face: Face, delivery: Record) -> tuple[int | None, str, bool]:
        """The answer's status, what was wrong, and whether to try again."""
        webhook = await self._records.get_record(face.name, KIND, delivery.link)
        if webhook is None or not webhook.body["enabled"]:
            return None, "the webhook is gone", False
        try:
            headers = self._headers(face, webhook, delivery)
            status = await post(
                Target.of_stranger(webhook.body["url"]),
                headers,
                delivery.body["payload"].encode(),
                seconds=face.delivery_seconds,
            )
        except FAILURES as error:
            return None, str(error) or type(error).__name__, True
        except AirlockError as error:
            return None, str(error), False
        return status, f"it answered {status}", status in TEMPORARY

    def _headers(self, face: Face, webhook: Record, delivery: Record) -> dict[str, str]:
        secret = unseal(self._services.gate, purpose(face.name), webhook.body["secret"])
        parcel = Parcel(
            webhook=webhook.id,
            delivery=delivery.id,
            event=delivery.body["event"],
            body=delivery.body["payload"].encode(),
            secret=secret,
            at=self._services.clock(),
        )
        return dict(face.sign(parcel))

    @property
    def _records(self) -> Any:
        return self._services.records
