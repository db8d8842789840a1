"""A POST that came whole, and its answer in one write: what a call needs, without a task."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from airlock.ports_http import App, Headers, Receive, Scope, Send
from airlock.proxy.front.asgi import answer_written, entity_headers

if TYPE_CHECKING:
    from airlock.listener.connection import Connection

log = logging.getLogger(__name__)


class WholePost:
    """One such request of one connection. Implements `ports_http.Post`."""

    __slots__ = ("_connection", "_counted", "_cycle", "_given", "body", "kept", "scope")

    def __init__(
        self, connection: Connection, cycle: RequestResponseCycle, body: bytes, kept: dict[str, Any]
    ) -> None:
        self.scope: Scope = cycle.scope  # type: ignore[assignment]
        self.body = body
        self.kept = kept
        self._connection = connection
        self._cycle = cycle
        self._counted: Callable[[int], None] = _uncounted
        self._given = False

    @property
    def lasting(self) -> bool:
        """True when another request may follow on its connection."""
        return self._cycle.keep_alive

    def count_by(self, counted: Callable[[int], None]) -> None:
        """Have the status of the answer told."""
        self._counted = counted

    def answer(self, status: int, content: bytes = b"", headers: Headers = ()) -> None:
        """Send a whole answer now; to a client that reads too slowly, when it can take it."""
        if self._connection.flow.write_paused:
            self.carry(lambda _, __, send: answer_written(send, status, content, headers))
            return
        self._give()
        self._counted(status)
        cycle = self._cycle
        cycle.response_started = cycle.response_complete = True
        if not cycle.disconnected and not cycle.transport.is_closing():
            self._write(status, content, headers)
        cycle.on_response()

    def _write(self, status: int, content: bytes, headers: Headers) -> None:
        cycle = self._cycle
        sent = [*cycle.default_headers, *entity_headers(content), *headers]
        if not cycle.keep_alive:
            sent.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % one for one in sent]
        transport: Any = cycle.transport  # a `Corked`: every connection of ours has one
        transport.write_whole(b"".join((STATUS_LINE[status], *lines, b"\r\n", content)))
        if not cycle.keep_alive:
            cycle.transport.close()

    def carry(self, app: App) -> None:
        """Let this app answer in a task."""
        self._give()
        cycle = self._cycle
        cycle.body, cycle.more_body = bytearray(self.body), False
        cycle.message_event.set()
        self._connection.start(cycle, partial(_carried, app, self._counted))

    def fail(self, error: Exception) -> None:
        """A defect of ours: a 500, as for any app that raises, unless the request is on its way already."""
        if self._given:
            log.error("a request failed after its answer was on the way", exc_info=error)
        else:
            self.carry(partial(_raising, error))

    def _give(self) -> None:
        if self._given:
            raise AssertionError("a request has one answer")
        self._given = True


def _uncounted(_: int) -> None:
    return


async def _carried(
    app: App, counted: Callable[[int], None], scope: Scope, receive: Receive, send: Send
) -> None:
    async def counting(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            counted(cast(int, message["status"]))
        await send(message)

    await app(scope, receive, cast(Send, counting))


async def _raising(error: Exception, *_: object) -> None:
    raise error
