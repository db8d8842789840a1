"""MCP over HTTP in the legacy era: sessions, each with its own upstreams, on Streamable HTTP or old SSE.

A session is found by its id and bound to its principal: for anyone else it does not exist. What an upstream
asks or says goes onto the response of the call that is open, else onto the client's GET stream.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from airlock.model import JsonObject, Principal
from airlock.ports_http import Receive, Reply, Send
from airlock.proxy.front.asgi import (
    OPENING,
    Outbox,
    Prompt,
    answer,
    event,
    stream,
    until_gone,
    written,
)
from airlock.proxy.front.channels import Channel, Channels
from airlock.proxy.front.modern import MakeSession
from airlock.proxy.router import Router
from airlock.proxy.session.session import Session
from airlock.proxy.wire import INVALID_REQUEST, error_frame

MAX_SESSIONS: Final = 1_000
MAX_OWN: Final = 250
"""Sessions in all, and of one principal: who opens too many ends their own idle ones, never another's."""

IDLE_SECONDS: Final = 1_800.0
SWEEP_SECONDS: Final = 30.0
MAX_KEPT: Final = 1_000
"""Frames that are kept for a client that has no stream open."""

RESUMABLE: Final = "2025-11-25"
"""Since this version a client may come back for a stream that broke off."""

SESSION_HEADER: Final = b"mcp-session-id"


class LegacySession:
    """One legacy client: its session, its upstreams, and its open responses."""

    def __init__(self, principal: Principal, router: Router, make: MakeSession) -> None:
        self.id = secrets.token_hex(16)
        self.principal = principal
        self.router = router
        self.session: Session = make(principal, self.id, router, self._outward)
        self.session.client.on_pause = self._pause
        self.touched = time.monotonic()
        self._channels = Channels()
        self._pressed = 0
        self._old: Outbox | None = None
        self._kept: deque[JsonObject] = deque(maxlen=MAX_KEPT)

    @property
    def busy(self) -> bool:
        """True while a response of it is open."""
        return self._old is not None or self._channels.busy

    def _outward(self, frame: JsonObject) -> None:
        """What is no answer: to the GET stream, or while there is none with the newest open call."""
        if self._old is not None:
            self._old.put(event(written(frame)))
            return
        channel = self._channels.listening
        if channel is None or "id" in frame:
            channel = self._channels.newest() or channel
        if channel is not None:
            channel.put(frame)
        else:
            self._kept.append(frame)

    def _press(self, pressed: bool) -> None:
        """A response is read slowly: the upstreams wait until it is not."""
        self._pressed += 1 if pressed else -1
        self.router.hold(self._pressed > 0)

    # -- POST ----------------------------------------------------------------------------------------

    def post(self, reply: Reply, frame: JsonObject, version: str | None) -> None:
        """Answer one message of the client, whose headers name this protocol version."""
        self.touched = time.monotonic()
        if "method" not in frame or "id" not in frame:
            self.session.receive(frame)
            reply.answer(202)
            return
        channel = self._channels.open(frame, resumable=version is not None and version >= RESUMABLE)
        prompt = channel.prompt = Prompt(partial(self._prompted, channel, reply))
        try:
            self.session.receive(frame, channel.give)
        except BaseException:
            prompt.drop()
            self._channels.forget(channel)
            raise
        prompt.wait()

    def _prompted(self, channel: Channel, reply: Reply, answered: bytes | None) -> None:
        if answered is None:
            outbox = channel.attach(Outbox(self._press))
            opening = channel.priming()
            reply.carry(lambda _, receive, send: self._carry(receive, send, channel, outbox, opening))
        else:
            self._channels.forget(channel)
            self.touched = time.monotonic()
            reply.answer(200, answered, ((SESSION_HEADER, self.id.encode()),))

    async def _carry(
        self, receive: Receive, send: Send, channel: Channel, outbox: Outbox, opening: bytes
    ) -> None:
        """Write a channel into one response, until it ends or the client is gone."""
        named = [(SESSION_HEADER, self.id.encode())]
        try:
            whole = await until_gone(receive, stream(send, outbox, named, opening))
            if not whole and channel.outbox is outbox and not channel.ended:
                self._lost(channel)
        finally:
            outbox.close()
            channel.detach(outbox)
            if not channel.resumable:
                self._channels.forget(channel)
            self.touched = time.monotonic()

    def _lost(self, channel: Channel) -> None:
        """The connection is gone before the answer: a call that waits for a person is left.

        Its client may come back for the stream: then the call is made again, and finds its answer.
        """
        if channel.request is not None and self.session.hung_up(channel.request["id"]):
            channel.left = True

    def _pause(self, request_id: str | int) -> None:
        """The upstream let go of the connection of a call: so do we, if the client can come back for it."""
        channel = self._channels.of(request_id)
        if channel is not None and channel.resumable:
            channel.begin()
            if channel.outbox is not None:
                channel.outbox.end()

    # -- GET -----------------------------------------------------------------------------------------

    async def listen(self, receive: Receive, send: Send, version: str | None, last: str | None) -> None:
        """GET: the one stream for what belongs to no call, or a stream that is taken up again."""
        if last is not None:
            await self._resume(receive, send, last)
        elif self._channels.listening is not None and self._channels.listening.outbox is not None:
            problem = error_frame(None, INVALID_REQUEST, "this session has a stream open already")
            await answer(send, 409, problem)
        else:
            channel = self._channels.listen(resumable=version is not None and version >= RESUMABLE)
            outbox = channel.attach(Outbox())
            for frame in self._kept:
                channel.put(frame)
            self._kept.clear()
            await self._carry(receive, send, channel, outbox, channel.priming())

    async def _resume(self, receive: Receive, send: Send, last: str) -> None:
        found = self._channels.since(last)
        if found is None:
            problem = error_frame(None, INVALID_REQUEST, "what followed `Last-Event-ID` is not kept any more")
            await answer(send, 404, problem)
            return
        channel, missed = found
        channel.begin()  # whoever still waits for a whole answer gets a stream, which ends here
        outbox = channel.attach(Outbox(self._press if channel.request is not None else None))
        for data in missed:
            outbox.put(data)
        if channel.ended:
            outbox.end()
        if channel.left and channel.request is not None:
            channel.left = False
            self.session.receive(channel.request, channel.give)
        await self._carry(receive, send, channel, outbox, OPENING)

    # -- the old transport ---------------------------------------------------------------------------

    async def old_stream(self, receive: Receive, send: Send, opening: bytes) -> None:
        """The one stream of an old client: everything goes out on it."""
        self._old = Outbox(self._press)
        try:
            await until_gone(receive, stream(send, self._old, opening=opening))
        finally:
            self._old.close()

    def take(self, frame: JsonObject) -> None:
        """A message that came by the old transport."""
        self.touched = time.monotonic()
        self.session.receive(frame)

    async def close(self) -> None:
        """The client is gone: end its responses, its upstreams; parked questions keep their grace."""
        self._channels.close()
        if self._old is not None:
            self._old.end()
        await asyncio.gather(self.session.close(), self.router.close())


class Legacy:
    """The sessions of all legacy clients."""

    def __init__(
        self,
        make_router: Callable[[], Router],
        make_session: MakeSession,
        *,
        most: int = MAX_SESSIONS,
        own: int = MAX_OWN,
    ) -> None:
        self._make_router = make_router
        self._make_session = make_session
        self._most = most
        self._own = own
        self._open: dict[str, LegacySession] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.closed = False
        """True when the process ends: then no session begins."""

    def sessions(self) -> list[Session]:
        """Everyone to be told when the policy changes."""
        return [one.session for one in self._open.values()]

    def find(self, session_id: str | None, principal: Principal) -> LegacySession | None:
        """The session of this id, if it is this principal's."""
        found = self._open.get(session_id or "")
        if found is None or not (found.principal is principal or found.principal == principal):
            return None
        return found

    def begin(self, principal: Principal) -> LegacySession | None:
        """A new session; None when there are too many that are in use."""
        if self.closed or not self._room(principal):
            return None
        session = LegacySession(principal, self._make_router(), self._make_session)
        self._open[session.id] = session
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep(), name="airlock-sessions")
        return session

    def _room(self, principal: Principal) -> bool:
        """True when there is room, or this principal's longest idle session could make it."""
        own = [one for one in self._open.values() if one.principal == principal]
        if len(own) < self._own and len(self._open) < self._most:
            return True
        idle = [one for one in own if not one.busy]
        if not idle:
            return False
        oldest = min(idle, key=lambda one: one.touched)
        del self._open[oldest.id]
        self._closing.add(task := asyncio.create_task(oldest.close()))
        task.add_done_callback(self._closing.discard)
        return True

    async def end(self, session: LegacySession) -> None:
        """Close one session."""
        self._open.pop(session.id, None)
        await session.close()

    async def _sweep(self) -> None:
        while self._open:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep(time.monotonic())

    async def sweep(self, now: float) -> None:
        """End the sessions that are idle too long by now."""
        old = now - IDLE_SECONDS
        for session in [one for one in self._open.values() if one.touched < old and not one.busy]:
            await self.end(session)

    async def close(self) -> None:
        """End all sessions."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        sessions = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(one.close() for one in sessions), *self._closing)
