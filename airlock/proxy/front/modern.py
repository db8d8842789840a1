"""MCP over HTTP in the modern era (2026-07-28): each POST is one exchange, and there are no sessions.

Clients of one principal that declare the same share their upstreams: a modern request carries everything
about itself, so nothing of one exchange can leak into another. Ids are made unique on the way in and given
back on the way out. A closed stream is a cancellation (specification, 2026-07-28, transports).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from typing import Final

from airlock.canonical import encode
from airlock.model import JsonObject, Principal
from airlock.ports_http import Receive, Reply, Scope, Send
from airlock.proxy import eras, mirrors
from airlock.proxy.front.asgi import (
    ENDING,
    OPENING,
    Awaited,
    Outbox,
    Prompt,
    answer_written,
    event,
    refuse,
    refuse_at_end,
    stream,
    until_gone,
    written,
)
from airlock.proxy.front.said import Said
from airlock.proxy.router import Router
from airlock.proxy.session.session import Session
from airlock.proxy.wire import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    error_frame,
)
from airlock.values import dataclass

HEADER_MISMATCH: Final = -32020
MAX_HOUSES: Final = 64
MAX_OWN: Final = 16
"""Kinds of clients that are served at once, in all and of one principal; the one that was idle longest makes
room. Each has upstreams of its own, so what a client says of itself must not start programs without end.
"""

MAX_KIND: Final = 65_536
"""Bytes that a client may say of itself with each request."""

IDLE_SECONDS: Final = 900.0

_STATUS: Final = {
    METHOD_NOT_FOUND: 404,
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    eras.MISSING_CAPABILITY: 400,
    eras.UNSUPPORTED_VERSION: 400,
}

MakeSession = Callable[[Principal, str, Router, Callable[[JsonObject], None]], Session]


@dataclass(slots=True)
class House:
    """The upstreams and the one session behind clients of the same kind."""

    principal: Principal
    session: Session
    router: Router
    open: set[_Exchange] = field(default_factory=set)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    closing: asyncio.TimerHandle | None = None


class Modern:
    """Serves modern exchanges."""

    def __init__(
        self,
        make_router: Callable[[], Router],
        make_session: MakeSession,
        *,
        most: int = MAX_HOUSES,
        own: int = MAX_OWN,
    ) -> None:
        self._make_router = make_router
        self._make_session = make_session
        self._most = most
        self._own = own
        self._houses: OrderedDict[bytes, House] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def sessions(self) -> list[Session]:
        """Everyone to be told when the policy changes."""
        return [house.session for house in self._houses.values()]

    def post(self, reply: Reply, scope: Scope, headers: Said, frame: JsonObject) -> None:
        """One exchange."""
        if self._closed:
            refuse_at_end(reply, frame.get("id"))
        elif "method" not in frame:
            refuse(reply, 400, error_frame(None, INVALID_REQUEST, "modern clients send no responses"))
        elif "id" not in frame:
            reply.answer(202)
        elif (problem := _problem(headers, frame)) is not None:
            refuse(reply, _status(problem), problem)
        else:
            self._enter(reply, scope, frame)

    def _enter(self, reply: Reply, scope: Scope, frame: JsonObject) -> None:
        principal: Principal = scope["airlock.principal"]
        key = encode(_kind(frame, principal))
        house = self._house(key, principal) if len(key) <= MAX_KIND else None
        if house is None:
            text = "a client of another kind is one too many: say the same of yourself, or try again later"
            refuse(reply, 503, error_frame(frame["id"], INVALID_REQUEST, text))
            return
        known = frame["method"] != "tools/call" or house.session.knows(frame["params"])
        exchange = _Exchange(house, frame, partial(self._left, key, house))
        house.open.add(exchange)
        if known:
            exchange.begin(reply, scope["headers"])
        else:
            reply.carry(exchange.begin_later)

    def _left(self, key: bytes, house: House, exchange: _Exchange) -> None:
        house.open.discard(exchange)
        self._schedule(key, house)

    def _house(self, key: bytes, principal: Principal) -> House | None:
        """The house of this kind of client; None when there are too many that are in use."""
        house = self._houses.get(key)
        if house is None:
            if not self._room(principal):
                return None
            router = self._make_router()
            session = self._make_session(principal, "", router, lambda _: None)
            house = self._houses[key] = House(principal, session, router)
        self._houses.move_to_end(key)
        if house.closing is not None:
            house.closing.cancel()
        return house

    def _room(self, principal: Principal) -> bool:
        """True when there is room, or the house that was idle longest could make it."""
        own = [key for key, house in self._houses.items() if house.principal == principal]
        among = own if len(own) >= self._own else list(self._houses)
        if len(own) < self._own and len(among) < self._most:
            return True
        for key in among:
            if not self._houses[key].open and not self._houses[key].session.busy:
                self._drop(key)
                return True
        return False

    def _schedule(self, key: bytes, house: House) -> None:
        if house.open or self._houses.get(key) is not house:
            return
        loop = asyncio.get_running_loop()
        house.closing = loop.call_later(IDLE_SECONDS, self._drop, key)

    def _drop(self, key: bytes) -> None:
        house = self._houses.get(key)
        if house is None or house.open:
            return
        if house.session.busy:
            self._schedule(key, house)
            return
        del self._houses[key]
        task = asyncio.create_task(_close(house))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every upstream; parked questions keep their grace."""
        self._closed = True
        houses = list(self._houses.values())
        self._houses.clear()
        for house in houses:
            if house.closing is not None:
                house.closing.cancel()
        await asyncio.gather(*(_close(house) for house in houses), *self._tasks)
        for house in houses:
            for exchange in list(house.open):
                exchange.close()


def _kind(frame: JsonObject, principal: Principal) -> list[object]:
    """What clients that share their upstreams have in common."""
    meta = frame["params"]["_meta"]
    return [principal.identity, principal.name, meta.get(eras.CLIENT_INFO), meta[eras.CAPABILITIES]]


async def _close(house: House) -> None:
    await house.session.close()
    await house.router.close()


class _Exchange:
    """One request of a modern client: plain JSON when the answer comes first and soon, else a stream."""

    def __init__(self, house: House, frame: JsonObject, over: Callable[[_Exchange], None]) -> None:
        self._house = house
        self._frame = frame
        self._over = over
        self._prompt: Prompt | None = None
        self._own = next(house.ids)
        self._status = 0
        self._outbox = Outbox()
        self._began = self._ended = False

    def begin(self, reply: Reply, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Ask the session, and answer with what it says."""
        self._reply = reply
        prompt = self._prompt = Prompt(self._prompted)
        try:
            problem = self._problem(headers)
            if problem is not None:
                self.take(problem)
            elif not self._outbox.ended:  # it has when the gateway began to end in between
                self._house.session.receive({**self._frame, "id": self._own}, self._restore)
        except BaseException:
            prompt.drop()
            self._end()
            raise
        prompt.wait()

    async def begin_later(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same once upstreams that are starting have said what they have."""
        try:
            await self._house.session.learn(self._frame["params"])
        except BaseException:
            self._end()
            raise
        reply = Awaited()
        self.begin(reply, scope["headers"])
        await reply.given(scope, receive, send)

    def _problem(self, headers: Sequence[tuple[bytes, bytes]]) -> JsonObject | None:
        """The error for `Mcp-Param-*` headers that differ from the arguments; None when they fit."""
        if self._frame["method"] != "tools/call":
            return None
        params = self._frame["params"]
        wrong = mirrors.problem(self._house.session.schema_of(params), params.get("arguments"), headers)
        return mismatch(self._frame, wrong) if wrong else None

    def _restore(self, found: JsonObject) -> None:
        self.take(_restored(found, self._own, self._frame["id"]))

    def take(self, frame: JsonObject) -> None:
        """One frame; the answer is the last."""
        data = written(frame)
        final = "method" not in frame
        if final and not self._began:
            self._status = _status(frame)
        self._began = True
        prompt = self._prompt
        if prompt is not None and prompt.open:
            prompt.say(data if self._status else None)
            if self._status:
                return
        if data:
            self._outbox.put(data if self._status else event(data))
        if final:
            self._outbox.end()

    def _prompted(self, answered: bytes | None) -> None:
        if answered is None:
            self._reply.carry(self._carry)
            return
        self._end()
        self._reply.answer(self._status, answered)

    async def _carry(self, _: Scope, receive: Receive, send: Send) -> None:
        try:
            if not await until_gone(receive, self._write(send)):
                self._house.session.hung_up(self._own)
        finally:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._over(self)

    def close(self) -> None:
        """The gateway is ending, and whoever should have answered is gone."""
        self.take(error_frame(self._frame["id"], INTERNAL_ERROR, ENDING))

    async def _write(self, send: Send) -> None:
        """What did not come soon: JSON if the answer comes first all the same, else a stream."""
        first: bytes | None = None
        with contextlib.suppress(TimeoutError):
            first = await self._outbox.next()
        if self._status and first is not None:
            await answer_written(send, self._status, first)
            return
        self._began = True
        await stream(send, self._outbox, opening=first or OPENING)


def _restored(reply: JsonObject, own: int, theirs: str | int) -> JsonObject:
    """The client's own id again, where a frame names the request."""
    if "method" not in reply:
        reply = {**reply, "id": theirs} if reply.get("id") == own else reply
        result = reply.get("result")
        if isinstance(result, dict) and _subscription(result) == own:
            return {**reply, "result": _renamed(result, theirs)}
        return reply
    params = reply.get("params")
    if isinstance(params, dict) and _subscription(params) == own:
        return {**reply, "params": _renamed(params, theirs)}
    return reply


def _subscription(holder: JsonObject) -> object:
    meta = holder.get("_meta")
    return meta.get(eras.SUBSCRIPTION) if isinstance(meta, dict) else None


def _renamed(holder: JsonObject, theirs: str | int) -> JsonObject:
    return {**holder, "_meta": {**holder["_meta"], eras.SUBSCRIPTION: theirs}}


def _status(frame: JsonObject) -> int:
    error = frame.get("error")
    if not isinstance(error, dict):
        return 200
    return _STATUS.get(error["code"], 200)


def _problem(headers: Said, frame: JsonObject) -> JsonObject | None:
    """The error for an envelope or headers that do not fit; None when they do.

    Headers come before the version: a client that contradicts itself is told so.
    """
    meta = (frame.get("params") or {}).get("_meta")
    version = meta.get(eras.VERSION) if isinstance(meta, dict) else None
    if isinstance(meta, dict) and isinstance(version, str) and eras.CAPABILITIES in meta:
        wrong = _mismatched(headers, frame, version)
        if wrong:
            return mismatch(frame, wrong)
    try:
        eras.check_envelope(frame.get("params"))
    except eras.EnvelopeError as error:
        return error_frame(frame["id"], error.code, str(error), error.data)
    return None


def unsupported(version: str | None, frame: JsonObject) -> JsonObject:
    """The error for a version that is spoken in neither era."""
    data = {"supported": [*eras.MODERN_VERSIONS, *eras.LEGACY_VERSIONS], "requested": (version or "")[:100]}
    return error_frame(frame.get("id"), eras.UNSUPPORTED_VERSION, "unsupported protocol version", data)


def _mismatched(headers: Said, frame: JsonObject, version: str) -> str:
    """The first header that does not say what the body says; "" when all do."""
    if headers.version != version:
        return "MCP-Protocol-Version"
    if headers.method != frame["method"]:
        return "Mcp-Method"
    key = mirrors.NAMES.get(frame["method"])
    wanted = frame["params"].get(key) if key is not None else None
    return "Mcp-Name" if isinstance(wanted, str) and headers.name != wanted else ""


def mismatch(frame: JsonObject, name: str) -> JsonObject:
    """The error for a header that differs from the body."""
    return error_frame(frame["id"], HEADER_MISMATCH, f"header `{name}` is missing or differs from the body")
