"""One connection: its requests, with limits on their heads, and the two ways of each to the app."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from airlock.listener.corked import Corked
from airlock.listener.known import KnownHeads
from airlock.listener.post import WholePost
from airlock.listener.requests import Requests
from airlock.ports_http import Scope, Taker
from airlock.proxy.http_wire import read_less

HEAD_SECONDS = 15.0
"""How long a connection may take to send the head of a request: who only opens them holds none for long."""

HEAD_LIMIT = 64 * 1024
"""Bytes of one head, with its request line."""

MOST_WAITING = 100
"""Requests that may wait on one connection until earlier ones are answered; each costs us some kilobytes."""

UNREAD_SECONDS = 120.0
"""How long a client may read nothing of what waits for it."""

BODY_SECONDS = 0.05
BODY_AT_ONCE = 32 * 1024
"""A body of so many bytes at most is waited for, so long, before a task begins that reads it as it comes."""

log = logging.getLogger(__name__)


class Heads(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, and an end for heads that are too long or do not get to a request.

    A POST that comes whole may be taken by the app at once (`ports_http.Taker`); all else goes as ASGI.
    """

    _late: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    """When there was last something to do here."""

    _unread: asyncio.TimerHandle | None = None
    _left = 0
    """Bytes that were unread when we looked last."""

    _answering: RequestResponseCycle | None = None
    """The request whose answer is next: `cycle` is the one that was read last, and may wait behind it."""

    _heading = True
    _fresh = False
    """True while the bytes that ended a head are read: nobody has begun to read its body yet."""

    _unstarted = False
    """True while a POST waits for its body: when that comes soon, it may need no task."""

    _body_due: asyncio.TimerHandle | None = None

    _taken: WholePost | None = None
    """The request in the bytes that are read which the app took."""

    _wishes = False
    """True while a head was read that asks for another protocol: it is read again without that."""

    _began = 0
    """Bytes that came of a head that is not whole yet; one that began beside another request counts as 1."""

    def __init__(self, known: KnownHeads | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._known = known or KnownHeads()
        app: object = self.app
        self._taker = app if isinstance(app, Taker) else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        read_less(transport)
        super().connection_made(cast(asyncio.Transport, Corked(transport, self.loop)))
        self.parser = Requests(self)
        self._wait()

    def data_received(self, data: bytes) -> None:
        first = self._between
        if first and self._take_known(data):
            return
        if self._heading:
            self._began += len(data)
        self._taken = None
        super().data_received(data)
        self._fresh = False
        if self._unstarted:
            self._expect_the_rest()
        elif first:
            self._learn(data)
        if self._began > HEAD_LIMIT:
            self._refuse()
        elif self._began and not self._busy:
            self._wait()
        else:
            self._stop()
        if not self._busy:
            self._rest()

    @property
    def _busy(self) -> bool:
        """True while a request is not answered."""
        cycle: Any = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete

    @property
    def _between(self) -> bool:
        """True when the last request was read and answered, and nothing of the next one is here yet."""
        return self._heading and not self._began and not self._busy

    # -- a request that comes whole --------------------------------------------------------------------

    def _take_known(self, data: bytes) -> bool:
        """True when this is one whole request whose head was read before, and the app took it."""
        found = self._known.find(data)
        if found is None or self._taker is None or self._stuck:
            return False
        head, body = found
        scope = head.scope_for(body)
        scope |= {"server": self.server, "client": self.client, "state": self.app_state.copy()}
        before = self.cycle
        self.cycle = self._answering = self._cycle_of(scope)
        if not self._give(WholePost(self, self.cycle, body, head.kept)):
            self.cycle = self._answering = before
            return False
        self._stop()
        return True

    def _learn(self, data: bytes) -> None:
        if self._taken is not None:
            self._known.learn(data, self._taken)

    def _cycle_of(self, scope: Scope) -> RequestResponseCycle:
        return RequestResponseCycle(
            scope=scope,  # type: ignore[arg-type]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )

    @property
    def _stuck(self) -> bool:
        """True when an answer could not be written now."""
        return self.flow.write_paused or self.transport.is_closing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.is_closing():
            return  # the answer before it was the last of its connection
        self._answering = cycle
        may_be_whole = self._fresh and cycle.scope["method"] == "POST" and not self.expect_100_continue
        if may_be_whole and app is self._taker:
            self._unstarted = True
        else:
            self.start(cycle, app)

    def start(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let this app answer in a task of its own."""
        super()._start_asgi_task(cycle, app)

    def _expect_the_rest(self) -> None:
        """Most clients send head and body one after the other: a small body may have a moment."""
        length = dict(self.headers).get(b"content-length", b"")
        if not length.isdigit() or int(length[:9]) > BODY_AT_ONCE:
            self._begin()
        elif self._body_due is None:
            self._body_due = self.loop.call_later(BODY_SECONDS, self._begin)

    def _begin(self) -> None:
        self._unwait()
        if not self.transport.is_closing():
            self.start(self.cycle, self.app)

    def _unwait(self) -> None:
        self._unstarted = False
        if self._body_due is not None:
            self._body_due.cancel()
            self._body_due = None

    def _give(self, post: WholePost) -> bool:
        """True when the app took it; its own failure is uvicorn's to tell and to answer."""
        taker = self._taker
        try:
            return taker is not None and taker.take(post)
        except Exception as error:  # noqa: BLE001 - the edge: what a task raises uvicorn catches likewise
            post.fail(error)
            return True

    # -- reading ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._began = self._began or 1
        self._length = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        # The parser keeps blanks behind a value, which are none of it (RFC 9110, 5.5).
        super().on_header(name, value.rstrip(b" \t"))

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

    def on_headers_complete(self) -> None:
        self._wishes = self.parser.should_upgrade()
        if self._wishes:
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("nothing is passed on here")  # the parser makes a 400 of it
            return
        if len(self.pipeline) >= MOST_WAITING:
            raise ValueError("too many requests at once")  # the parser makes a 400 of it
        self._heading, self._began, self._fresh = False, 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._wishes:
            return
        self._heading = True
        super().on_message_complete()
        if self._unstarted:
            self._complete()

    def _complete(self) -> None:
        self._unwait()
        post = WholePost(self, self.cycle, bytes(self.cycle.body), {})
        if not self._stuck and self._give(post):
            self._taken = post
        else:
            self._begin()

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
        if self._began:
            self._wait()  # part of the next head is here already

    def _rest(self) -> None:
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: the timer runs on, and finds out whether it is wanted."""

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

    def _look_again(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._late, self._body_due, self._unread, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True  # uvicorn tells only the one that was read last
            self._answering.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_a_reader()

    def _expect_a_reader(self) -> None:
        """While there is much to read, less of it must be left each time that we look."""
        self._left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._look_for_a_reader)

    def _look_for_a_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._left:
            self._expect_a_reader()
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _count(self, size: int) -> None:
        self._length += size
        if self._length > HEAD_LIMIT:
            raise ValueError("the head is too long")  # the parser makes a 400 of it

    def _refuse(self) -> None:
        if self._busy:
            self.transport.abort()  # a 400 would stand in the middle of another answer
        elif not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        self.transport.abort()
