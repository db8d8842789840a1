"""GET /events: what happens, as server-sent events, with replay by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airlock.apikeys import Scope as KeyScope
from airlock.errors import UsageError
from airlock.web import schemas
from airlock.web.audit import FARTHEST
from airlock.web.errors import SECURITY_HEADERS, HttpError
from airlock.web.feed import Listener
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route
from airlock.web.services import Services

MOST_LISTENERS = 200
KEEP_ALIVE_S = 15.0
LAST_WORD_S = 0.5


async def events(asked: Asked) -> Response:
    """A stream that ends when the listener leaves, falls behind, or the process does."""
    services = asked.services
    after = _last_seen(asked)
    if asked.request.method == "HEAD":
        return Response(headers=SECURITY_HEADERS, media_type=EventStream.media_type)
    if services.feed.listeners >= MOST_LISTENERS:
        raise HttpError(503, "too many listeners", headers={"Retry-After": "5"})
    if services.closing.asked.is_set():
        raise HttpError(503, "airlock is stopping", headers={"Retry-After": "5"})
    await services.feed.start()
    return EventStream(services, after)


def _last_seen(asked: Asked) -> int | None:
    request = asked.request
    text = request.headers.get("last-event-id") or one(request.query_params, "after")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise UsageError("`Last-Event-ID` must be a sequence number")
    return int(text)


class EventStream(Response):
    """The answer itself: it may stay open for days, and holds one bounded queue."""

    media_type = "text/event-stream"

    def __init__(self, services: Services, after: int | None) -> None:
        super().__init__(headers={**SECURITY_HEADERS, "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._services = services
        self._after = after

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        closing, feed = self._services.closing, self._services.feed
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with closing.held(), feed.listening() as (listener, seq):
            ends: list[asyncio.Task[Any]] = [
                asyncio.create_task(self._pump(send, listener, seq)),
                asyncio.create_task(disconnected(receive)),
                asyncio.create_task(closing.asked.wait()),
                asyncio.create_task(listener.lagging.wait()),
            ]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in ends:
                    task.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                # A listener that does not read would hold even the last word.
                async with asyncio.timeout(LAST_WORD_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send, listener: Listener, seq: int) -> None:
        await _say(send, b"retry: 2000\n: connected\n\n")
        if self._after is not None:
            async for message in self._services.feed.replay(self._after, seq):
                await _say(send, message)
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    message = await listener.queue.get()
            except TimeoutError:
                message = b": still here\n\n"
            await _say(send, message)


async def _say(send: Send, message: bytes) -> None:
    await send({"type": "http.response.body", "body": message, "more_body": True})


async def disconnected(receive: Receive) -> None:
    """Returns when the caller has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


ROUTES = (
    Route(
        method="GET",
        path="/events",
        summary="What happens, as server-sent events",
        description=(
            "`data` is JSON: `{type: new, request}`, `{type: resolved, id, code, action}` or"
            " `{type: activity, …}`, each with `seq`, `kind` and `at`. The id of a message is its sequence"
            " number: send the last one as `Last-Event-ID` to be told what was missed. Comments keep the"
            " connection alive."
        ),
        scopes=frozenset({KeyScope.READ}),
        people=True,
        serve=events,
        parameters=(
            Parameter(
                name="Last-Event-ID",
                place="header",
                schema=schemas.or_empty({"type": "string", "pattern": "^[0-9]{1,15}$"}),
                description="The last id that was seen.",
            ),
            Parameter(
                name="after",
                place="query",
                schema=schemas.or_empty({"type": "integer", "minimum": 0, "maximum": FARTHEST}),
                description="The same, for those who cannot set headers.",
            ),
        ),
        replies={
            200: Reply("the stream", media="text/event-stream"),
            400: Reply("the id is not a sequence number", schemas.ERROR),
            503: Reply("too many listeners, or the process ends", schemas.ERROR),
        },
    ),
)
