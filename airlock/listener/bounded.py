"""HTTP/1.1 as uvicorn speaks it, with an end for each state that a connection may be in."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from functools import partial
from typing import Any, cast

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from airlock.canonical import encode
from airlock.errors import Ending
from airlock.listener.corked import Corked
from airlock.listener.refused import Refused
from airlock.listener.requests import Requests
from airlock.ports_http import App, Receive, Scope, Send
from airlock.proxy.front.asgi import entity_headers
from airlock.proxy.upstream.http_wire import read_less

HEAD_SECONDS = 15.0
"""How long a connection may take to send the head of a request: who only opens them holds none for long."""

HEAD_LIMIT = 64 * 1024
"""Bytes of one head, with its request line; and of what stands behind or between the pieces of a body."""

LAST_BODY_SECONDS = 0.5
"""How long the rest of a body may take when the process ends: less than its grace."""

MOST_WAITING = 100
"""Requests that may wait on one connection until earlier ones are answered; each costs us some kilobytes."""


class Bounded(HttpToolsProtocol):
    """One connection. Nobody holds it for nothing, and no client fills our memory through it."""

    _corked: Corked
    """The same as `transport`, by its own type."""

    _heading = True
    """True from the end of a request to the end of the next one's head."""

    _begun = 0
    """Bytes that came of a head that is not whole yet; one that began beside another request counts as 1."""

    _beside = 0
    """Bytes that came since the last piece of a body: sizes of chunks, trailers."""

    _counted = 0
    """Bytes of a head in what the parser has told of it."""

    _fault = "what came is no HTTP request"
    """What the parser stopped at, where it was told to by us."""

    _wishes = False
    """True while a head was read that asks for another protocol: it is read again without that."""

    _late: asyncio.TimerHandle | None = None
    """Ends a connection whose head does not get to a request."""

    _ending: asyncio.TimerHandle | None = None
    _ended = False
    """True once bodies are no longer waited for, since the process ends; the timer makes it so."""

    _idle_since = 0.0
    """When there was last something to do here."""

    _answering: RequestResponseCycle | None = None
    """The request whose answer is next: `cycle` is the one that was read last, and may wait behind it."""

    def __init__(self, refused: Refused | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._refused = refused or Refused()

    # -- the connection --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        read_less(transport)
        self._corked = Corked(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._corked))
        self.parser = Requests(self)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._heading:
            self._begun += len(data)
        else:
            self._beside += len(data)
        self._feed(data)
        if max(self._begun, self._beside) > HEAD_LIMIT:
            self.send_400_response("the head of the request, or what stands beside its body, is too long")
        elif self._begun and not self._busy:
            self._expect_head()
        else:
            self._expect_no_head()
        if not self._busy:
            self._rest()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except HttpParserError:
            self.send_400_response(self._fault)

    def shutdown(self) -> None:
        """The process ends: a request that is here has its answer, one that comes has a moment."""
        super().shutdown()
        if self._busy and self._ending is None:
            self._ending = self.loop.call_later(LAST_BODY_SECONDS, self._end_bodies)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_head()
        if self._ending is not None:
            self._ending.cancel()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True  # uvicorn tells only the one that was read last
            self._answering.message_event.set()
        super().connection_lost(exc)
        self._corked.unwatch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._corked.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._corked.unwatch()

    # -- heads -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun = self._begun or 1
        self._counted = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        # What stands behind a body is no header: who looked at the head did not see it (RFC 9110, 6.5.1).
        if self._heading:
            # The parser keeps blanks behind a value, which are none of it (5.5).
            super().on_header(name, value.rstrip(b" \t"))

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > HEAD_LIMIT:
            raise self._stopped("the head of the request is too long")

    def on_headers_complete(self) -> None:
        self._wishes = self.parser.should_upgrade()
        if self._wishes:
            if self.parser.get_method() == b"CONNECT":
                raise self._stopped("nothing is passed on here")
            return
        if len(self.pipeline) >= MOST_WAITING:
            raise self._stopped("too many requests at once")
        self._heading, self._begun, self._beside = False, 0, 0
        super().on_headers_complete()

    def _stopped(self, fault: str) -> ValueError:
        """What to raise where the parser is to stop: it becomes a 400."""
        self._fault = fault
        return ValueError(fault)

    def plainly(self) -> bytes:
        """The head that was read last, without the wish for another protocol; the last on its connection."""
        start = b"%b %b HTTP/%b" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        kept = [one for one in self.headers if one[0] not in {b"upgrade", b"connection"}]
        lines = [start, *(b"%b: %b" % one for one in kept), b"connection: close", b"", b""]
        return b"\r\n".join(lines)

    def on_body(self, body: bytes) -> None:
        self._beside = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._wishes:
            self._heading, self._beside = True, 0
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong, but not in the middle of an answer: then the connection just ends."""
        current = self._answering
        if current is not None and current.response_started and not current.response_complete:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._refused.note(self.client[0] if self.client else "this machine")
            content = encode({"error": msg, "details": None})
            sent = [*self.server_state.default_headers, *entity_headers(content), (b"connection", b"close")]
            lines = [b"%b: %b\r\n" % one for one in sent]
            self.transport.write(b"".join((STATUS_LINE[400], *lines, b"\r\n", content)))
            self.transport.close()

    # -- answers ---------------------------------------------------------------------------------------

    @property
    def _busy(self) -> bool:
        """True while a request is not answered."""
        cycle: Any = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self.transport.is_closing():  # else the answer before it was the last of its connection
            self._answering = cycle
            self.start(cycle, app)

    def start(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let this app answer in a task of its own."""
        super()._start_asgi_task(cycle, partial(self._answer, app) if cycle.more_body else app)
        if self._ended:
            cycle.message_event.set()

    async def _answer(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> MutableMapping[str, Any]:
            message = await receive()
            if self._ended and message.get("more_body"):
                raise Ending
            return message

        await app(scope, received, send)

    def _end_bodies(self) -> None:
        self._ended = True
        if self._answering is not None:
            self._answering.message_event.set()

    def on_response_complete(self) -> None:
        """What uvicorn does then, but with one timer for a connection and not one for each answer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._rest()
        if self._begun:
            self._expect_head()  # part of the next one is here already

    # -- how long --------------------------------------------------------------------------------------

    def _expect_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _expect_no_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        self.transport.abort()

    def _rest(self) -> None:
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again(self.timeout_keep_alive)

    def _look_again(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close it if it has been idle so long; else come back when it may have been."""
        self.timeout_keep_alive_task = None
        if self._busy:
            return  # the end of the answer sets it again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            super().timeout_keep_alive_handler()
        else:
            self._look_again(left)

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: the timer runs on, and finds out whether it is wanted."""
