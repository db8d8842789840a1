"""One connection and the two ways of its requests to the app: as a whole POST, or as ASGI."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from airlock.listener.bounded import Bounded
from airlock.listener.known import KnownHeads
from airlock.listener.post import WholePost
from airlock.ports_http import Scope, Taker

BODY_SECONDS = 0.05
BODY_AT_ONCE = 32 * 1024
"""A body of so many bytes at most is waited for, so long, before a task begins that reads it as it comes."""


class Connection(Bounded):
    """A POST that comes whole may be taken by the app at once (`ports_http.Taker`); all else goes as ASGI."""

    _fresh = False
    """True while the bytes that ended a head are read: nobody has begun to read its body yet."""

    _unstarted = False
    """True while a POST waits for its body: when that comes soon, it may need no task."""

    _body_due: asyncio.TimerHandle | None = None
    """Lets a task begin when the body does not come soon."""

    _taken: WholePost | None = None
    """The request in the bytes that are read which the app took."""

    def __init__(self, known: KnownHeads | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._known = known or KnownHeads()
        app: object = self.app
        self._taker = app if isinstance(app, Taker) else None

    def data_received(self, data: bytes) -> None:
        first = self._between
        if first and self._take_known(data):
            return
        self._taken = None
        super().data_received(data)
        self._fresh = False
        if self._unstarted:
            self._expect_the_rest()
        elif first:
            self._learn(data)

    @property
    def _between(self) -> bool:
        """True when the last request was read and answered, and nothing of the next one is here yet."""
        return self._heading and not self._begun and not self._busy

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_more()
        super().connection_lost(exc)

    # -- a head that is known --------------------------------------------------------------------------

    def _take_known(self, data: bytes) -> bool:
        """True when this is one whole request whose head was read before, and the app took it."""
        found = self._known.find(data)
        if found is None or self._stuck:
            return False
        head, body = found
        scope = head.scope_for(body)
        scope |= {"server": self.server, "client": self.client, "state": self.app_state.copy()}
        before = self.cycle
        self.cycle = self._answering = self._cycle_of(scope)
        if not self._give(WholePost(self, self.cycle, body, head.kept)):
            self.cycle = self._answering = before
            return False
        self._expect_no_head()
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

    def _give(self, post: WholePost) -> bool:
        """True when the app took it; its own failure is uvicorn's to tell and to answer."""
        taker = self._taker
        try:
            return taker is not None and taker.take(post)
        except Exception as error:  # noqa: BLE001 - the edge: what a task raises uvicorn catches likewise
            post.fail(error)
            return True

    # -- a head that the parser reads ------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        self._fresh = True
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        may_be_whole = self._fresh and cycle.scope["method"] == "POST" and not self.expect_100_continue
        if may_be_whole and app is self._taker:
            self._answering, self._unstarted = cycle, True
        else:
            super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._unstarted:
            self._offer()

    def _offer(self) -> None:
        self._expect_no_more()
        post = WholePost(self, self.cycle, bytes(self.cycle.body), {})
        if not self._stuck and self._give(post):
            self._taken = post
        else:
            self._start_unstarted()

    def _expect_the_rest(self) -> None:
        """Most clients send head and body one after the other: a small body may have a moment."""
        length = dict(self.headers).get(b"content-length", b"")
        if not length.isdigit() or int(length[:9]) > BODY_AT_ONCE:
            self._start_unstarted()
        elif self._body_due is None:
            self._body_due = self.loop.call_later(BODY_SECONDS, self._start_unstarted)

    def _expect_no_more(self) -> None:
        self._unstarted = False
        if self._body_due is not None:
            self._body_due.cancel()
            self._body_due = None

    def _start_unstarted(self) -> None:
        self._expect_no_more()
        super()._start_asgi_task(self.cycle, self.app)
