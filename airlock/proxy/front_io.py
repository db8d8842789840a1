"""Bare ASGI: reading one message, and answering with JSON or with a stream of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from airlock.canonical import encode
from airlock.model import JsonObject

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

QUIET_SECONDS: Final = 15.0
"""How long a stream is silent before a comment says that it lives."""

MAX_QUEUED: Final = 10_000
"""Frames that a client may leave unread; then its stream is ended."""

JSON_TYPE: Final = (b"content-type", b"application/json")
SSE_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class BodyTooLarge(Exception):
    """The message is longer than the limit."""


class ClientGone(Exception):
    """The client closed the connection before it had sent its message."""


def header(scope: Scope, name: bytes) -> str | None:
    """The value of one header, without surrounding blanks; None when it is absent or stands twice."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1").strip(" \t") if len(values) == 1 else None


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body; BodyTooLarge as soon as it passes the limit, ClientGone when it breaks off."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise BodyTooLarge
        if not message.get("more_body"):
            return b"".join(chunks)


async def answer(send: Send, status: int, body: Any = None, headers: Headers = ()) -> None:
    """One complete response: JSON when there is a body."""
    content = b"" if body is None else encode(body)
    kind = () if body is None else (JSON_TYPE,)
    length = (b"content-length", str(len(content)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*kind, length, *headers]})
    await send({"type": "http.response.body", "body": content})


class Outbox:
    """Frames on their way into one response. `put` never blocks; an outbox that overflows ends itself."""

    def __init__(self) -> None:
        self._frames: deque[JsonObject] = deque()
        self._bell = asyncio.Event()
        self.ended = False

    def put(self, frame: JsonObject) -> None:
        """Add a frame; a response is the last one of a request's outbox, and the caller ends it."""
        if self.ended:
            return
        if len(self._frames) >= MAX_QUEUED:
            self.end()
            return
        self._frames.append(frame)
        self._bell.set()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._bell.set()

    async def next(self) -> JsonObject | None:
        """The next frame; None when it has ended. TimeoutError when QUIET_SECONDS pass without one."""
        while not self._frames:
            if self.ended:
                return None
            self._bell.clear()
            async with asyncio.timeout(QUIET_SECONDS):
                await self._bell.wait()
        return self._frames.popleft()


async def stream(send: Send, outbox: Outbox, headers: Headers = (), first: JsonObject | None = None) -> None:
    """Write frames as server-sent events until the outbox ends."""
    await send({"type": "http.response.start", "status": 200, "headers": [*SSE_HEADERS, *headers]})
    # A first byte at once: clients take a stream for open when they see one.
    opening = b": open\n\n" if first is None else event(first)
    await send({"type": "http.response.body", "body": opening, "more_body": True})
    while True:
        try:
            frame = await outbox.next()
        except TimeoutError:
            await send({"type": "http.response.body", "body": b": alive\n\n", "more_body": True})
            continue
        if frame is None:
            break
        await send({"type": "http.response.body", "body": event(frame), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def event(frame: JsonObject) -> bytes:
    """One frame as a server-sent event; JSON on one line holds no line break."""
    return b"event: message\ndata: " + encode(frame) + b"\n\n"


async def until_gone(receive: Receive, work: Awaitable[None]) -> bool:
    """Run `work` until it is done or the client is gone; False in the latter case, `work` is cancelled."""
    task = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, watching}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        for one in (task, watching):
            one.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await one


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
