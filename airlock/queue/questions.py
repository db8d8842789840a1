"""The queue's one desk: finds, opens, joins, spends and reopens questions, each step one transaction.

A lost compare-and-set means that someone else was faster: read again, decide again. Nothing here makes
a Proceed; the gate does, from `Spent`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from airlock import approval
from airlock.canonical import encode, fingerprint
from airlock.config import Config
from airlock.errors import Conflict, StoreBusy
from airlock.model import (
    NOTHING,
    ApprovalRequest,
    Call,
    Controls,
    Decision,
    Grant,
    Part,
    Refusal,
    Refuse,
    Risk,
    Status,
    Wait,
    Waiter,
)
from airlock.ports import Change, Clock, MakeId, Store
from airlock.queue.drafts import Scribe
from airlock.queue.endings import ATTEMPTS, Endings, ended
from airlock.queue.lobby import Lobby
from airlock.values import dataclass

MOST_SHOWN = 4 * 1024 * 1024
"""Bytes of arguments that a person is asked about; a hundred questions of one agent stay within bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """An approval was spent on this call: its event is committed, the call may run."""

    request: ApprovalRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One call at the desk. `waiter` is its seat when it waited before; without `attend` nobody will wait."""

    call: Call
    decision: Decision
    controls: Controls
    mark: str
    waiter: Waiter | None
    attend: bool


Asked: TypeAlias = Spent | Wait | Refuse


def identify(key: bytes, call: Call, *, arguments: bool = True) -> str:
    """What an approval is bound to (decisions.md 20); without the arguments, a grant's wider scope."""
    facts: dict[str, object] = {
        "workspace": call.origin.workspace,
        "agent": call.agent,
        "provider": call.provider,
        "endpoint": call.endpoint,
        "kind": str(call.kind),
        "name": call.name,
    }
    if arguments:
        facts["arguments"] = dict(call.arguments)
        if call.origin.road == "hook" or call.parts:
            facts["cwd"] = call.origin.cwd
    elif call.parts:
        # A shell line is named by its first part; a yes for any arguments is for just these tools.
        facts["parts"] = sorted({_program(part) for part in call.parts})
    return fingerprint(key, facts)


def _program(part: Part) -> str:
    """What a wide yes covers of a part: its name; for `bash/_path`, which is none, the program itself."""
    return f"{part.tool} {part.arguments.get('path')}" if part.tool == "bash/_path" else part.tool


def _end(call: Call, usual: int) -> int:
    """When a question ends: as usual, or when its caller said so."""
    until = call.overlay.until if call.overlay is not None else None
    return usual if until is None else min(usual, until)


def _mark(identity: str, call: Call) -> str:
    """The fingerprint of a question: a call that is asked once shares it with no other."""
    return f"{identity}.{call.once}" if call.once else identity


class Questions:
    """Everything the gate does with approval requests of calls that ask."""

    def __init__(
        self,
        *,
        store: Store,
        lobby: Lobby,
        scribe: Scribe,
        endings: Endings,
        config: Config,
        key: bytes,
        clock: Clock,
        make_id: MakeId,
        make_code: Callable[[int], str],
    ) -> None:
        self._store = store
        self._lobby = lobby
        self._scribe = scribe
        self._endings = endings
        self.config = config
        self._key = key
        self._clock = clock
        self._make_id = make_id
        self._make_code = make_code

    def granted(self, call: Call, decision: Decision, controls: Controls) -> Grant | None:
        """The standing grant that covers this call, if there is one."""
        if not controls.grants or not _grantable(call, decision):
            return None
        exact, scope = identify(self._key, call), identify(self._key, call, arguments=False)
        return next(
            (
                grant
                for grant in controls.grants
                if approval.grant_covers(
                    grant,
                    fingerprint=exact,
                    scope=scope,
                    rule_digest=decision.rule_digest,
                    now=self._clock(),
                )
            ),
            None,
        )

    async def answered(self, call: Call, waiter: Waiter | None) -> bool:
        """True when this caller may spend an approval of this very call: it goes before every grant, so
        that what a person said yes to is recorded as such, and nothing of it is left when the grant ends."""
        request = await self._store.live(_mark(identify(self._key, call), call))
        if request is None or approval.status_at(request, self._clock()) is not Status.APPROVED:
            return False
        return await self._may_spend(request, waiter)

    async def ask(
        self, call: Call, decision: Decision, controls: Controls, *, waiter: Waiter | None, attend: bool
    ) -> Asked:
        """Find or open the question for this call. `waiter` is the call's own seat when it waited already."""
        if attend:
            await self._lobby.enter()
        asking = Asking(
            call=call,
            decision=decision,
            controls=controls,
            mark=_mark(identify(self._key, call), call),
            waiter=waiter,
            attend=attend,
        )
        for _ in range(ATTEMPTS):
            try:
                return await self._ask_once(asking)
            except Conflict:
                continue
        raise StoreBusy("the queue is too busy: another process won every race for this question")

    async def _ask_once(self, asking: Asking) -> Asked:
        request = await self._store.live(asking.mark)
        now = self._clock()
        if request is None:
            return await self._open_or_tell(asking)
        match approval.status_at(request, now):
            case Status.PENDING:
                return await self._join(asking, request)
            case Status.APPROVED if await self._may_spend(request, asking.waiter):
                return await self._spend(asking, request)
            case Status.APPROVED:
                return await self._join(asking, request)
            case _:
                await self._endings.lapse(request)
                return await self._open_or_tell(asking)

    async def _may_spend(self, request: ApprovalRequest, waiter: Waiter | None) -> bool:
        # The oldest living waiter spends; whoever was not waiting only when nobody waits (decisions.md 25).
        living = await self._store.waiters(request.id)
        return not living or (waiter is not None and living[0].id == waiter.id)

    async def _spend(self, asking: Asking, request: ApprovalRequest) -> Spent | Wait:
        now = self._clock()
        if not approval.satisfied(request.votes, asking.decision.terms.reviewers, self.config.people):
            return await self._reopen(asking, request)
        used = replace(request, version=request.version + 1, status=Status.USED)
        event = self._scribe.decided("request.used", asking.call, asking.decision, by=request.decided_by)
        await self._store.commit(
            Change(
                events=(event._replace(request_id=request.id),),
                requests=(used,),
                waiters=ended(asking.waiter, now),
                controls=asking.controls.revision,
            )
        )
        self._lobby.wake((used,))
        return Spent(request=used)

    async def spend(
        self, call: Call, decision: Decision, controls: Controls, request: ApprovalRequest
    ) -> Spent | Wait:
        """Spend an approval on the caller that it was given to and that did not wait for it here.

        Today's policy may want more: then the question opens again. Conflict or Stale: read again.
        """
        asking = Asking(
            call=call,
            decision=decision,
            controls=controls,
            mark=request.fingerprint,
            waiter=None,
            attend=False,
        )
        return await self._spend(asking, request)

    async def _reopen(self, asking: Asking, request: ApprovalRequest) -> Wait:
        again = approval.reopened(
            request,
            reviewers=asking.decision.terms.reviewers,
            now=self._clock(),
            timeout_ms=self._timeout(asking.decision),
        )
        seat = self._seat(request.id, asking)
        event = self._scribe.request("request.reopened", again, call_id=asking.call.id)
        await self._store.commit(
            Change(events=(event,), requests=(again,), waiters=_new(seat, asking.waiter))
        )
        self._lobby.wake((again,))
        return Wait(call=asking.call, decision=asking.decision, request=again, waiter=seat)

    async def _join(self, asking: Asking, request: ApprovalRequest) -> Wait:
        if asking.waiter is not None and asking.waiter.request_id == request.id:
            return Wait(call=asking.call, decision=asking.decision, request=request, waiter=asking.waiter)
        seat = self._seat(request.id, asking)
        rows: tuple[ApprovalRequest, ...] = ()
        if not asking.attend and not request.kept:
            request = replace(request, version=request.version + 1, kept=True)
            rows = (request,)
        event = self._scribe.request("request.joined", request, call_id=asking.call.id)
        await self._store.commit(
            Change(
                events=(event,),
                requests=rows,
                waiters=(*ended(asking.waiter, self._clock()), *_new(seat, asking.waiter)),
            )
        )
        return Wait(call=asking.call, decision=asking.decision, request=request, waiter=seat)

    async def _open_or_tell(self, asking: Asking) -> Asked:
        latest = None if asking.waiter is not None else await self._store.latest(asking.mark)
        if latest is not None and approval.unheard(latest, self._clock()):
            return await self._endings.tell_denied(asking.call, asking.decision, latest)
        if await self._full(asking.call.agent):
            reason = f"{self.config.approvals.max_pending} requests of this agent wait already"
            return await self._refuse(asking, asking.call, reason)
        size = len(encode(self._scribe.arguments(asking.call, asking.decision)))
        if size > MOST_SHOWN:
            reason = f"its arguments are {size:,} bytes: nobody can judge that"
            return await self._refuse(asking, asking.call._replace(arguments=NOTHING), reason)
        return await self._open(asking)

    async def _refuse(self, asking: Asking, recorded: Call, reason: str) -> Refuse:
        """Beyond a limit: no question is opened."""
        decision = asking.decision
        event = self._scribe.refused(
            recorded, Refusal.LIMIT, reason, hidden=decision.terms.redact, rule=decision.rule
        )
        await self._store.commit(Change(events=(event,), waiters=ended(asking.waiter, self._clock())))
        return Refuse(
            call=asking.call, kind=Refusal.LIMIT, reason=reason, rule=decision.rule, tool=decision.tool
        )

    async def _full(self, agent: str) -> bool:
        limit = self.config.approvals.max_pending
        if await self._store.count_pending(agent) < limit:
            return False
        await self._endings.sweep(agent)
        return await self._store.count_pending(agent) >= limit

    async def _open(self, asking: Asking) -> Wait:
        request = self._request(asking)
        seat = self._seat(request.id, asking)
        event = self._scribe.decided(
            "request.opened", asking.call, asking.decision, expires_at=request.expires_at
        )
        await self._store.commit(
            Change(
                events=(event._replace(request_id=request.id),),
                requests=(request,),
                waiters=(*ended(asking.waiter, request.created_at), *_new(seat, asking.waiter)),
                controls=asking.controls.revision,
            )
        )
        return Wait(call=asking.call, decision=asking.decision, request=request, waiter=seat)

    def _request(self, asking: Asking) -> ApprovalRequest:
        call, decision, kept = asking.call, asking.decision, not asking.attend
        now = self._clock()
        return ApprovalRequest(
            id=self._make_id(),
            code=self._make_code(self.config.approvals.code_length),
            fingerprint=asking.mark,
            scope=identify(self._key, call, arguments=False),
            agent=call.agent,
            identity=call.principal.identity,
            kind=call.kind,
            tool=decision.tool or call.tool,
            arguments=encode(self._scribe.arguments(call, decision)).decode(),
            parts=tuple(part.tool for part in call.parts),
            origin=call.origin,
            call_id=call.id,
            rule=decision.rule,
            rule_digest=decision.rule_digest,
            reason=decision.reason,
            matched=tuple(one.rule for one in decision.matched if not one.observed),
            risk=decision.terms.risk,
            reviewers=decision.terms.reviewers,
            reuse_ms=decision.terms.reuse_ms,
            grantable=_grantable(call, decision),
            kept=kept,
            again=asking.waiter is not None,
            created_at=now,
            expires_at=_end(call, now + self._timeout(decision)),
            grace_ms=self.config.approvals.grace_ms,
            attended_at=None if kept else now,
        )

    def _timeout(self, decision: Decision) -> int:
        return decision.terms.timeout_ms or self.config.approvals.timeout_ms

    def _seat(self, request_id: str, asking: Asking) -> Waiter | None:
        if asking.waiter is not None and asking.waiter.request_id == request_id:
            return asking.waiter
        if not asking.attend:
            return None
        return Waiter(
            id=self._make_id(),
            request_id=request_id,
            process_id=self._store.process_id,
            since=self._clock(),
        )


def _grantable(call: Call, decision: Decision) -> bool:
    names = [part.tool for part in call.parts] or [call.tool]
    return (
        decision.terms.risk is not Risk.HIGH
        and decision.terms.quorum == 1
        and not any(name.endswith("/_complex") for name in names)
    )


def _new(seat: Waiter | None, waiter: Waiter | None) -> tuple[Waiter, ...]:
    return () if seat is None or seat is waiter else (seat,)
