"""Bare ASGI: reading one message, and answering with JSON or with a stream of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from airlock.canonical import encode
from airlock.errors import Ending, WireError
from airlock.model import JsonObject
from airlock.ports_http import App, Headers, Receive, Reply, Scope, Send
from airlock.proxy.wire import INTERNAL_ERROR, error_frame

QUIET_SECONDS: Final = 15.0
"""How long a stream is silent before a comment says that it lives."""

MAX_QUEUED: Final = 10_000
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
"""What a client may leave unread; then its stream is ended."""

PRESSED: Final = 1_000
PRESSED_BYTES: Final = 1024 * 1024
"""From here on whoever writes is asked to wait."""

_NOT_WANTED: Final = re.compile(r";q=0(\.0*)?(;|$)")

_ONCE: Final = "airlock.once"

BODY_SECONDS: Final = 60.0
"""How long a message may take to arrive."""

SOON_SECONDS: Final = 0.05
"""An answer that comes first and within this time goes out whole; then somebody watches the connection."""

OPENING: Final = b": open\n\n"

ENDING: Final = str(Ending())
RETRY: Final = (b"retry-after", b"1")

JSON_TYPE: Final = (b"content-type", b"application/json")
SSE_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


log = logging.getLogger(__name__)


class BodyTooLarge(Exception):
    """The message is longer than the limit."""


class BodyTooSlow(Exception):
    """The message did not arrive in time."""


class ClientGone(Exception):
    """The client closed the connection before it had sent its message."""


def header(scope: Scope, name: bytes) -> str | None:
    """The value of one header, without surrounding blanks; None when it is absent or stands twice."""
    once = scope.get(_ONCE)
    if once is None:
        once = scope[_ONCE] = _once(scope["headers"])
    value = once.get(name)
    return None if value is None else value.decode("latin-1").strip(" \t")


def _once(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers that stand once."""
    found = dict(headers)
    if len(found) != len(headers):
        counts = Counter(name for name, _ in headers)
        found = {name: value for name, value in found.items() if counts[name] == 1}
    return found


def accepts(scope: Scope, *kinds: str) -> bool:
    """True when the client takes all of these kinds of answer; who says nothing takes everything."""
    sent = b",".join([value for key, value in scope["headers"] if key == b"accept"])
    return _takes(sent, kinds)


@lru_cache(maxsize=64)
def _takes(sent: bytes, kinds: tuple[str, ...]) -> bool:
    named = [one.replace(" ", "") for one in sent.decode("latin-1").lower().split(",")]
    accepted = {one.partition(";")[0].strip() for one in named if not _NOT_WANTED.search(one)}
    wanted = ({kind, kind.partition("/")[0] + "/*", "*/*"} for kind in kinds)
    return not sent or all(one & accepted for one in wanted)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body; BodyTooLarge once it passes the limit, BodyTooSlow, ClientGone when it breaks off."""
    announced = header(scope, b"content-length") or "0"
    if announced.isdigit() and int(announced[:20]) > limit:
        raise BodyTooLarge
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_whole(receive, limit)
    except TimeoutError:
        raise BodyTooSlow from None


async def _read_whole(receive: Receive, limit: int) -> bytes:
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
    await answer_written(send, status, b"" if body is None else encode(body), headers)


async def answer_written(send: Send, status: int, content: bytes, headers: Headers = ()) -> None:
    """One complete response whose JSON is written already."""
    sent = [*entity_headers(content), *headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": content})


def entity_headers(content: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a whole answer, whose content is JSON where there is any."""
    length = (b"content-length", b"%d" % len(content))
    return (JSON_TYPE, length) if content else (length,)


def refuse(reply: Reply, status: int, problem: JsonObject) -> None:
    """Answer with an error."""
    reply.answer(status, encode(problem))


def refuse_at_end(reply: Reply, request_id: str | int | None) -> None:
    """Say that the process ends, and when to come back."""
    reply.answer(503, encode(error_frame(request_id, INTERNAL_ERROR, ENDING)), [RETRY])


class Awaited:
    """A `Reply` for a request that an ASGI server handed over: its task waits here for what to do."""

    def __init__(self) -> None:
        self._app: asyncio.Future[App] = asyncio.get_running_loop().create_future()

    def answer(self, status: int, content: bytes = b"", headers: Headers = ()) -> None:
        """Send a whole answer."""

        async def answering(_: Scope, __: Receive, send: Send) -> None:
            await answer_written(send, status, content, headers)

        self.carry(answering)

    def carry(self, app: App) -> None:
        """Let this app answer."""
        if not self._app.done():  # else whoever asked has been cancelled
            self._app.set_result(app)

    async def given(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for the answer, and send it."""
        app = await self._app
        await app(scope, receive, send)


class Prompt:
    """Whether an answer came soon and before anything else: then it needs no stream, and no task to watch.

    `said` is called once: with that answer, or with None when a stream is needed after all.
    """

    def __init__(self, said: Callable[[bytes | None], None]) -> None:
        self._said: Callable[[bytes | None], None] | None = said
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """True while an answer may still go out whole."""
        return self._said is not None

    def say(self, answer: bytes | None) -> None:
        """This is the answer; None when a stream is needed after all."""
        said, self._said = self._said, None
        if self._timer is not None:
            self._timer.cancel()
        if said is not None:
            said(answer)

    def drop(self) -> None:
        """Nobody is to be told any more."""
        self._said = None
        self.say(None)

    def wait(self, seconds: float = SOON_SECONDS) -> None:
        """An answer has so long from now on."""
        if self._said is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.say, None)


class Outbox:
    """Messages on their way into one response. `put` never blocks; one that overflows is ended.

    `on_pressure` is told when a client reads more slowly than it is written to, and when that is over.
    """

    def __init__(self, on_pressure: Callable[[bool], None] | None = None) -> None:
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._bell = asyncio.Event()
        self._on_pressure = on_pressure
        self._pressed = False
        self.ended = False

    def put(self, data: bytes) -> None:
        """Add a message."""
        if self.ended:
            return
        full = len(self._queue) >= MAX_QUEUED or self._size + len(data) > MAX_QUEUED_BYTES
        if self._queue and full:
            log.warning("a client reads too slowly: its stream is ended")
            self.end()
            return
        self._queue.append(data)
        self._size += len(data)
        self._bell.set()
        self._weigh()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._bell.set()

    async def next(self) -> bytes | None:
        """The next message; None when it has ended. TimeoutError when QUIET_SECONDS pass without one."""
        while not self._queue:
            if self.ended:
                return None
            self._bell.clear()
            async with asyncio.timeout(QUIET_SECONDS):
                await self._bell.wait()
        data = self._queue.popleft()
        self._size -= len(data)
        self._weigh()
        return data

    def close(self) -> None:
        """Nobody reads any more."""
        self.end()
        self._queue.clear()
        self._size = 0
        self._weigh()

    def _weigh(self) -> None:
        limit = PRESSED_BYTES // 4 if self._pressed else PRESSED_BYTES
        pressed = self._size > limit or len(self._queue) > (PRESSED // 4 if self._pressed else PRESSED)
        if pressed != self._pressed and self._on_pressure is not None:
            self._pressed = pressed
            self._on_pressure(pressed)


async def stream(send: Send, outbox: Outbox, headers: Headers = (), opening: bytes = OPENING) -> None:
    """Write events as they come until the outbox ends. The opening goes first, and at once:

    clients take a stream for open when they see its first byte.
    """
    await send({"type": "http.response.start", "status": 200, "headers": [*SSE_HEADERS, *headers]})
    await send({"type": "http.response.body", "body": opening, "more_body": True})
    try:
        while True:
            try:
                data = await outbox.next()
            except TimeoutError:
                data = b": alive\n\n"
            if data is None:
                break
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        outbox.close()


def written(frame: JsonObject) -> bytes:
    """A frame as JSON; where that cannot be, an error in an answer's place, and nothing in another's."""
    try:
        return encode(frame)
    except WireError as error:
        log.warning("a message cannot be written: %s", error)
        if "method" in frame:
            return b""
        text = f"airlock: the answer cannot be written: {error}"
        return encode(error_frame(frame.get("id"), INTERNAL_ERROR, text))


def event(data: bytes, event_id: str = "") -> bytes:
    """One message as a server-sent event; JSON on one line holds no line break."""
    named = f"id: {event_id}\n".encode() if event_id else b""
    return named + b"event: message\ndata: " + data + b"\n\n"


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
