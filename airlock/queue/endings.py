"""How questions end, other than by being spent: a no that is told, time, a caller that stops waiting."""

from __future__ import annotations

from dataclasses import replace

from airlock import approval
from airlock.errors import Conflict
from airlock.model import ApprovalRequest, Call, Decision, Refusal, Refuse, Status, Wait, Waiter
from airlock.ports import Change, Clock, RequestFilter, Store
from airlock.queue.drafts import Scribe
from airlock.queue.lobby import Lobby

ATTEMPTS = 50
"""How often a lost race is run again."""


class Endings:
    """Writes down that a request, or one call's waiting on it, is over."""

    def __init__(self, *, store: Store, lobby: Lobby, scribe: Scribe, clock: Clock) -> None:
        self._store = store
        self._lobby = lobby
        self._scribe = scribe
        self._clock = clock

    async def tell_denied(
        self, call: Call, decision: Decision, request: ApprovalRequest, waiter: Waiter | None = None
    ) -> Refuse:
        """Refuse a call because a person said no, and remember that a caller has heard it."""
        reason = f"denied by a person: {request.note}" if request.note else "denied by a person"
        hidden = decision.terms.redact
        event = self._scribe.refused(
            call, Refusal.DENIED, reason, hidden=hidden, rule=request.rule, request_id=request.id
        )
        rows = () if request.heard else (replace(request, version=request.version + 1, heard=True),)
        seats = ended(waiter, self._clock())
        try:
            await self._store.commit(Change(events=(event,), requests=rows, waiters=seats))
        except Conflict:  # another waiter has heard it at the same moment
            await self._store.commit(Change(events=(event,), waiters=seats))
        return Refuse(
            call=call,
            kind=Refusal.DENIED,
            reason=reason,
            rule=request.rule,
            request_id=request.id,
            tool=request.tool,
        )

    async def lapse(self, request: ApprovalRequest) -> None:
        """Write down that a request's time is over; Conflict when it changed meanwhile."""
        gone = approval.ended(request, Status.EXPIRED, self._clock())
        await self._store.commit(
            Change(events=(self._scribe.request("request.expired", gone),), requests=(gone,))
        )
        self._lobby.wake((gone,))

    async def sweep(self, agent: str = "") -> int:
        """Write down every request whose time is over; how many there were."""
        rows = await self._store.requests(RequestFilter(live_only=True, agent=agent, limit=10_000))
        over = [row for row in rows if approval.status_at(row, self._clock()) is Status.EXPIRED]
        for row in over:
            try:
                await self.lapse(row)
            except Conflict:
                continue
        return len(over)

    async def leave(self, waiting: Wait, *, cancel: bool, keep: bool = False) -> None:
        """End a call's waiting: withdrawn when `cancel` and nobody else waits, kept open when `keep`."""
        for _ in range(ATTEMPTS):
            try:
                await self._leave_once(waiting, cancel=cancel, keep=keep)
                return
            except Conflict:
                continue

    async def _leave_once(self, waiting: Wait, *, cancel: bool, keep: bool) -> None:
        now = self._clock()
        request = await self._store.find(waiting.request.id)
        seats = ended(waiting.waiter, now)
        if request is None or not request.status.live:
            if seats:
                await self._store.commit(Change(events=(), waiters=seats))
            return
        mine = waiting.waiter.id if waiting.waiter else ""
        others = [one for one in await self._store.waiters(request.id) if one.id != mine]
        kind = "request.left"
        rows: tuple[ApprovalRequest, ...] = ()
        if cancel and not others:
            kind = "request.cancelled"
            rows = (approval.ended(request, Status.CANCELLED, now, note="withdrawn by its caller"),)
        elif keep and not request.kept:
            rows = (replace(request, version=request.version + 1, kept=True),)
        event = self._scribe.request(kind, rows[0] if rows else request, call_id=waiting.call.id, kept=keep)
        await self._store.commit(Change(events=(event,), requests=rows, waiters=seats))
        self._lobby.wake(rows)


def ended(waiter: Waiter | None, now: int) -> tuple[Waiter, ...]:
    """The last row of a waiter that stops waiting; nothing when there is none."""
    return () if waiter is None else (replace(waiter, ended_at=now),)
