"""The gateway's HTTP server: one uvicorn on the running loop, said to be ready once, ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airlock.errors import UsageError

GRACE_SECONDS = 1
"""How long connections may finish after every long answer was ended by `drain`."""

HEAD_SECONDS = 15.0
"""How long a connection may take to send the head of a request: who only opens them holds none for long."""

MOST_FILES = 8_192
"""As many descriptors as this process takes, where the system lets it: each connection is one."""

Drain = Callable[[], Awaitable[Any]]

log = logging.getLogger(__name__)


class Heads(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, and an end for connections that do not get to a request."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle  # None until the first request
        if cycle is None or cycle.response_complete:
            self._wait()
        else:
            self._stop()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.trailing_data[0] and self.cycle.response_complete:
            self._wait()  # part of the next head is here already

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

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
    """Prints one line with its address when it is ready; drains before it closes connections."""

    def __init__(self, app: Any, *, listening: socket.socket, drain: Drain) -> None:
        self._drain = drain
        self._socket = listening
        config = uvicorn.Config(
            app,
            http=Heads,  # h11: httptools keeps blanks around header values, which must equal the body's
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
            sys.stdout.write(f"airlock gateway is ready on {address(self._socket)}\n")
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
        cure = "another gateway may run there: name another port with --port"
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error} ({cure})") from error
    found.setblocking(False)
    return found


def address(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
