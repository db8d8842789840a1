"""HTTP/1.1 as a client: one connection, one request at a time, read by the parser that the gateway uses too.

An answer is there when its head is; its body is read as it comes, and the server waits while nobody reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, cast

import httptools

from airlock.proxy.upstream.event_stream import TooLong

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a head, and of what stands behind or between the pieces of a body: trailers, sizes of chunks."""

HIGH_WATER: Final = 256 * 1024
"""Bytes of a body that wait to be read before the server has to wait."""


READ_AT_ONCE: Final = 32 * 1024
"""Bytes that are read at once. asyncio's own 256 KiB are mapped anew, and unmapped, for each read."""

TINY: Final = 512
"""Bytes of a piece that is put to the one before it while nobody has come for that."""


def read_less(transport: asyncio.BaseTransport) -> None:
    """Let a transport of asyncio's read so much at once; others have their own way."""
    if hasattr(transport, "max_size"):
        transport.max_size = READ_AT_ONCE


class Broken(Exception):
    """The connection ended before the answer did, or what came is no HTTP."""


class Answer:
    """What a server said: the head, and the body as it arrives."""

    def __init__(self, wire: Wire) -> None:
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        """By their names in lower case; one that stands twice is joined with a comma."""
        self._wire = wire
        self._pieces: deque[bytes | bytearray] = deque()
        self._size = 0
        self._ended = False
        self._failure: Broken | None = None
        self._waiter: asyncio.Future[None] | None = None

    # What the connection tells.

    def came(self, data: bytes) -> None:
        """A piece of the body. Tiny ones become one: each by itself would cost many times what it holds."""
        if self._pieces and len(data) < TINY and len(self._pieces[-1]) < READ_AT_ONCE:
            if not isinstance(self._pieces[-1], bytearray):
                self._pieces[-1] = bytearray(self._pieces[-1])
            self._pieces[-1] += data
        else:
            self._pieces.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:
            self._wire.hold(True)
        self._wake()

    def end(self, failure: Broken | None = None) -> None:
        """Nothing more will come."""
        self._ended, self._failure = True, failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the one who asked does.

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece; Broken when it breaks off."""
        while True:
            while self._pieces:
                data = bytes(self._pieces.popleft())
                self._size -= len(data)
                yield data
            if self._ended:
                break
            self._wire.hold(False)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._failure is not None:
            raise self._failure

    async def whole(self, limit: int) -> bytes:
        """The body; TooLong when it passes the limit, Broken when it breaks off."""
        found = bytearray()  # a list of pieces would cost many times what is in them, if they are tiny
        async for data in self.pieces():
            found += data
            if len(found) > limit:
                raise TooLong(f"the answer is longer than {limit} bytes")
        return bytes(found)

    def release(self) -> None:
        """Nobody reads on: a connection whose answer is not over yet is of no further use."""
        if not self._ended:
            self._wire.close()


class Wire(asyncio.Protocol):
    """One connection. `on_free` hears that another request may go out, `on_lost` that none ever will."""

    def __init__(self, on_free: Callable[[Wire], None], on_lost: Callable[[Wire], None]) -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._head: asyncio.Future[Answer] | None = None
        self._interim = False
        self._beside = 0
        self._held = False
        self.free_since = 0.0

    @property
    def usable(self) -> bool:
        """True while another request may go out on it."""
        return self._transport is not None and not self._transport.is_closing() and self._answer is None

    async def ask(self, request: bytes) -> Answer:
        """Send a request that is written whole, and wait for the head of its answer."""
        if self._transport is None:
            raise Broken("the connection was closed")
        self._beside = 0
        self._answer = Answer(self)
        self._head = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._head
        except BaseException:
            self.close()
            raise

    def hold(self, held: bool) -> None:
        """Stop reading, or go on."""
        if held != self._held and self._transport is not None:
            self._held = held
            (self._transport.pause_reading if held else self._transport.resume_reading)()

    def close(self) -> None:
        """Hang up, in the middle of an answer too."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast(asyncio.Transport, transport)
        read_less(self._transport)

    def data_received(self, data: bytes) -> None:
        """Read on. What comes unasked ends the connection."""
        if self._answer is None:
            self.close()
            return
        self._beside += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"what it sent is no HTTP: {error}")
        else:
            if self._beside > HEAD_LIMIT:
                self._fail(f"the {'head' if self._head is not None else 'framing'} of its answer is too long")

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over; a body without a length ends so."""
        self._transport = None
        self._on_lost(self)
        framed = self._answer is not None and {"content-length", "transfer-encoding"} & set(
            self._answer.headers
        )
        if self._head is None and self._answer is not None and exc is None and not framed:
            self._over()
        elif self._answer is not None:
            self._fail(str(exc) if exc else "the server closed the connection")

    def _fail(self, reason: str) -> None:
        failure = Broken(reason)
        answer, self._answer = self._answer, None
        head, self._head = self._head, None
        if head is not None:
            if not head.done():
                head.set_exception(failure)
        elif answer is not None:
            answer.end(failure)
        self.close()

    def _over(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.end()

    # What the parser tells.

    def on_message_begin(self) -> None:
        """A head begins: perhaps of an interim answer, and there is another one."""
        if self._answer is None or self._head is None:
            raise ValueError("an answer that nobody asked for")
        self._answer.headers.clear()
        self._answer.reason = ""

    def on_status(self, status: bytes) -> None:
        """The words behind the status."""
        if self._answer is not None:
            self._answer.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; what is said behind the body is not heard."""
        if self._answer is not None and self._head is not None:
            headers, key = self._answer.headers, name.decode("latin-1").lower()
            text = value.decode("latin-1").strip(" \t")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """The head is whole."""
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim or self._answer is None or self._head is None:
            return
        self._answer.status = status
        head, self._head = self._head, None
        if not head.done():
            head.set_result(self._answer)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._beside = 0
        if self._answer is not None:
            self._answer.came(body)

    def on_message_complete(self) -> None:
        """The answer is over."""
        if self._interim:
            return
        keep = self._parser.should_keep_alive()
        self._over()
        self.hold(False)
        if keep:
            self._on_free(self)
        else:
            self.close()


class Tunnel(asyncio.Protocol):
    """A connection to a proxy until it says that it passes bytes on."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._said = b""
        self._open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask(self, authority: str, headers: list[str]) -> None:
        """Have a way opened to this host and port; Broken with the proxy's words when it does not."""
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *headers, "", ""]
        if self._transport is not None:
            self._transport.write("\r\n".join(lines).encode())
        await self._open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The proxy is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Its answer, which has no body."""
        self._said += data
        head, ended, rest = self._said.partition(b"\r\n\r\n")
        if self._open.done() or not (ended or len(head) > HEAD_LIMIT):
            return
        first = head.partition(b"\r\n")[0].decode("latin-1")
        if ended and first.split()[1:2] == ["200"] and not rest:
            self._open.set_result(None)
        else:
            self._open.set_exception(Broken(f"the proxy answered `{first[:80]}`"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy hung up."""
        if not self._open.done():
            self._open.set_exception(Broken(str(exc) if exc else "the proxy closed the connection"))
