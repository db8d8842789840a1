"""The one gate: every call of every face is decided here, and only here is a Proceed made.

No Proceed before its audit event is committed. Whatever raises, no call proceeds. An approval is spent
in one place (`Questions._spend`), by an identical call, under today's policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airlock.config import Config
from airlock.errors import AirlockError, Conflict, Stale, StoreBusy, StoreError
from airlock.ids import make_code as random_code
from airlock.ids import make_id as random_id
from airlock.ids import now_ms
from airlock.model import (
    Call,
    Controls,
    Decision,
    Effect,
    Ended,
    Outcome,
    Proceed,
    Refusal,
    Refuse,
    Status,
    Verdict,
    Wait,
    Waiter,
)
from airlock.policy import Facts, Policy
from airlock.ports import Change, Clock, Draft, MakeId, Notifier, Store
from airlock.queue.counter import Counter
from airlock.queue.drafts import Scribe
from airlock.queue.endings import ATTEMPTS, Endings
from airlock.queue.lobby import Lobby
from airlock.queue.parking import Abandoned, OnWait, Parking
from airlock.queue.questions import Questions, Spent
from airlock.redaction import Redactor

log = logging.getLogger(__name__)


class Gate(Counter):
    """submit · wait · authorize · withdraw · leave · complete · preview; and, from the Desk, what people do.

    `submit` and `wait` never raise but for cancellation: a failure is a Refuse.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        store: Store,
        config: Config,
        redactor: Redactor,
        fingerprint_key: bytes,
        notifiers: Sequence[Notifier] = (),
        clock: Clock = now_ms,
        make_id: MakeId = random_id,
        make_code: Callable[[int], str] = random_code,
    ) -> None:
        self.policy = policy
        self._key = fingerprint_key
        self._lobby = Lobby(store, clock)
        scribe = Scribe(redactor, clock, make_id)
        self._endings = Endings(store=store, lobby=self._lobby, scribe=scribe, clock=clock)
        self._questions = Questions(
            store=store,
            lobby=self._lobby,
            scribe=scribe,
            endings=self._endings,
            config=config,
            key=fingerprint_key,
            clock=clock,
            make_id=make_id,
            make_code=make_code,
        )
        self._parking = Parking(
            store=store,
            lobby=self._lobby,
            scribe=scribe,
            endings=self._endings,
            clock=clock,
            decide_again=self._decide_again,
        )
        super().__init__(
            store=store,
            config=config,
            scribe=scribe,
            lobby=self._lobby,
            notifiers=notifiers,
            clock=clock,
            make_id=make_id,
        )

    def adopt(self, policy: Policy, config: Config, redactor: Redactor | None = None) -> None:
        """Decide by this policy from now on; parked calls meet it when their answer is used."""
        self.policy = policy
        self.config = config
        self._questions.config = config
        if redactor is not None:
            self._scribe.adopt(redactor)

    def vouch(self, text: str) -> str:
        """A mark that only we can make: what carries it was handed out here, maybe before a restart."""
        return hmac.new(self._key, b"handed out\0" + text.encode(), "sha256").hexdigest()

    # -- deciding ------------------------------------------------------------------------------------

    def submit_now(self, call: Call) -> Proceed | Refuse | None:
        """`submit_all_now` for one call."""
        return self.submit_all_now((call,))[0]

    def submit_all_now(self, calls: Sequence[Call]) -> list[Proceed | Refuse | None]:
        """Decide plain calls that came together without waiting for anything; None where `submit` has to.

        It is `submit` for the usual case: a known agent, no pause, no facts to gather, allow or deny,
        and events that could be committed in place, all in one transaction, before any verdict is given.
        Whatever goes wrong here leaves every call to `submit`, which refuses the one that it is about.
        Held against `submit` by a property test.
        """
        try:
            controls, facts = self._store.controls_now(), Facts(self._clock())
            decided: list[Decision | None] = []
            drafts: list[Draft] = []
            for call in calls:
                decision = None if controls.pauses else self._decide_now(call, facts)
                decided.append(decision)
                if decision is not None:
                    drafts.append(self._scribe.decided(_KINDS[decision.effect], call, decision, facts.now))
            committed = bool(drafts) and self._store.record_all_now(drafts, controls.revision)
        except Exception:
            # The gate's outer edge for the fast path: `submit` meets the same failure, and tells of it.
            log.debug("the fast path gave up", exc_info=True)
            committed = False
        if not committed:
            return [None] * len(calls)
        now = self._clock()
        return [
            None if decision is None else _verdict(call, decision, now)
            for call, decision in zip(calls, decided, strict=True)
        ]

    def _decide_now(self, call: Call, facts: Facts) -> Decision | None:
        """The decision, if it is one that takes nothing but an event; None otherwise."""
        decision = self.policy.evaluate_plain(call, facts) if call.overlay is None else None
        if decision is None or decision.effect is _ASK or decision.terms.rates:
            return None
        return decision

    async def submit(self, call: Call, *, attend: bool = True) -> Verdict:
        """Decide a call. Without `attend` a question stays open until it expires, with nobody waiting."""
        return await self._whole(call, None, attend=attend)

    async def _decide_again(self, call: Call, waiter: Waiter | None) -> Verdict:
        return await self._whole(call, waiter, attend=True)

    async def _whole(self, call: Call, waiter: Waiter | None, *, attend: bool) -> Verdict:
        """Decide to the end even when the caller goes away meanwhile: no seat is left that nobody sits in."""
        work = asyncio.create_task(self._guarded(call, waiter, attend=attend))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._spawn(self._abandon(work))
            raise

    async def _abandon(self, work: asyncio.Task[Verdict]) -> None:
        verdict = await work
        if isinstance(verdict, Wait):
            await self.leave(verdict)
        elif isinstance(verdict, Proceed):
            await self.complete(verdict, Outcome.CANCELLED)

    async def _guarded(self, call: Call, waiter: Waiter | None, *, attend: bool) -> Verdict:
        try:
            return await self._submit(call, waiter, attend=attend)
        except StoreError as error:
            log.warning("call of `%s` refused: %s", call.tool, error)
            reason = "cannot be decided: the database cannot be used"  # where it lies is no agent's business
        except AirlockError as error:
            log.warning("call of `%s` refused: %s", call.tool, error)
            reason = f"cannot be decided: {error}"
        except Exception:
            # The gate's outer edge: a defect of ours refuses the call, it never lets it through.
            log.exception("call of `%s` refused", call.tool)
            reason = "cannot be decided: internal failure"
        with contextlib.suppress(Exception):
            await self._store.record([self._scribe.failed(call, reason)])
        return Refuse(call=call, kind=Refusal.FAILED, reason=reason)

    async def _submit(self, call: Call, waiter: Waiter | None, *, attend: bool) -> Verdict:
        for attempt in range(ATTEMPTS):
            # What is remembered will do, since every write names its revision; only a pause is read anew.
            controls = self._store.controls_now()
            if attempt or controls.pauses:
                controls = await self._store.controls()
            try:
                return await self._decide(call, controls, waiter, attend=attend)
            except (Stale, Conflict):
                continue  # pauses, grants or a rate moved under us: decide again on what is true now
        raise StoreBusy("pauses and grants change too fast to decide on")

    async def _decide(
        self, call: Call, controls: Controls, waiter: Waiter | None, *, attend: bool
    ) -> Verdict:
        if controls.paused(call.agent):
            return await self._turn_away(
                call, Refusal.PAUSED, "everything is paused: a person must resume it"
            )
        if not self.policy.knows(call.agent):
            return await self._turn_away(call, Refusal.UNKNOWN_AGENT, f"unknown agent `{call.agent}`")
        decision = await self.judged(call)
        if decision.effect is Effect.DENY:
            await self._record(call, "call.denied", decision, controls)
            await self._forget(call, waiter)
            return _refuse(call, decision)
        if decision.effect is Effect.ALLOW:
            await self._record(call, "call.allowed", decision, controls)
            await self._forget(call, waiter)
            return _proceed(call, decision, self._clock())
        return await self._ask(call, decision, controls, waiter, attend=attend)

    async def _record(
        self, call: Call, kind: str, decision: Decision, controls: Controls, grant: str = ""
    ) -> None:
        more = {"grant": grant} if grant else {}
        draft = self._scribe.decided(kind, call, decision, None, **more)
        if decision.terms.rates and kind == "call.allowed":
            change = Change(events=(draft,), rates=decision.terms.rates, controls=controls.revision)
            await self._store.commit(change)
        elif not self._store.record_now(draft, controls.revision):
            await self._store.record([draft], controls.revision)

    async def _turn_away(self, call: Call, kind: Refusal, reason: str) -> Refuse:
        await self._store.record([self._scribe.refused(call, kind, reason, hidden=self.hidden(call))])
        return Refuse(call=call, kind=kind, reason=reason)

    async def _ask(
        self, call: Call, decision: Decision, controls: Controls, waiter: Waiter | None, *, attend: bool
    ) -> Verdict:
        grant = self._questions.granted(call, decision, controls)
        if grant is not None and not await self._questions.answered(call, waiter):
            await self._record(call, "call.allowed", decision, controls, grant.id)
            await self._forget(call, waiter)
            return _proceed(call, decision, self._clock(), grant_id=grant.id)
        asked = await self._questions.ask(call, decision, controls, waiter=waiter, attend=attend)
        if isinstance(asked, Spent):
            return _proceed(call, decision, self._clock(), request_id=asked.request.id)
        if isinstance(asked, Wait) and asked.request.status is Status.PENDING and _is_news(asked, waiter):
            self._tell(asked.request, opened=True)
        return asked

    async def _forget(self, call: Call, waiter: Waiter | None) -> None:
        """Withdraw the question of a call that no longer needs its answer."""
        if waiter is None:
            return
        request = await self._store.find(waiter.request_id)
        if request is not None:
            decision = Decision(effect=Effect.ASK, tool=request.tool)
            await self._endings.leave(
                Wait(call=call, decision=decision, request=request, waiter=waiter), cancel=True
            )

    async def preview(self, call: Call) -> Decision:
        """What the policy says of a call, deciding and recording nothing."""
        return await self.judged(call)

    # -- waiting -------------------------------------------------------------------------------------

    async def authorize(
        self, call: Call, *, patience_ms: int | None = None, on_wait: OnWait | None = None
    ) -> Proceed | Refuse:
        """`submit`, and `wait` when it must; `on_wait` is told of the question, and of the next one."""
        verdict = await self.submit(call)
        if not isinstance(verdict, Wait):
            return verdict
        return await self.wait(verdict, patience_ms=patience_ms, on_wait=on_wait)

    async def wait(
        self, waiting: Wait, *, patience_ms: int | None = None, on_wait: OnWait | None = None
    ) -> Proceed | Refuse:
        """Wait for the person. Cancelling this leaves the question to its grace.

        When the patience is over it refuses with `Refusal.PENDING` and keeps the question open.
        """
        try:
            return await self._parking.wait(waiting, patience_ms=patience_ms, on_wait=on_wait)
        except Abandoned as gone:
            self._spawn(self.leave(gone.waiting))
            raise asyncio.CancelledError from None

    async def withdraw(self, waiting: Wait) -> None:
        """The caller cancelled: its question goes, unless somebody else waits on it too."""
        await self._endings.leave(waiting, cancel=True)

    async def leave(self, waiting: Wait) -> None:
        """The caller went away: its question stays decidable for the grace."""
        await self._endings.leave(waiting, cancel=False)

    def alive(self) -> contextlib.AbstractAsyncContextManager[None]:
        """While in it other processes see that this one lives, and leave to it what it has begun."""
        return self._lobby.alive()

    async def tidy(self) -> int:
        """Write down every question whose time is over; how many there were."""
        return await self._endings.sweep()

    # -- afterwards ----------------------------------------------------------------------------------

    async def complete(self, proceed: Proceed, outcome: Outcome, *, error: str = "") -> None:
        """Record how a call came out just now. A failure to record is logged: the call has run already."""
        await self.record_end(self.ended(proceed, outcome, error))

    def ended(self, proceed: Proceed, outcome: Outcome, error: str = "") -> Ended:
        """How a call came out just now, to be recorded a moment later."""
        return Ended(proceed, outcome, error, self._clock())

    async def record_end(self, ended: Ended) -> None:
        """`complete` for what ended before."""
        try:
            await self._store.record([self._scribe.completed(ended)])
        except AirlockError as problem:
            log.warning("the outcome of `%s` could not be recorded: %s", ended.proceed.call.tool, problem)

    def record_ends_now(self, ended: Sequence[Ended]) -> bool:
        """The same for several in one transaction, without waiting; False when `record_end` has to."""
        drafts = [self._scribe.completed(one) for one in ended]
        try:
            return self._store.record_all_now(drafts, self._store.controls_now().revision)
        except AirlockError:
            return False

    async def remark(self, kind: str, body: Mapping[str, Any], *, agent: str = "") -> None:
        """Record something that is about no call's decision: a server that asked, a policy that changed."""
        try:
            await self._store.record([self._scribe.note(kind, body, agent=agent)])
        except AirlockError as problem:
            log.warning("`%s` could not be recorded: %s", kind, problem)


_ALLOW, _ASK = Effect.ALLOW, Effect.ASK  # for the fast path: each look at a class of words is a call
_KINDS = {Effect.ALLOW: "call.allowed", Effect.DENY: "call.denied"}


def _verdict(call: Call, decision: Decision, now: int) -> Proceed | Refuse:
    """What follows from a plain decision that is committed."""
    return _proceed(call, decision, now) if decision.effect is _ALLOW else _refuse(call, decision)


def _proceed(call: Call, decision: Decision, now: int, request_id: str = "", grant_id: str = "") -> Proceed:
    return Proceed(call, decision, now, request_id, grant_id)


def _refuse(call: Call, decision: Decision) -> Refuse:
    reason = decision.reason or "denied by policy"
    return Refuse(call=call, kind=Refusal.POLICY, reason=reason, rule=decision.rule, tool=decision.tool)


def _is_news(asked: Wait, waiter: Waiter | None) -> bool:
    """True when people have not been told of this question yet: it was opened or reopened just now."""
    opened = asked.request.version == 1 and asked.request.call_id == asked.call.id
    return opened or (waiter is not None and asked.request.id == waiter.request_id)
