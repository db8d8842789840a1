"""JSON-RPC with one upstream: ids and progress tokens of our own, one answer for each request, time limits.

Everything is synchronous: a request is written when it is made, and an answer reaches its callback in the
turn of the loop in which its line was read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from airlock.model import JsonObject
from airlock.proxy.eras import CAPABILITIES, ENVELOPE, INPUT_REQUIRED, LOG_LEVEL, passed_on
from airlock.proxy.link import OnProgress, OnReply, Reply
from airlock.proxy.wire import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Id,
    error_frame,
    notification_frame,
    request_frame,
    result_frame,
)
from airlock.values import dataclass

_log = logging.getLogger("airlock.upstream")

TIMED_OUT: Final = -32001
CLOSED: Final = -32000

UNLIMITED: Final = frozenset({"subscriptions/listen", "initialize", "server/discover"})
"""Requests without a time limit here: a subscription stays open, the handshake has its limit elsewhere."""

SUBSCRIBE: Final = "subscriptions/listen"

NEVER: Final = float("inf")

MOST_QUESTIONS: Final = 256
"""How many requests one upstream may have open with us."""

ASKS: Final = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""What an upstream may ask, and the capability that allows it to."""


class Ears(Protocol):
    """What a peer tells: the frames that are no answers."""

    def notified(self, method: str, params: JsonObject | None) -> None:
        """A notification."""
        ...

    def asked(self, request_id: Id, method: str, params: JsonObject | None) -> None:
        """A request that the upstream may make."""
        ...

    def withdrawn(self, request_id: Id) -> None:
        """The upstream gave up a request that `asked` told of."""
        ...


@dataclass(slots=True)
class _Open:
    """One request that has no answer yet."""

    method: str
    on_reply: OnReply
    on_progress: OnProgress | None
    deadline: float
    promised: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class Manner:
    """How the peers agreed to talk: `envelope` is None in the legacy era."""

    envelope: JsonObject | None = None
    promised: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    """What the config lets this server ask for: a modern request may promise that, if its client does."""


class Peer:
    """The correlation of one connection. `send` writes one frame and never blocks."""

    def __init__(
        self, name: str, send: Callable[[JsonObject], None], ears: Ears, *, timeout_ms: int = 60_000
    ) -> None:
        self.name = name
        self.manner = Manner()
        self._send = send
        self._ears = ears
        self._timeout = timeout_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, _Open] = {}
        self._asking: set[Id] = set()
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = ""

    @property
    def waiting(self) -> int:
        """How many requests are open."""
        return len(self._open)

    def waits_for(self, ticket: Id) -> bool:
        """True while that request is open."""
        return ticket in self._open

    def request(
        self,
        method: str,
        params: JsonObject | None,
        on_reply: OnReply,
        on_progress: OnProgress | None = None,
        *,
        envelope: JsonObject | None = None,
    ) -> int:
        """Send a request and return its id; `on_reply` is called exactly once, later."""
        self._last = ticket = self._last + 1
        promised = self.manner.promised
        if on_progress or envelope or self.manner.envelope is not None or (params and "_meta" in params):
            promised = self._promised(params)
            params = self._addressed(params, ticket if on_progress else None, envelope)
        if self._ended:
            self._loop.call_soon(on_reply, self._failure(CLOSED, self._ended))
            return ticket
        self._send(request_frame(ticket, method, params))  # a frame that cannot be written raises here
        deadline = NEVER if method in UNLIMITED else self._loop.time() + self._timeout
        self._open[ticket] = _Open(method, on_reply, on_progress, deadline, promised)
        if self._timer is None:
            self._arm(deadline)
        return ticket

    async def ask(self, method: str, params: JsonObject, *, envelope: JsonObject | None = None) -> Reply:
        """Send a request and wait for its answer: for the handshake."""
        answer: asyncio.Future[Reply] = self._loop.create_future()

        def take(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.request(method, params, take, envelope=envelope)
        return await answer

    def cancel(self, ticket: int, reason: str | None) -> None:
        """Give up a request: the upstream is told, nobody gets an answer."""
        if self._open.pop(ticket, None) is None:
            return
        params: JsonObject = {"requestId": ticket}
        if reason is not None:
            params["reason"] = reason
        self.notify("notifications/cancelled", params)

    def notify(self, method: str, params: JsonObject | None) -> None:
        """Send a notification."""
        if not self._ended:
            self._send(notification_frame(method, params))

    def respond(self, request_id: Id, reply: Reply) -> None:
        """Answer a request that `asked` told of; anything else is dropped."""
        if request_id not in self._asking or self._ended:
            return
        self._asking.discard(request_id)
        self._send({"jsonrpc": "2.0", "id": request_id, **reply})
        self._extend()

    def received(self, frame: JsonObject) -> None:
        """Take one decoded frame."""
        if "method" not in frame:
            self._answered(frame)
        elif "id" in frame:
            self._questioned(frame["id"], frame["method"], frame.get("params"))
        else:
            self._told(frame["method"], frame.get("params"))

    def failed(self, ticket: Id, message: str) -> bool:
        """Answer one open request with an error of ours; False when there is none of that id."""
        pending = self._open.pop(ticket, None) if isinstance(ticket, int) else None
        if pending is not None:
            pending.on_reply(self._failure(INVALID_REQUEST, message))
        return pending is not None

    def end(self, message: str) -> None:
        """Answer every open request with an error; later ones get the same."""
        if self._ended:
            return
        self._ended = message
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asking, self._asking = self._asking, set()
        for request_id in asking:
            self._ears.withdrawn(request_id)
        pending, self._open = self._open, {}
        for one in pending.values():
            one.on_reply(self._failure(CLOSED, message))

    # -- what goes out ------------------------------------------------------------------------

    def _addressed(
        self, params: JsonObject | None, token: int | None, envelope: JsonObject | None
    ) -> JsonObject | None:
        """The params with our token and envelope in `_meta` and no foreign ones, as a copy."""
        meta = params.get("_meta") if params else None
        envelope = envelope or self.manner.envelope
        if not isinstance(meta, dict):
            if envelope is None and token is None:
                return params
            meta = {}
        fresh = {
            name: value for name, value in meta.items() if name != "progressToken" and name not in ENVELOPE
        }
        if envelope is not None:
            fresh.update(envelope)
            own = meta.get(CAPABILITIES)
            if isinstance(own, dict):  # what this very request's client can do, not what an earlier one could
                fresh[CAPABILITIES] = passed_on(own, self.manner.allowed)
            level = meta.get(LOG_LEVEL)
            if level is not None:
                fresh[LOG_LEVEL] = level
        if token is not None:
            fresh["progressToken"] = token
        addressed = dict(params) if params else {}
        if fresh or not meta:
            addressed["_meta"] = fresh
        else:
            del addressed["_meta"]
        return addressed

    # -- what comes in ------------------------------------------------------------------------

    def _answered(self, frame: JsonObject) -> None:
        ticket = frame["id"]
        pending = self._open.pop(ticket, None) if type(ticket) is int else None
        if pending is None:
            _log.debug("%s: dropped an answer that nobody waits for (id %r)", self.name, ticket)
            return
        del frame["jsonrpc"], frame["id"]
        if self.manner.envelope is not None:
            problem = _overreach(frame.get("result"), pending.promised)
            if problem:
                frame = self._failure(INVALID_REQUEST, problem)
        pending.on_reply(frame)

    def _promised(self, params: JsonObject | None) -> frozenset[str]:
        """What this request may be asked for: what its client can do, else what the connection's could."""
        meta = params.get("_meta") if params else None
        own = meta.get(CAPABILITIES) if isinstance(meta, dict) else None
        if not isinstance(own, dict):
            return self.manner.promised
        return frozenset(passed_on(own, self.manner.allowed))

    def _questioned(self, request_id: Id, method: str, params: JsonObject | None) -> None:
        if method == "ping":
            self._send(result_frame(request_id, {}))
        elif request_id in self._asking:
            self._send(error_frame(request_id, INVALID_REQUEST, f"id {request_id!r} is in use"))
        elif len(self._asking) >= MOST_QUESTIONS:
            self._send(error_frame(request_id, INVALID_REQUEST, "too many open requests"))
        elif self._may_ask(method):
            self._asking.add(request_id)
            self._ears.asked(request_id, method, params)
        else:
            self._send(error_frame(request_id, METHOD_NOT_FOUND, f"`{method[:80]}` was not offered"))

    def _may_ask(self, method: str) -> bool:
        """Nothing in the modern era, else what was promised; an unknown method is the router's business."""
        if self.manner.envelope is not None:
            return False
        return method not in ASKS or ASKS[method] in self.manner.promised

    def _told(self, method: str, params: JsonObject | None) -> None:
        if method == "notifications/progress":
            self._progressed(params or {})
        elif method == "notifications/cancelled":
            self._withdrew(params or {})
        else:
            self._ears.notified(method, params)

    def _progressed(self, params: JsonObject) -> None:
        token = params.get("progressToken")
        pending = self._open.get(token) if type(token) is int else None
        if pending is None:
            return
        self._renew(pending)
        if pending.on_progress:
            pending.on_progress({name: value for name, value in params.items() if name != "progressToken"})

    def _withdrew(self, params: JsonObject) -> None:
        request_id = params.get("requestId")
        if isinstance(request_id, (str, int)) and request_id in self._asking:
            self._asking.discard(request_id)
            self._ears.withdrawn(request_id)
            self._extend()
        elif self.manner.envelope is not None and type(request_id) is int:
            self._gave_up(request_id)

    def _gave_up(self, ticket: int) -> None:
        """The modern era's way to end a subscription; in the legacy era that id is one of theirs."""
        pending = self._open.get(ticket)
        if pending is not None and pending.method == SUBSCRIBE:
            del self._open[ticket]
            pending.on_reply(self._failure(CLOSED, f"it ended `{pending.method}`"))

    # -- time limits --------------------------------------------------------------------------

    def _renew(self, pending: _Open) -> None:
        if pending.method not in UNLIMITED:
            pending.deadline = self._loop.time() + self._timeout

    def _extend(self) -> None:
        """A question of the upstream was answered: the time a person took does not count."""
        for pending in self._open.values():
            self._renew(pending)

    def _expire(self) -> None:
        """One timer for all: end what is over, and come back when the next one would be."""
        self._timer = None
        if self._asking:
            self._extend()
        now = self._loop.time()
        for ticket, pending in list(self._open.items()):
            if pending.deadline <= now:
                self.cancel(ticket, "timed out")
                seconds = f"{self._timeout:g} s"
                pending.on_reply(
                    self._failure(TIMED_OUT, f"no answer to `{pending.method}` within {seconds}")
                )
        self._arm(min((one.deadline for one in self._open.values()), default=NEVER))

    def _arm(self, deadline: float) -> None:
        if self._timer is None and deadline < NEVER and not self._ended:
            self._timer = self._loop.call_at(deadline, self._expire)

    def _failure(self, code: int, message: str) -> Reply:
        return {"error": {"code": code, "message": f"airlock: upstream `{self.name}`: {message}"}}


def _overreach(result: object, promised: frozenset[str]) -> str:
    """What an `input_required` asks beyond what was promised; "" when nothing."""
    if not isinstance(result, dict) or result.get("resultType") != INPUT_REQUIRED:
        return ""
    asks = result.get("inputRequests")
    for ask in asks.values() if isinstance(asks, dict) else ():
        method = ask.get("method") if isinstance(ask, dict) else None
        if ASKS.get(str(method)) not in promised:
            return f"it asks for `{str(method)[:60]}`, which it was not offered"
    return ""
