"""Where a parked call waits for its person, and what becomes of it when the question moves.

An approved question is not proof enough: the call goes to the gate again, which spends the approval under
today's policy. Everything else that ends a question refuses the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from airlock import approval
from airlock.errors import AirlockError, Conflict
from airlock.model import (
    ApprovalRequest,
    Call,
    Effect,
    Proceed,
    Refusal,
    Refuse,
    Status,
    Verdict,
    Wait,
    Waiter,
)
from airlock.ports import Clock, Store
from airlock.queue.drafts import Scribe
from airlock.queue.endings import Endings
from airlock.queue.lobby import Lobby

LOOK_AGAIN_S = 1.0
"""How often a call whose approval is another waiter's to spend looks whether that one still lives."""

_STILL_SEATED = {
    Refusal.PAUSED,
    Refusal.UNKNOWN_AGENT,
    Refusal.EXPIRED,
    Refusal.CANCELLED,
    Refusal.FAILED,
}
"""Refusals that did not end the seat of the call in the transaction that recorded them."""

OnWait = Callable[[Wait], None]
DecideAgain = Callable[[Call, Waiter | None], Awaitable[Verdict]]

log = logging.getLogger(__name__)


class Abandoned(asyncio.CancelledError):
    """The one who waited was cancelled; `waiting` is what it waited on last."""

    def __init__(self, waiting: Wait) -> None:
        self.waiting = waiting
        super().__init__()


class Parking:
    """Keeps a call until a person, time or its own caller ends its question."""

    def __init__(
        self,
        *,
        store: Store,
        lobby: Lobby,
        scribe: Scribe,
        endings: Endings,
        clock: Clock,
        decide_again: DecideAgain,
    ) -> None:
        self._store = store
        self._lobby = lobby
        self._scribe = scribe
        self._endings = endings
        self._clock = clock
        self._decide_again = decide_again

    async def wait(
        self, waiting: Wait, *, patience_ms: int | None, on_wait: OnWait | None
    ) -> Proceed | Refuse:
        """Wait on this question, and on what it turns into; Abandoned when the waiting is cancelled."""
        until = None if patience_ms is None else self._clock() + patience_ms
        try:
            while True:
                if on_wait is not None:
                    on_wait(waiting)
                verdict = await self._wait_once(waiting, until)
                if isinstance(verdict, Refuse) and verdict.kind in _STILL_SEATED:
                    await self._give_seat_up(waiting)
                if not isinstance(verdict, Wait):
                    return verdict
                waiting = verdict
        except asyncio.CancelledError:
            raise Abandoned(waiting) from None

    async def _give_seat_up(self, waiting: Wait) -> None:
        # A seat that is kept would make the next identical caller wait for a call that is over.
        try:
            await self._endings.leave(waiting, cancel=False)
        except AirlockError as error:
            log.warning("a seat could not be given up: %s", error)

    async def _wait_once(self, waiting: Wait, until: int | None) -> Verdict:
        """Wait until this question is settled for this call, or turns into another question."""
        with self._lobby.seat(waiting.request.id) as bell:
            while True:
                try:
                    seen = await self._look(waiting, until)
                except Conflict:
                    continue
                except AirlockError as error:
                    log.warning("a parked call cannot read its question: %s", error)
                    seen = self._unread(waiting)
                if not isinstance(seen, float):
                    return seen
                await _until_rung(bell, seen)

    async def _look(self, waiting: Wait, until: int | None) -> Verdict | float:
        """What became of the question; or for how many seconds nothing happens unless the bell rings."""
        request = await self._store.find(waiting.request.id)
        if request is None:
            return _without(waiting, Refusal.CANCELLED, "the question was removed")
        now = self._clock()
        match approval.status_at(request, now):
            case Status.PENDING:
                if until is not None and now >= until:
                    return await self._hand_over(waiting)
                ends = request.expires_at if until is None else min(until, request.expires_at)
                return (ends - now) / 1000
            case Status.APPROVED:
                verdict = await self._decide_again(waiting.call, waiting.waiter)
                same = isinstance(verdict, Wait) and verdict.request.status is Status.APPROVED
                return LOOK_AGAIN_S if same else verdict
            case Status.USED:
                return await self._decide_again(waiting.call, waiting.waiter)
            case Status.DENIED:
                return await self._endings.tell_denied(
                    waiting.call, waiting.decision, request, waiting.waiter
                )
            case status:
                return await self._too_late(waiting, replace(request, status=status))

    async def _hand_over(self, waiting: Wait) -> Refuse:
        await self._endings.leave(waiting, cancel=False, keep=True)
        reason = "still waiting for a person to decide: call again with the same arguments to find the answer"
        return _without(waiting, Refusal.PENDING, reason, effect=Effect.ASK)

    async def _too_late(self, waiting: Wait, request: ApprovalRequest) -> Refuse:
        stored = await self._store.find(request.id)
        if request.status is Status.EXPIRED and stored is not None and stored.status.live:
            await self._endings.lapse(stored)
        expired = request.status is Status.EXPIRED
        kind = Refusal.EXPIRED if expired else Refusal.CANCELLED
        reason = "nobody decided in time" if expired else "the question was withdrawn"
        draft = self._scribe.refused(
            waiting.call,
            kind,
            reason,
            hidden=waiting.decision.terms.redact,
            rule=waiting.decision.rule,
            request_id=request.id,
        )
        await self._store.record([draft])
        return _without(waiting, kind, reason)

    def _unread(self, waiting: Wait) -> Refuse | float:
        if self._clock() < waiting.request.expires_at:
            return LOOK_AGAIN_S
        return _without(
            waiting, Refusal.FAILED, "the database cannot be read, and the time to decide is over"
        )


async def _until_rung(bell: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.005, seconds)):
            await bell.wait()
    bell.clear()


def _without(waiting: Wait, kind: Refusal, reason: str, effect: Effect = Effect.DENY) -> Refuse:
    return Refuse(
        call=waiting.call,
        kind=kind,
        reason=reason,
        effect=effect,
        rule=waiting.decision.rule,
        request_id=waiting.request.id,
        tool=waiting.request.tool,
    )
