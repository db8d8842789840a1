"""Tasks (SEP-2663): a call that waits for a person becomes one; the upstreams' own pass through.

The session that holds a call's arguments runs it once. While it waits for a person the task must be polled,
else its caller counts as gone: the question keeps its grace, and the same call again finds the answer.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airlock.errors import UpstreamError
from airlock.ids import now_ms
from airlock.model import JsonObject, Kind, Outcome, Proceed, Wait
from airlock.proxy.eras import (
    CAPABILITIES,
    DECISION,
    INPUT_REQUIRED,
    MISSING_CAPABILITY,
    TASKS,
    declares_tasks,
)
from airlock.proxy.link import Reply, Upstream
from airlock.proxy.session.answers import outcome_of
from airlock.proxy.session.client import Client, Exchange
from airlock.proxy.session.errand import Errand
from airlock.proxy.session.rounds import Rounds
from airlock.proxy.session.taskbook import ENDED, POLL_MS, Relay, Task, TaskBook
from airlock.proxy.wire import INTERNAL_ERROR, INVALID_PARAMS

if TYPE_CHECKING:
    from airlock.gate import Gate

LAPSE_SECONDS: Final = max(60.0, 3 * POLL_MS / 1000)
"""A task that waits for a person and was not polled that long has no caller any more (decisions.md 26)."""

IDLE_MS: Final = 3_600_000
"""An upstream's task that nobody asked for in that time does not keep its upstream running."""

WAITING: Final = "waiting for a person to decide"
LAPSED: Final = "airlock: this task was not polled: call again with the same arguments to find the answer"
GONE: Final = "airlock does not hold this task any more: call again with the same arguments"
NEEDED: Final[JsonObject] = {"requiredCapabilities": {"extensions": {TASKS: {}}}}


class Detached(Exchange):
    """A request that was answered with a task and goes on: its answer becomes the task's."""

    __slots__ = ("held", "timer")

    def __init__(self, held: Held, request: Exchange, params: JsonObject) -> None:
        super().__init__(held.key, request.method, params, held.take)
        self.held = held
        self.token = None  # tasks report no progress
        self.timer: asyncio.TimerHandle | None = None


class Held:
    """What a task of ours knows of the call behind it."""

    def __init__(self, task: Task, request: Exchange) -> None:
        self.task = task
        self.key = f"task {task.id}"
        self.request = request
        self.exchange = Detached(self, request, request.params)
        self.state: str | None = None
        self.asked: dict[str, str] = {}
        self.answers: JsonObject = {}
        self._used: set[str] = set()

    def take(self, frame: JsonObject) -> None:
        """The answer to the call, or a notification, which tasks do not pass on."""
        if "method" in frame or self.task.ended:
            return
        if "error" in frame:
            self.task.enter("failed", error=frame["error"])
        elif frame["result"].get("resultType") == INPUT_REQUIRED:
            self._ask(frame["result"])
        elif self.task.relay is None:
            self.task.enter("completed", result=frame["result"])

    def _ask(self, result: JsonObject) -> None:
        """Show what the call needs; keys are never used twice in a task's life."""
        self.state, self.answers, self.asked = result.get("requestState"), {}, {}
        requests: JsonObject = {}
        for key, request in (result.get("inputRequests") or {}).items():
            own = key if key not in self._used else f"{key}-{len(self._used)}"
            self._used.add(own)
            self.asked[own] = key
            requests[own] = request
        self.task.enter("input_required", inputRequests=requests)

    def answer(self, responses: JsonObject) -> bool:
        """Take answers; True when the last one is there."""
        requests: JsonObject = dict(self.task.more.get("inputRequests") or {})
        for key in [key for key in responses if key in requests]:
            del requests[key]
            self.answers[self.asked[key]] = responses[key]
        if requests:
            self.task.enter("input_required", inputRequests=requests)
        return not requests


class Tasks:
    """The tasks of one session."""

    def __init__(self, client: Client, gate: Gate, rounds: Rounds, book: TaskBook) -> None:
        self._client = client
        self._gate = gate
        self._calls = rounds.calls
        self._rounds = rounds
        self._asks = rounds.asks
        self._book = book
        self._held: dict[str, Held] = {}
        rounds.calls.tasks = self

    @property
    def busy(self) -> bool:
        """True while a task needs this session and somebody may still ask for it."""
        since = now_ms() - IDLE_MS
        return any(task.polled_at >= since for task in self._book.of(self))

    def own(self) -> bool:
        """True when calls of this agent that wait for a person may become tasks."""
        agent = self._gate.config.agents.get(self._client.seat.principal.name)
        return agent is None or agent.wait in {"auto", "task"}

    # -- a call becomes a task (calls.Detaching) -----------------------------------------------------

    def wanted(self, errand: Errand) -> bool:
        """True when this call, if it must wait, is answered with a task."""
        return (
            self._client.era == "modern"
            and errand.kind is Kind.TOOL
            and errand.method == "tools/call"
            and (isinstance(errand.exchange, Detached) or (self.own() and self._declared(errand.exchange)))
        )

    def _declared(self, exchange: Exchange) -> bool:
        return declares_tasks(exchange.meta.get(CAPABILITIES))

    def park(self, errand: Errand, waiting: Wait) -> bool:
        """Answer the call with a task, and wait on without the client; False when there are too many."""
        if isinstance(errand.exchange, Detached):
            return True
        request = errand.exchange
        task = self._book.begin(self, self._client.seat.principal, WAITING)
        if task is None:
            return False
        held = self._hold(task, request)
        held.exchange.task = request.task
        held.exchange.waiting = waiting
        held.exchange.errand = errand
        request.waiting = None
        errand.exchange = held.exchange
        decision = {"effect": "ask", "rule": waiting.decision.rule, "request_id": waiting.request.id}
        self._client.answer(request, {"result": {**task.created(), "_meta": {DECISION: decision}}})
        self._polled(task)
        return True

    def _hold(self, task: Task, request: Exchange) -> Held:
        held = self._held[task.id] = Held(task, request)
        self._client.open[held.key] = held.exchange
        task.watchers.append(self._ended)
        return held

    def _ended(self, task: Task) -> None:
        if task.ended:
            held = self._held.pop(task.id, None)
            if held is not None and held.exchange.timer is not None:
                held.exchange.timer.cancel()

    def relay(self, errand: Errand, proceed: Proceed, reply: Reply) -> bool:
        """Pass an upstream's task on under an id of ours; False when it may not be one."""
        exchange, result = errand.exchange, reply["result"]
        theirs = result.get("taskId")
        known = isinstance(exchange, Detached)
        if not isinstance(theirs, str) or not (known or self._declared(exchange)):
            return False
        task = exchange.held.task if isinstance(exchange, Detached) else None
        task = task or self._book.begin(self, self._client.seat.principal)
        if task is None:
            return False
        target = errand.target
        task.relay = Relay(upstream=target.upstream, id=theirs, provider=target.provider, proceed=proceed)
        exchange.proceed = None
        self._learn(task, result)
        self._client.answer(exchange, {"result": {**result, "taskId": task.id}})
        return True

    # -- what the client asks ------------------------------------------------------------------------

    def get(self, exchange: Exchange, params: JsonObject) -> None:
        """tasks/get."""
        task = self._found(exchange, params, {"status": "failed", "error": _error(GONE)})
        if task is None:
            return
        task.owner.polled(task)
        if task.relay is None or task.ended:
            self._client.succeed(exchange, task.shown())
        else:
            task.owner.ask(task, "tasks/get", params, partial(self._answer, exchange, task))

    def update(self, exchange: Exchange, params: JsonObject) -> None:
        """tasks/update."""
        task = self._found(exchange, params, {})
        if task is None:
            return
        responses = params.get("inputResponses")
        if not isinstance(responses, dict):
            self._client.fail(exchange, INVALID_PARAMS, "`inputResponses` must be an object")
            return
        task.owner.polled(task)
        if task.relay is None or task.ended:
            task.owner.answered(task, responses)
            self._client.succeed(exchange, {})
        else:
            task.owner.ask(task, "tasks/update", params, partial(self._client.answer, exchange))

    def cancel(self, exchange: Exchange, params: JsonObject) -> None:
        """tasks/cancel: acknowledged whatever becomes of it."""
        task = self._found(exchange, params, {})
        if task is None:
            return
        if task.relay is None or task.ended:
            task.owner.cancelled(task)
            self._client.succeed(exchange, {})
        else:
            task.owner.ask(task, "tasks/cancel", params, partial(self._client.answer, exchange))

    def _found(self, exchange: Exchange, params: JsonObject, gone: JsonObject) -> Task | None:
        """The task that the request is about; None when it was answered otherwise."""
        if not self._declared(exchange):
            self._client.fail(exchange, MISSING_CAPABILITY, f"declare the extension `{TASKS}`", NEEDED)
            return None
        named, principal = params.get("taskId"), self._client.seat.principal
        task = self._book.find(named, principal) if isinstance(named, str) else None
        if task is None and isinstance(named, str) and self._book.gone(named, principal):
            times = {"createdAt": _EPOCH, "lastUpdatedAt": _EPOCH, "ttlMs": None}
            self._client.succeed(exchange, {"taskId": named, **times, **gone} if gone else {})
        elif task is None:
            self._client.fail(exchange, INVALID_PARAMS, "unknown task")
        return task

    def _answer(self, exchange: Exchange, task: Task, reply: Reply) -> None:
        """The upstream's word on its task, under our id."""
        if "error" in reply:
            self._client.answer(exchange, reply)
        else:
            self._client.succeed(exchange, task.shown())

    # -- what becomes of a task; called on the session that owns it ----------------------------------

    def polled(self, task: Task) -> None:
        """Somebody asked for it: its caller lives."""
        self._polled(task)

    def _polled(self, task: Task) -> None:
        task.polled_at = now_ms()
        held = self._held.get(task.id)
        if held is None or held.exchange.waiting is None:
            return
        if held.exchange.timer is not None:
            held.exchange.timer.cancel()
        loop = asyncio.get_running_loop()
        held.exchange.timer = loop.call_later(LAPSE_SECONDS, self._lapse, held)

    def _lapse(self, held: Held) -> None:
        if held.exchange.waiting is not None and not held.task.ended:
            self._calls.cancel(held.exchange, "timed out: the task was not polled")
            held.task.enter("failed", error=_error(LAPSED))

    def answered(self, task: Task, responses: JsonObject) -> None:
        """The client answered what a task of ours asked; with the last answer the call goes on."""
        held = self._held.get(task.id)
        if held is None or task.status != "input_required" or not held.answer(responses):
            return
        params = {**held.request.params, "inputResponses": held.answers, "requestState": held.state}
        task.enter("working")
        held.exchange = Detached(held, held.request, params)
        self._client.open[held.key] = held.exchange
        self._rounds.resume(held.exchange, params)

    def cancelled(self, task: Task) -> None:
        """The client wants no more of it."""
        held = self._held.get(task.id)
        if held is None or task.ended:
            return
        if task.status == "input_required" and held.state is not None:
            self._rounds.abandon(held.state)
        self._calls.cancel(held.exchange, "tasks/cancel")
        task.enter("cancelled")

    def ask(self, task: Task, method: str, params: JsonObject, on_reply: Any) -> None:
        """Ask the upstream about its task, and note what it says."""
        relay = task.relay
        if relay is None:
            return

        def replied(reply: Reply) -> None:
            result = reply.get("result")
            if method == "tasks/get" and isinstance(result, dict):
                self._learn(task, result)
            elif method == "tasks/get" and reply.get("error", {}).get("code") == INVALID_PARAMS:
                self._learn(task, {"status": "failed", "error": reply["error"]})  # it forgot its task
            on_reply(reply)

        try:
            relay.upstream.request(method, {**params, "taskId": relay.id}, replied)
        except UpstreamError as error:
            on_reply({"error": {"code": INTERNAL_ERROR, "message": f"airlock: {error}"}})

    def _learn(self, task: Task, result: JsonObject) -> None:
        """Take over what the upstream says of its task; its end is the end of the call."""
        relay = task.relay
        status = result.get("status")
        if relay is None or task.ended or not isinstance(status, str):
            return
        more = {name: value for name, value in result.items() if name not in _OURS}
        if status == "input_required":
            more["inputRequests"] = self._permitted(relay.provider, result.get("inputRequests"))
        task.fields = {}
        ended, relay.proceed = relay.proceed, None if status in ENDED else relay.proceed
        if status in ENDED and ended is not None:
            self._calls.complete(ended, *_outcome(status, result))
        task.enter(status, **more)

    def _permitted(self, provider: str, requests: Any) -> JsonObject:
        """What a task asks, without what this server may not ask; each names the server."""
        found: JsonObject = {}
        for key, request in (requests if isinstance(requests, dict) else {}).items():
            method = request.get("method") if isinstance(request, dict) else None
            params = request.get("params") if isinstance(request, dict) else None
            if not isinstance(method, str) or not isinstance(params, dict | None):
                continue
            why_not = self._asks.forbidden(provider, method, params, self._client.capabilities)
            if why_not:
                self._asks.record(provider, method, why_not=why_not)
            else:
                found[key] = {**request, "params": self._asks.labelled(provider, method, params)}
        return found

    # -- who listens ---------------------------------------------------------------------------------

    def watched(self, task_id: str, exchange: Exchange, watcher: Any) -> Task | None:
        """Tell `watcher` whenever this task changes; None when the client may not know it."""
        task = self._book.find(task_id, self._client.seat.principal) if self._declared(exchange) else None
        if task is not None:
            task.watchers.append(watcher)
            task.owner.listen(task)
        return task

    def listen(self, task: Task) -> None:
        """Ask the upstream to tell of its task."""
        relay = task.relay
        if relay is None or task.ended or relay.listening is not None:
            return
        wanted = {"notifications": {"taskIds": [relay.id]}}
        try:
            relay.listening = relay.upstream.request("subscriptions/listen", wanted, lambda _: None)
        except UpstreamError:
            return  # it is gone; polling says so

    def said(self, upstream: Upstream, params: JsonObject) -> None:
        """notifications/tasks of an upstream."""
        for task in self._book.of(self):
            relay = task.relay
            if relay is not None and relay.upstream is upstream and relay.id == params.get("taskId"):
                self._learn(task, params)

    def close(self) -> None:
        """The session ends: what still waits is to be asked again, what runs is not known to have ended."""
        for task in self._book.of(self):
            if task.relay is not None and task.relay.proceed is not None:
                self._calls.complete(task.relay.proceed, Outcome.UNKNOWN)
            task.enter("failed", error=_error(GONE))


_OURS: Final = frozenset({"taskId", "status", "resultType"})
_EPOCH: Final = "1970-01-01T00:00:00.000Z"


def _error(message: str) -> JsonObject:
    return {"code": INTERNAL_ERROR, "message": message}


def _outcome(status: str, result: JsonObject) -> tuple[Outcome, str]:
    if status == "cancelled":
        return Outcome.CANCELLED, ""
    kept = "error" if status == "failed" else "result"
    return outcome_of({kept: result.get(kept) or {}})
