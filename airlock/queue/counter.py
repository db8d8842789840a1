"""The gate's counter, for callers that do not wait in this process: API clients, who ask and come back.

Its question stays open until it expires. A yes is spent when whoever asked comes for it, under the policy
of that moment, so that there is one use here as well; what it then did, it may report.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from airlock import approval
from airlock.errors import Conflict, NotPermitted, Stale, StoreBusy
from airlock.model import ApprovalRequest, Call, Controls, Decision, Effect, Outcome, Status
from airlock.overlays import joined
from airlock.policy import Facts, Policy
from airlock.ports import Change, Draft
from airlock.queue.desk import Desk
from airlock.queue.endings import ATTEMPTS
from airlock.queue.facts import gather
from airlock.queue.questions import Questions, Spent


class Counter(Desk):
    """What a caller can do that has gone and comes back."""

    policy: Policy
    _questions: Questions

    async def judged(self, call: Call) -> Decision:
        """What the policies say of a call: the config's, and those of the API that it came through."""
        facts = await gather(self.policy.needs(call), self._store, self._clock())
        return joined(self.policy.evaluate(call, facts), call.overlay)

    def hidden(self, call: Call) -> frozenset[str]:
        """The paths in a call's arguments that the rules for it redact, though nothing was decided."""
        return self.policy.evaluate(call, Facts(now=self._clock())).terms.redact

    def shown(self, call: Call, decision: Decision) -> dict[str, Any]:
        """A call's arguments as anyone may see them under this decision."""
        return self._scribe.arguments(call, decision)

    async def collect(self, call: Call, reference: str) -> ApprovalRequest:
        """Give whoever asked the answer to its question: the request as it is then.

        An approval is `used` afterwards: it was spent here, or before. What today's policy denies ends as
        cancelled, what it wants more for is pending again. While everything is paused nothing is given
        out: NotPermitted. `call` is the call that was asked about, by the same principal.
        """
        for _ in range(ATTEMPTS):
            request = await self.request(reference)
            if request.identity != call.principal.identity:
                raise NotPermitted("only whoever asked can use the answer")
            if request.status is not Status.APPROVED:
                return request
            controls = await self._store.controls()
            if controls.paused(call.agent):
                raise NotPermitted("everything is paused: a person must resume it")
            try:
                return await self._collected(call, controls, request)
            except (Conflict, Stale):
                continue
        raise StoreBusy(f"request `{reference[:64]}` changes too fast: try again")

    async def retract(self, call: Call, reference: str) -> ApprovalRequest:
        """Withdraw a question that its caller asked and nobody has answered: the request as it is then.

        `call` is by the principal that asked: NotPermitted for anyone else. What was decided stays so.
        """
        for _ in range(ATTEMPTS):
            request = await self.request(reference)
            if request.identity != call.principal.identity:
                raise NotPermitted("only whoever asked can withdraw the question")
            if request.status is not Status.PENDING:
                return request
            over = approval.ended(request, Status.CANCELLED, self._clock(), note="withdrawn by its caller")
            event = self._scribe.request("request.cancelled", over, call_id=call.id)
            try:
                await self._store.commit(Change(events=(event,), requests=(over,)))
            except (Conflict, Stale):
                continue
            self._lobby.wake((over,))
            return over
        raise StoreBusy(f"request `{reference[:64]}` changes too fast: try again")

    async def settled(self, reference: str, *, seconds: float) -> ApprovalRequest:
        """The request as soon as it no longer waits for a person; as it is, when the time is over."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        request = await self.request(reference)
        with self._lobby.seat(request.id) as bell:
            while True:
                bell.clear()
                request = await self.request(reference)
                left = end - clock()
                if request.status is not Status.PENDING or left <= 0:
                    return request
                # Expiry is not committed by anyone: it must be looked for.
                due = (approval.decidable_until(request) - self._clock()) / 1000 + 0.01
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.01, min(left, due))):
                        await bell.wait()

    async def _collected(self, call: Call, controls: Controls, request: ApprovalRequest) -> ApprovalRequest:
        decision = await self.judged(call)
        if decision.effect is Effect.DENY:
            return await self._forbidden(call, decision, controls, request)
        asked = await self._questions.spend(call, decision, controls, request)
        if isinstance(asked, Spent):
            return asked.request
        self._tell(asked.request, opened=True)
        return asked.request

    async def _forbidden(
        self, call: Call, decision: Decision, controls: Controls, request: ApprovalRequest
    ) -> ApprovalRequest:
        """The policy changed after the yes: nothing may run on it any more."""
        now, reason = self._clock(), decision.reason or "denied by policy"
        over = approval.ended(request, Status.CANCELLED, now, by="policy", note=reason)
        denied = self._scribe.decided("call.denied", call, decision)._replace(request_id=request.id)
        events = (self._scribe.request("request.cancelled", over), denied)
        await self._store.commit(Change(events=events, requests=(over,), controls=controls.revision))
        self._lobby.wake((over,))
        return over

    def reported(
        self,
        call: Call,
        outcome: Outcome,
        *,
        request_id: str = "",
        started_at: int,
        details: Mapping[str, Any] | None = None,
    ) -> Draft:
        """The event for how a call came out that ran elsewhere; whoever keeps the report commits it too."""
        body: dict[str, Any] = {
            "outcome": str(outcome),
            "duration_ms": max(0, self._clock() - started_at),
            "road": call.origin.road,
            "by": call.principal.identity,
        }
        if details:
            body["details"] = self.masked(details)
        return Draft(
            id=self._make_id(),
            kind="call.completed",
            at=self._clock(),
            call_id=call.id,
            request_id=request_id,
            agent=call.agent,
            tool=call.tool,
            body=body,
        )
