"""Calls that need input first: `input_required` of the modern era, and its translation in both directions.

A modern client that was asked something comes back with a `requestState`. It is a random handle of ours,
good for one use, for the same request, in this session, for a while; the upstream's own state never
leaves. With a valid one the call goes on under the Proceed it had; anything else is no continuation.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import field
from functools import partial
from typing import Any, Final

from airlock.canonical import canonical
from airlock.model import JsonObject, Outcome, Proceed
from airlock.proxy.eras import CAPABILITIES, INPUT_REQUIRED
from airlock.proxy.link import Reply, Upstream
from airlock.proxy.session.answers import outcome_of
from airlock.proxy.session.asks import Asks
from airlock.proxy.session.calls import Calls
from airlock.proxy.session.client import Client, Exchange
from airlock.proxy.session.errand import Errand
from airlock.proxy.wire import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST
from airlock.values import dataclass

ROUND_SECONDS: Final = 600.0
MAX_ROUNDS: Final = 32
MAX_OPEN: Final = 256
POLL_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
QUESTION: Final = "question"


@dataclass(slots=True, kw_only=True)
class Round:
    """A call whose client was asked something. `asked` is the request of a legacy upstream that waits."""

    errand: Errand
    proceed: Proceed
    mark: bytes
    timer: asyncio.TimerHandle
    state: str | None = None
    asked: str | int | None = None
    queue: list[tuple[str | int, str, JsonObject | None]] = field(default_factory=list)
    reply: Reply | None = None


class Rounds:
    """The calls of one client that wait for its input."""

    def __init__(self, client: Client, calls: Calls, asks: Asks) -> None:
        self._client = client
        self.calls = calls
        self.asks = asks
        self._open: dict[str, Round] = {}
        calls.on_input_required = self.required

    # -- a modern upstream answered `input_required` -------------------------------------------------

    def required(self, errand: Errand, proceed: Proceed, reply: Reply) -> None:
        """Ask the client in its own era, and go on with the answers."""
        result = reply["result"]
        requests = result.get("inputRequests") or {}
        errand.rounds += 1
        problem = self._problem(errand, requests)
        if problem:
            self._end(errand, proceed, problem)
        elif self._client.era == "modern":
            self._pass_on(errand, proceed, result, requests)
        elif requests:
            _Questions(self, errand, proceed, result).put(requests)
        else:
            delay = POLL_SECONDS[min(errand.rounds, len(POLL_SECONDS)) - 1]
            loop = asyncio.get_running_loop()
            loop.call_later(delay, self.again, errand, proceed, None, result.get("requestState"))

    def _problem(self, errand: Errand, requests: Any) -> str:
        name = errand.target.provider
        if not isinstance(requests, dict) or (errand.rounds > MAX_ROUNDS and requests):
            return (
                f"`{name}` does not stop asking" if isinstance(requests, dict) else f"`{name}` asks nonsense"
            )
        capabilities = self._capabilities(errand.exchange)
        for request in requests.values():
            if not isinstance(request, dict) or not isinstance(request.get("method"), str):
                return f"`{name}` asks nonsense"
            params = request.get("params")
            if params is not None and not isinstance(params, dict):
                return f"`{name}` asks nonsense"
            why_not = self.asks.forbidden(name, request["method"], params, capabilities)
            self.asks.record(name, request["method"], why_not=why_not)
            if why_not:
                return why_not
        return ""

    def _capabilities(self, exchange: Exchange) -> JsonObject:
        if self._client.era == "modern":
            declared = exchange.meta.get(CAPABILITIES)
            return declared if isinstance(declared, dict) else {}
        return self._client.capabilities

    def _end(self, errand: Errand, proceed: Proceed, problem: str) -> None:
        errand.exchange.proceed = None
        self.calls.complete(proceed, Outcome.ERROR, problem)
        self._client.fail(errand.exchange, INTERNAL_ERROR, f"airlock: {problem}")

    def again(
        self, errand: Errand, proceed: Proceed, responses: JsonObject | None, state: str | None
    ) -> None:
        """Send the same request again, with what the client answered."""
        self._client.finish(self._again(errand, proceed, responses, state))

    async def _again(
        self, errand: Errand, proceed: Proceed, responses: JsonObject | None, state: str | None
    ) -> None:
        paused = await self.asks.paused()
        exchange = errand.exchange
        if exchange.over:
            if exchange.proceed is proceed or exchange.ticket is None:  # else it was stopped and recorded
                exchange.proceed = None
                self.calls.complete(proceed, Outcome.CANCELLED)
            return
        if paused:
            self._end(errand, proceed, "everything is paused: a person must resume it")
            return
        kept = {name: value for name, value in errand.params.items() if name not in _ROUND_KEYS}
        if responses is not None:
            kept["inputResponses"] = responses
        if state is not None:
            kept["requestState"] = state
        errand.params = kept
        self.calls.forward(errand, proceed)

    def _pass_on(self, errand: Errand, proceed: Proceed, result: JsonObject, requests: JsonObject) -> None:
        state = result.get("requestState")
        labelled = {
            key: {**one, "params": self.asks.labelled(errand.target.provider, one["method"], one["params"])}
            if "params" in one
            else one
            for key, one in requests.items()
        }
        token = self._keep(errand, proceed, state=state if isinstance(state, str) else None)
        if token is None:
            self._end(errand, proceed, "too many calls wait for input")
            return
        answer = {**result, "requestState": token}
        if "inputRequests" in result:
            answer["inputRequests"] = labelled
        self._client.answer(errand.exchange, {"result": answer})

    def _keep(self, errand: Errand, proceed: Proceed, **more: Any) -> str | None:
        if len(self._open) >= MAX_OPEN:
            return None
        token = secrets.token_urlsafe(32)
        timer = asyncio.get_running_loop().call_later(ROUND_SECONDS, self._expire, token)
        mark = _mark(errand.exchange.method, errand.exchange.params)
        self._open[token] = Round(errand=errand, proceed=proceed, mark=mark, timer=timer, **more)
        return token

    # -- a legacy upstream asks during a call of a modern client -------------------------------------

    def asked(
        self, upstream: Upstream, request_id: str | int, method: str, params: JsonObject | None
    ) -> None:
        """Answer the call for now with the question; the upstream waits until the client comes back."""
        exchange = self._candidate(upstream)
        if exchange is None:
            held = self._held(upstream)
            if held is not None and len(held.queue) < MAX_ROUNDS and method == "elicitation/create":
                held.queue.append((request_id, method, params))
                return
            self.asks.refuse(upstream, request_id, method, "no call is open that could carry this")
            return
        why_not = self.asks.forbidden(upstream.name, method, params, self._capabilities(exchange))
        if why_not:
            self.asks.refuse(upstream, request_id, method, why_not)
            return
        self.asks.record(upstream.name, method)
        self._hold(exchange, upstream, request_id, method, params)

    def _candidate(self, upstream: Upstream) -> Exchange | None:
        """The latest call of the client that runs on this upstream."""
        running = [
            one
            for one in self._client.open.values()
            if one.upstream is upstream and one.ticket is not None and one.errand is not None
        ]
        return running[-1] if running else None

    def _held(self, upstream: Upstream) -> Round | None:
        held = [
            one
            for one in self._open.values()
            if one.asked is not None and one.errand.target.upstream is upstream
        ]
        return held[-1] if held else None

    def _hold(
        self,
        exchange: Exchange,
        upstream: Upstream,
        request_id: str | int,
        method: str,
        params: JsonObject | None,
    ) -> None:
        errand, proceed = exchange.errand, exchange.proceed
        token = self._keep(errand, proceed, asked=request_id) if errand and proceed else None
        if errand is None or token is None:
            upstream.respond(request_id, {"error": {"code": INVALID_REQUEST, "message": "cannot ask now"}})
            return
        errand.on_hold = partial(self._replied, token)
        question: JsonObject = {"method": method}
        if params is not None:
            question["params"] = self.asks.labelled(upstream.name, method, params)
        result = {
            "resultType": INPUT_REQUIRED,
            "inputRequests": {QUESTION: question},
            "requestState": token,
        }
        self._client.answer(exchange, {"result": result})

    def _replied(self, token: str, reply: Reply) -> None:
        held = self._open.get(token)
        if held is not None:
            held.reply = reply

    # -- the client comes back -----------------------------------------------------------------------

    def resume(self, exchange: Exchange, params: JsonObject) -> bool:
        """Go on with a call that waited for input; False when the request continues nothing.

        Answers without a state are a call of their own: it is judged anew, and the server gets them.
        """
        if "requestState" not in params:
            return False
        token = params["requestState"]
        held = self._open.pop(token, None) if isinstance(token, str) else None
        if held is None:
            self._client.fail(exchange, INVALID_PARAMS, "`requestState` is not valid: call again without it")
            return True
        held.timer.cancel()
        if held.mark != _mark(exchange.method, params):
            self._cancel(held)
            self._client.fail(exchange, INVALID_PARAMS, "`requestState` belongs to another request")
            return True
        responses = params.get("inputResponses")
        self._resume(held, exchange, responses if isinstance(responses, dict) else {})
        return True

    def _resume(self, held: Round, exchange: Exchange, responses: JsonObject) -> None:
        errand, before = held.errand, held.errand.exchange
        errand.exchange = exchange
        exchange.errand = errand
        if held.asked is None:
            self.again(errand, held.proceed, responses or None, held.state)
            return
        exchange.proceed, exchange.upstream = held.proceed, before.upstream
        exchange.ticket = before.ticket
        errand.on_hold = None
        upstream = errand.target.upstream
        upstream.respond(held.asked, _response(responses))
        if held.queue:
            request_id, method, params = held.queue.pop(0)
            self.asked(upstream, request_id, method, params)
            self._requeue(held.queue, upstream)
        if held.reply is not None:
            self.calls.replied(errand, held.proceed, held.reply)

    def _requeue(self, queue: list[tuple[str | int, str, JsonObject | None]], upstream: Upstream) -> None:
        for request_id, method, params in queue:
            self.asked(upstream, request_id, method, params)

    def withdrew(self, upstream: Upstream, request_id: str | int) -> None:
        """The upstream no longer wants the answer; the call itself goes on when the client comes back."""
        for held in self._open.values():
            if held.errand.target.upstream is upstream:
                held.queue = [one for one in held.queue if one[0] != request_id]

    def _expire(self, token: str) -> None:
        held = self._open.pop(token, None)
        if held is not None:
            self._cancel(held)

    def _cancel(self, held: Round) -> None:
        held.timer.cancel()
        errand = held.errand
        errand.on_hold = None
        errand.exchange.proceed = None
        before = errand.exchange
        if held.asked is not None and before.upstream is not None and before.ticket is not None:
            before.upstream.respond(held.asked, {"error": {"code": INVALID_REQUEST, "message": "no answer"}})
            if held.reply is None:
                before.upstream.cancel(before.ticket, "the client did not come back")
        ended = (Outcome.CANCELLED, "") if held.reply is None else outcome_of(held.reply)
        self.calls.complete(held.proceed, *ended)

    def abandon(self, token: str) -> None:
        """The client wants no more of that call."""
        held = self._open.pop(token, None)
        if held is not None:
            self._cancel(held)

    def close(self) -> None:
        """The client is gone: nothing that waited for it goes on."""
        for held in list(self._open.values()):
            self._cancel(held)
        self._open.clear()


class _Questions:
    """The questions of one round, put to a legacy client one by one and answered together."""

    def __init__(self, rounds: Rounds, errand: Errand, proceed: Proceed, result: JsonObject) -> None:
        self._rounds = rounds
        self._errand = errand
        self._proceed = proceed
        self._state = result.get("requestState")
        self._answers: JsonObject = {}
        self._wanted: set[str] = set()
        self._own: list[int] = []
        self._failed = False

    def put(self, requests: JsonObject) -> None:
        self._wanted = set(requests)
        upstream = self._errand.target.upstream
        asks = self._rounds.asks
        for key, request in requests.items():
            on_answer = partial(self._answered, key)
            self._own.append(asks.put(upstream, request["method"], request.get("params"), on_answer))

    def _answered(self, key: str, reply: Reply) -> None:
        if self._failed:
            return
        if "error" in reply:
            self._failed = True
            self._rounds._end(self._errand, self._proceed, f"the client answered: {_words(reply)}")  # noqa: SLF001
            return
        self._answers[key] = reply["result"]
        if set(self._answers) == self._wanted:
            self._rounds.again(self._errand, self._proceed, self._answers, self._state)


_ROUND_KEYS: Final = frozenset({"inputResponses", "requestState"})


def _mark(method: str, params: JsonObject) -> bytes:
    """What must be the same when a client comes back: everything but the answers and the envelope."""
    same = {name: value for name, value in params.items() if name not in _ROUND_KEYS and name != "_meta"}
    return canonical([method, same])


def _response(responses: JsonObject) -> Reply:
    answer = responses.get(QUESTION)
    if isinstance(answer, dict):
        return {"result": {name: value for name, value in answer.items() if name != "resultType"}}
    return {"error": {"code": INVALID_REQUEST, "message": "the client gave no answer"}}


def _words(reply: Reply) -> str:
    return str(reply["error"].get("message", ""))[:200]
