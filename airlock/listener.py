"""The gateway's HTTP server: one uvicorn on the running loop, said to be ready once, ended in order."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import logging
import math
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from airlock.errors import UsageError, why
from airlock.proxy.front_io import WHOLE_BODY
from airlock.proxy.http_wire import read_less

GRACE_SECONDS = 1
"""How long connections may finish after every long answer was ended by `drain`."""

HEAD_SECONDS = 15.0
"""How long a connection may take to send the head of a request: who only opens them holds none for long."""

HEAD_LIMIT = 64 * 1024
"""Bytes of one head, with its request line."""

MOST_FILES = 8_192
"""As many descriptors as this process takes, where the system lets it: each connection is one."""

Drain = Callable[[], Awaitable[Any]]
Tell = Callable[[str], None]

log = logging.getLogger(__name__)


class Corked:
    """A transport that sends the head of an answer together with what follows it in the same turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Send it; a head by itself waits for the end of the turn."""
        if self._held:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        elif data.startswith(b"HTTP/1.1 "):
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Requests(httptools.HttpRequestParser):
    """Reads a request that would rather speak something else as if it did not say so (RFC 9110, 7.8).

    The parser would take what follows its head for that other protocol, and then, in the next piece, its body
    for a request: whoever writes bodies could write requests.
    """

    def __init__(self, heads: Heads) -> None:
        super().__init__(heads)
        self._heads = heads
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does: it closes by itself

    def feed_data(self, data: bytes | bytearray | memoryview | array.array[int]) -> None:
        reading = self
        while True:
            try:
                httptools.HttpRequestParser.feed_data(reading, data)
            except httptools.HttpParserUpgrade as wish:
                data = self._heads.plainly() + bytes(data)[wish.args[0] :]
                # A new one: after such a head the old one may take the connection for closed.
                self._heads.parser = reading = Requests(self._heads)
            else:
                return


class Heads(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, and an end for heads that are too long or do not get to a request."""

    _late: asyncio.TimerHandle | None = None
    _idle_since = math.inf
    _heading = True
    _fresh = False
    """True while the bytes that ended a head are read: nobody has begun to read its body yet."""

    _wishes = False
    """True while a head was read that asks for another protocol: it is read again without that."""

    _began = 0
    """Bytes that came of a head that is not whole yet; one that began beside another request counts as 1."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        read_less(transport)
        super().connection_made(cast(asyncio.Transport, Corked(transport, self.loop)))
        self.parser = Requests(self)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._heading:
            self._began += len(data)
        super().data_received(data)
        self._fresh = False
        cycle: Any = self.cycle  # None until the first request
        if not self._began or not (cycle is None or cycle.response_complete):
            self._stop()
        elif self._began > HEAD_LIMIT:
            self._refuse()
        else:
            self._wait()

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
        self._heading, self._began, self._fresh = False, 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._wishes:
            return
        self._heading = True
        super().on_message_complete()
        if self._fresh and not self.expect_100_continue:
            self.scope[WHOLE_BODY] = bytes(self.cycle.body)  # type: ignore[typeddict-unknown-key]

    def on_response_complete(self) -> None:
        """What uvicorn does then, but with one timer for a connection and not one for each answer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again(self.timeout_keep_alive)
        if self._began:
            self._wait()  # part of the next head is here already

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = math.inf

    def timeout_keep_alive_handler(self) -> None:
        """Close it if it has been idle so long; else come back when it will have been."""
        self.timeout_keep_alive_task = None
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            super().timeout_keep_alive_handler()
        elif left < math.inf:
            self._look_again(left)

    def _look_again(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def _count(self, size: int) -> None:
        self._length += size
        if self._length > HEAD_LIMIT:
            raise ValueError("the head is too long")  # the parser makes a 400 of it

    def _refuse(self) -> None:
        if not self.transport.is_closing():
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


class Listener(uvicorn.Server):
    """Tells its address when it is ready; drains before it closes connections."""

    def __init__(self, app: Any, *, listening: socket.socket, drain: Drain, tell: Tell | None = None) -> None:
        self._drain = drain
        self._tell = tell or announce
        self._socket = listening
        config = uvicorn.Config(
            app,
            http=Heads,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # who asks is the socket's other end, whatever a header says
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=75,
        )
        super().__init__(config)

    async def run_until_signalled(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        take_descriptors()
        await self.serve(sockets=[self._socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell(address(self._socket))
            sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            async with asyncio.timeout(4):
                await self._drain()
        except TimeoutError:
            log.warning("some answers were too slow to end and are cut off")
        await super().shutdown(sockets)
        # uvicorn raises the signal once more when it is done, which would kill us before the store is closed.
        self._captured_signals.clear()


def announce(url: str) -> None:
    """One line for people."""
    sys.stdout.write(f"airlock gateway is ready on {url}\n")


def take_descriptors() -> None:
    """Raise this process's own limit of descriptors as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; UsageError with the cure when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named asyncio sets TCP_NODELAY; without it each answer in parts waits 40 ms.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(2048)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {why(error)} ({_cure(error)})") from error
    found.setblocking(False)
    return found


def _cure(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another gateway may run there: name another port with --port"
    if error.errno == errno.EACCES:
        return "ports below 1024 are the system's: name another with --port"
    return "name an address of this machine with --host"


def address(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
