"""What a client wants done, through the gate: tools/call, resources/read, prompts/get and subscriptions.

Nothing is sent to an upstream without a Proceed, and what is sent are the arguments that were judged. The
usual call takes no task and no coroutine: lookup, `submit_all_now`, `request`, and the reply's callback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airlock.errors import UpstreamError, WireError
from airlock.model import Call, Effect, Ended, JsonObject, Kind, Outcome, Proceed, Refusal, Refuse, Wait
from airlock.proxy.catalog import Catalog, Target
from airlock.proxy.eras import COMPLETE, INPUT_REQUIRED, LOG_LEVEL, TASK, reply_for, result_type
from airlock.proxy.link import Reply
from airlock.proxy.router import Router
from airlock.proxy.session.answers import Answers, asked_name, outcome_of
from airlock.proxy.session.client import Client, Exchange
from airlock.proxy.session.docket import Docket
from airlock.proxy.session.errand import Detaching, Errand
from airlock.proxy.session.waiting import Ticker, patience
from airlock.proxy.wire import INTERNAL_ERROR, INVALID_PARAMS

if TYPE_CHECKING:
    from airlock.gate import Gate

START_SECONDS: Final = 10.0
"""How long a call waits for an upstream that is starting (decisions.md 42)."""

_TIMED_OUT: Final = re.compile(r"time(d)? ?out", re.IGNORECASE)


class Calls:
    """Runs the gated requests of one client."""

    def __init__(
        self, client: Client, gate: Gate, router: Router, catalog: Catalog, docket: Docket | None = None
    ) -> None:
        self._client = client
        self._gate = gate
        self._router = router
        self._catalog = catalog
        self._answers = Answers(client)
        self.on_input_required: Callable[[Errand, Proceed, Reply], None] | None = None
        """What to do when an upstream wants input first; set by the one who can ask the client."""
        self.tasks: Detaching | None = None
        """Who can answer a call with a task; None when nobody can."""
        self.log_level = ""
        self._gathered: list[tuple[Calls, Errand]] | None = None
        self._shared = docket is not None
        self.docket = docket or Docket(gate)
        self._leaving = False

    # -- what the client asks for --------------------------------------------------------------------

    def tool(self, exchange: Exchange, params: JsonObject) -> None:
        """tools/call."""
        name, arguments = params.get("name"), params.get("arguments", _ABSENT)
        if type(name) is not str or (arguments is not _ABSENT and type(arguments) is not dict):
            problem = "`name` must be a string" if type(name) is not str else "`arguments` must be an object"
            self._client.fail(exchange, INVALID_PARAMS, problem)
            return
        target = self._catalog.tool(name)
        if target is None or target.upstream.phase != "ready":
            find = partial(self._catalog.tool, name)
            exchange.task = self._client.spawn(self._find(exchange, Kind.TOOL, name, params, find))
            return
        self._begin(exchange, _TOOL, target, params)

    def prompt(self, exchange: Exchange, params: JsonObject) -> None:
        """prompts/get."""
        name, arguments = params.get("name"), params.get("arguments", _ABSENT)
        if type(name) is not str or (arguments is not _ABSENT and type(arguments) is not dict):
            self._client.fail(exchange, INVALID_PARAMS, "`name` must be a string, `arguments` an object")
            return
        self._look_up(exchange, Kind.PROMPT, name, params, partial(self._catalog.prompt, name))

    def resource(self, exchange: Exchange, params: JsonObject) -> None:
        """resources/read."""
        uri = params.get("uri")
        if type(uri) is not str:
            self._client.fail(exchange, INVALID_PARAMS, "`uri` must be a string")
            return
        self._look_up(exchange, Kind.RESOURCE, uri, params, partial(self._catalog.resource, uri))

    def _look_up(
        self, exchange: Exchange, kind: Kind, name: str, params: JsonObject, find: Callable[[], Target | None]
    ) -> None:
        target = find()
        if target is None or target.upstream.state.phase != "ready":
            exchange.task = self._client.spawn(self._find(exchange, kind, name, params, find))
        else:
            self._begin(exchange, kind, target, params)

    async def _find(
        self, exchange: Exchange, kind: Kind, name: str, params: JsonObject, find: Callable[[], Target | None]
    ) -> None:
        """What was asked for is not there now: wait for what is starting, then say what is wrong."""
        target = find()
        if target is None:
            await self._router.settle(START_SECONDS, lambda: find() is not None)
            target = find()
        elif target.upstream.state.phase != "ready":
            await target.upstream.ready(START_SECONDS)
            target = find() or target
        if exchange.over:
            return
        if target is None:
            await self._unknown(exchange, kind, name, params)
        elif target.upstream.state.phase != "ready":
            await self._down(exchange, kind, target, params)
        else:
            self._begin(exchange, kind, target, params)

    # -- the gate ------------------------------------------------------------------------------------

    def _call(self, kind: Kind, target: Target, params: JsonObject) -> Call:
        arguments = params.get("arguments", {}) if kind is not Kind.RESOURCE else {}
        return self._client.call(
            kind, target.provider, target.name, arguments, target.endpoint, params.get("_meta")
        )

    def _begin(self, exchange: Exchange, kind: Kind, target: Target, params: JsonObject) -> None:
        arguments = params.get("arguments", {}) if kind is not _RESOURCE else {}
        call = self._client.call(
            kind, target.provider, target.name, arguments, target.endpoint, params.get("_meta")
        )
        errand = Errand(exchange, target, kind, exchange.method, self._outgoing(kind, target, params), call)
        if self._gathered is not None:
            self._gathered.append((self, errand))
        elif self._shared:
            self.docket.enter(self, errand)
        else:
            self.docket.judge([(self, errand)])

    def together(self, receive: Callable[[JsonObject], None], frames: Iterable[JsonObject]) -> None:
        """The calls that these frames begin are judged at the end, in order, and recorded as one."""
        gathered: list[tuple[Calls, Errand]] = []
        self._gathered = gathered
        try:
            for frame in frames:
                receive(frame)
        finally:
            self._gathered = None
            if gathered:
                self.docket.judge(gathered)

    def judged(self, errand: Errand, verdict: Proceed | Refuse | None) -> None:
        """Do what the gate said at once; None: it takes longer."""
        if verdict is not None:
            self.settle(errand, verdict)
        elif not errand.exchange.over:  # given up in the same breath: nobody is asked about it
            errand.exchange.task = self._client.finish(self._authorize(errand))

    def _outgoing(self, kind: Kind, target: Target, params: JsonObject) -> JsonObject:
        """The params for the upstream: its own name for the thing, everything else as it came."""
        sent = params if kind is _RESOURCE else {**params, "name": target.name}
        if "task" in sent:  # the experimental tasks of 2025-11-25 are not promised, so they are not asked for
            sent = {name: value for name, value in sent.items() if name != "task"}
        if "inputResponses" in sent and target.upstream.state.era == "legacy":
            sent = {name: value for name, value in sent.items() if name != "inputResponses"}
        if self.log_level and target.upstream.state.era == "modern" and self._client.era == "legacy":
            sent = {**sent, "_meta": {**_meta(sent), LOG_LEVEL: self.log_level}}
        return sent

    async def _authorize(self, errand: Errand) -> None:
        self.settle(errand, await self._verdict(errand))

    async def _verdict(self, errand: Errand) -> Proceed | Refuse:
        return await self.authorize(errand.exchange, errand.call, errand)

    async def authorize(
        self, exchange: Exchange, call: Call, errand: Errand | None = None
    ) -> Proceed | Refuse:
        """The gate's word on a call of this request; while a person is asked, the client is shown that."""
        ticker = Ticker(exchange)
        patience_ms = None if self._may_detach(errand) else self._patience()
        on_wait = partial(self._parked, exchange, ticker, errand)
        try:
            return await self._gate.authorize(call, patience_ms=patience_ms, on_wait=on_wait)
        finally:
            ticker.stop()
            (errand.exchange if errand is not None else exchange).waiting = None

    def _may_detach(self, errand: Errand | None) -> bool:
        return errand is not None and self.tasks is not None and self.tasks.wanted(errand)

    def _patience(self) -> int | None:
        return patience(self._gate.config, self._client.seat.principal.name, self._client.name)

    def _parked(self, exchange: Exchange, ticker: Ticker, errand: Errand | None, waiting: Wait) -> None:
        exchange = exchange if errand is None else errand.exchange
        exchange.waiting = waiting
        if self._leaving and not exchange.over:
            self._abandon(exchange)
        elif exchange.over:
            self._give_back(exchange)
        elif errand is None or not self._may_detach(errand) or not self._detach(errand, waiting):
            ticker.show(waiting)

    def _detach(self, errand: Errand, waiting: Wait) -> bool:
        return self.tasks is not None and self.tasks.park(errand, waiting)

    def settle(self, errand: Errand, verdict: Proceed | Refuse) -> None:
        """Do what the gate said."""
        if not isinstance(verdict, Proceed):
            self._refuse(errand, verdict)
        elif errand.exchange.over:  # given up meanwhile: a late yes runs nothing
            self.complete(verdict, Outcome.CANCELLED)
        else:
            if verdict.request_id or verdict.grant_id:
                errand.keep_shown()
            self.forward(errand, verdict)

    async def permit(self, exchange: Exchange, uri: str, *, may_ask: bool) -> tuple[Target, Proceed] | None:
        """Leave to be told about a resource: the same as to read it. None when refused.

        With `may_ask` a person may be asked, and the refusal is answered; else whatever is not plainly
        allowed is left out.
        """
        target = self._catalog.resource(uri)
        if target is None:
            await self._router.settle(START_SECONDS, lambda: self._catalog.resource(uri) is not None)
            target = self._catalog.resource(uri)
        if target is None:
            if may_ask:
                await self._unknown(exchange, Kind.RESOURCE, uri, exchange.params)
            return None
        call = self._call(Kind.RESOURCE, target, exchange.params)
        if not may_ask and (await self._gate.preview(call)).effect is not Effect.ALLOW:
            return None
        errand = Errand(exchange, target, Kind.RESOURCE, exchange.method, {}, call)
        verdict = self._gate.submit_now(call) or await self._verdict(errand)
        if isinstance(verdict, Proceed) and not exchange.over:
            return target, verdict
        if isinstance(verdict, Proceed):
            self.complete(verdict, Outcome.CANCELLED)
        elif may_ask:
            self._refuse(errand, verdict)
        return None

    # -- the upstream --------------------------------------------------------------------------------

    def forward(self, errand: Errand, proceed: Proceed) -> None:
        """Send it, and answer with the reply."""
        exchange, upstream = errand.exchange, errand.target.upstream
        exchange.proceed = proceed
        exchange.upstream = upstream
        exchange.errand = errand
        on_progress = errand.step if exchange.token is not None else None
        try:
            exchange.ticket = upstream.request(
                errand.method, errand.params, partial(self.replied, errand, proceed), on_progress
            )
        except (UpstreamError, WireError) as error:
            exchange.proceed = None
            self.complete(proceed, Outcome.ERROR, str(error))
            self._answers.unavailable(
                exchange, errand.kind, f"`{errand.target.provider}` cannot be reached: {error}"
            )

    def send(
        self, exchange: Exchange, target: Target, kind: Kind, params: JsonObject, proceed: Proceed
    ) -> None:
        """Send a request as it is, under a Proceed that was given for it."""
        self.forward(Errand(exchange, target, kind, exchange.method, params, proceed.call), proceed)

    def replied(self, errand: Errand, proceed: Proceed, reply: Reply) -> None:
        """The upstream's answer, to the client as it is."""
        exchange = errand.exchange
        if errand.on_hold is not None:
            errand.on_hold(reply)
            return
        if exchange.proceed is not proceed:
            return
        era = errand.target.upstream.era
        found = result_type(era, reply)
        if found == INPUT_REQUIRED and self.on_input_required is not None and not exchange.over:
            self.on_input_required(errand, proceed, reply)
            return
        if found == TASK and not exchange.over and self._relayed(errand, proceed, reply):
            return
        if found != COMPLETE:
            text = f"`{errand.target.provider}` answered with a `{found[:40]}` that was not agreed on"
            reply = {"error": {"code": INTERNAL_ERROR, "message": text}}
        exchange.proceed = None
        try:
            self._client.answer(exchange, reply_for(self._client.era or "legacy", era, errand.method, reply))
        finally:  # the client reads meanwhile
            self.complete(proceed, *outcome_of(reply))

    def _relayed(self, errand: Errand, proceed: Proceed, reply: Reply) -> bool:
        return self.tasks is not None and self.tasks.relay(errand, proceed, reply)

    def complete(self, proceed: Proceed, outcome: Outcome, error: str = "") -> None:
        """Record how it came out: a moment after the answer, together with others that end then."""
        self.docket.ended(self, proceed, outcome, error)

    def record_later(self, ended: Ended) -> None:
        """Record it as soon as the database lets us."""
        self._client.finish(self._gate.record_end(ended))

    # -- refusals ------------------------------------------------------------------------------------

    def _refuse(self, errand: Errand, refuse: Refuse) -> None:
        if not errand.target.shown and refuse.kind is Refusal.POLICY:
            self._answers.no_such(errand.exchange, errand.kind, asked_name(errand.exchange))
            return
        self._answers.refused(errand.exchange, errand.kind, refuse)

    async def _unknown(self, exchange: Exchange, kind: Kind, name: str, params: JsonObject) -> None:
        arguments = params.get("arguments", {}) if kind is not Kind.RESOURCE else {}
        call = self._client.call(kind, "", name[:2_000], arguments, "", params.get("_meta"))
        await self._gate.reject(call, f"unknown {kind}")
        self._answers.no_such(exchange, kind, name)

    async def _down(self, exchange: Exchange, kind: Kind, target: Target, params: JsonObject) -> None:
        if not target.shown:
            await self._unknown(exchange, kind, asked_name(exchange), params)
            return
        reason = f"`{target.provider}` is not running"
        await self._gate.reject(self._call(kind, target, params), reason)
        why = target.upstream.state.reason
        self._answers.unavailable(exchange, kind, f"{reason}: {why}" if why else reason)

    # -- giving up -----------------------------------------------------------------------------------

    def cancel(self, exchange: Exchange, reason: str) -> None:
        """The client gives a request up: it is not answered, and nothing more is done for it."""
        exchange.given_up = reason
        self._client.drop(exchange)
        if exchange.waiting is not None:
            self._give_back(exchange)
        elif exchange.ticket is not None and exchange.upstream is not None:
            self._stop(exchange, reason)

    def _stop(self, exchange: Exchange, reason: str | None) -> None:
        proceed, exchange.proceed = exchange.proceed, None
        if exchange.upstream is not None and exchange.ticket is not None:
            exchange.upstream.cancel(exchange.ticket, reason)
        if proceed is not None:
            self.complete(proceed, Outcome.CANCELLED)

    def _give_back(self, exchange: Exchange) -> None:
        """Withdraw the question, or leave it to its grace when only the client's time was over."""
        waiting = exchange.waiting
        if waiting is None:
            return
        if exchange.given_up is not None and not _TIMED_OUT.search(exchange.given_up):
            self._client.finish(self._gate.withdraw(waiting))
        elif exchange.task is not None:
            exchange.task.cancel()  # the gate leaves the question when the one who waits is cancelled

    def leave_parked(self) -> None:
        """The client will send nothing more: calls that wait for a person, now or later, are left."""
        self._leaving = True
        for exchange in list(self._client.open.values()):
            if exchange.waiting is not None:
                self._abandon(exchange)

    def _abandon(self, exchange: Exchange) -> None:
        self._client.drop(exchange)
        self._give_back(exchange)

    def leave(self) -> None:
        """The client is gone: stop what runs upstream; parked questions keep their grace."""
        self.leave_parked()
        for exchange in list(self._client.open.values()):
            self._client.drop(exchange)
            self._stop(exchange, "the client is gone")
        self.docket.record()


_ABSENT: Final[Any] = object()
_TOOL: Final = Kind.TOOL
_RESOURCE: Final = Kind.RESOURCE


def _meta(params: JsonObject) -> JsonObject:
    found = params.get("_meta")
    return found if isinstance(found, dict) else {}
