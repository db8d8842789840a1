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
from typing import Final

from airlock.model import JsonObject, Principal
from airlock.proxy.front_io import Outbox, Receive, Send, answer, stream, until_gone
from airlock.proxy.front_modern import MakeSession
from airlock.proxy.router import Router
from airlock.proxy.session import Session
from airlock.proxy.wire import INVALID_REQUEST, error_frame

MAX_SESSIONS: Final = 1_000
IDLE_SECONDS: Final = 1_800.0
MAX_KEPT: Final = 1_000
"""Frames that are kept for a client that has no stream open."""

SESSION_HEADER: Final = b"mcp-session-id"


class LegacySession:
    """One legacy client: its session, its upstreams, and its open responses."""

    def __init__(self, principal: Principal, router: Router, make: MakeSession) -> None:
        self.id = secrets.token_hex(16)
        self.principal = principal
        self.router = router
        self.session: Session = make(principal, self.id, router, self._outward)
        self.touched = time.monotonic()
        self._posts: dict[int, Outbox] = {}
        self._listening: Outbox | None = None
        self._kept: deque[JsonObject] = deque(maxlen=MAX_KEPT)
        self._count = 0

    @property
    def busy(self) -> bool:
        """True while a response of it is open."""
        return bool(self._posts) or self._listening is not None

    def _outward(self, frame: JsonObject) -> None:
        """What is no answer: to the GET stream, or while there is none with the newest open call."""
        target = self._listening
        if self._posts and ("id" in frame or target is None):
            target = next(reversed(self._posts.values()))
        if target is not None:
            target.put(frame)
        else:
            self._kept.append(frame)

    async def post(self, receive: Receive, send: Send, frame: JsonObject) -> None:
        """Answer one message of the client."""
        self.touched = time.monotonic()
        if "method" not in frame or "id" not in frame:
            self.session.receive(frame)
            await answer(send, 202)
            return
        outbox = Outbox()
        self._count += 1
        number = self._count
        self._posts[number] = outbox

        def give(reply: JsonObject) -> None:
            outbox.put(reply)
            if "method" not in reply:
                outbox.end()

        try:
            self.session.receive(frame, give)
            if not await until_gone(receive, self._respond(send, outbox)):
                self.session.hung_up(frame["id"])
        finally:
            del self._posts[number]
            self.touched = time.monotonic()

    async def _respond(self, send: Send, outbox: Outbox) -> None:
        named = [(SESSION_HEADER, self.id.encode())]
        try:
            first = await outbox.next()
        except TimeoutError:
            first = None
        if first is not None and "method" not in first:
            await answer(send, 200, first, named)
        else:
            await stream(send, outbox, named, first=first)

    async def listen(self, receive: Receive, send: Send, opening: bytes = b"") -> None:
        """Keep the client's GET stream open; a second one at the same time is refused."""
        if self._listening is not None:
            problem = error_frame(None, INVALID_REQUEST, "this session has a stream open already")
            await answer(send, 409, problem)
            return
        outbox = self._listening = Outbox()
        for frame in self._kept:
            outbox.put(frame)
        self._kept.clear()
        try:
            work = _sse(send, outbox, opening) if opening else stream(send, outbox, self._named())
            await until_gone(receive, work)
        finally:
            self._listening = None
            self.touched = time.monotonic()

    def _named(self) -> list[tuple[bytes, bytes]]:
        return [(SESSION_HEADER, self.id.encode())]

    def take(self, frame: JsonObject) -> None:
        """A message that came by the old transport: everything goes out on the one stream."""
        self.touched = time.monotonic()
        self.session.receive(frame)

    async def close(self) -> None:
        """The client is gone: end its responses, its upstreams; parked questions keep their grace."""
        for outbox in (*self._posts.values(), self._listening):
            if outbox is not None:
                outbox.end()
        await self.session.close()
        await self.router.close()


async def _sse(send: Send, outbox: Outbox, opening: bytes) -> None:
    async def first_opening(message: dict[str, object]) -> None:
        if message.get("body") == b": open\n\n":
            message = {**message, "body": opening}
        await send(message)

    await stream(first_opening, outbox)  # type: ignore[arg-type]


class Legacy:
    """The sessions of all legacy clients."""

    def __init__(self, make_router: Callable[[], Router], make_session: MakeSession) -> None:
        self._make_router = make_router
        self._make_session = make_session
        self._open: dict[str, LegacySession] = {}
        self._sweeper: asyncio.Task[None] | None = None

    def sessions(self) -> list[Session]:
        """Everyone to be told when the policy changes."""
        return [one.session for one in self._open.values()]

    def find(self, session_id: str | None, principal: Principal) -> LegacySession | None:
        """The session of this id, if it is this principal's."""
        found = self._open.get(session_id or "")
        return found if found is not None and found.principal == principal else None

    def begin(self, principal: Principal) -> LegacySession | None:
        """A new session; None when there are too many that are in use."""
        if len(self._open) >= MAX_SESSIONS:
            return None
        session = LegacySession(principal, self._make_router(), self._make_session)
        self._open[session.id] = session
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep(), name="airlock-sessions")
        return session

    async def end(self, session: LegacySession) -> None:
        """Close one session."""
        self._open.pop(session.id, None)
        await session.close()

    async def _sweep(self) -> None:
        while self._open:
            await asyncio.sleep(30)
            old = time.monotonic() - IDLE_SECONDS
            for session in [one for one in self._open.values() if one.touched < old and not one.busy]:
                await self.end(session)

    async def close(self) -> None:
        """End all sessions."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        sessions = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(one.close() for one in sessions))
