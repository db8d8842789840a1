"""A real listener for a test's own app, and one connection of it without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from airlock.listener.connection import Connection
from airlock.listener.known import KnownHeads
from airlock.listener.server import Listener
from airlock.listener.sockets import bound


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """The port on which the app is served."""

    async def drain() -> None:
        return

    found = bound("127.0.0.1", 0)
    port = found.getsockname()[1]
    listener = Listener(app, listening=found, drain=drain)
    serving = asyncio.create_task(listener.serve(sockets=[found]))
    try:
        yield port
    finally:
        listener.should_exit = True
        async with asyncio.timeout(60):
            await serving


class Line(asyncio.Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.closed = False
        self.reading = True
        self.unread = 0

    def write(self, data: Any) -> None:
        assert not self.closed
        self.out += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def connected(app: Any, heads: KnownHeads | None = None) -> tuple[Connection, Line]:
    """A connection to this app, and what it is written to; feed it with `data_received`."""
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", proxy_headers=False, log_config=None
    )
    config.load()
    line = Line()
    connection = Connection(heads, config=config, server_state=ServerState(), app_state={})
    connection.connection_made(line)
    return connection, line


async def turns(many: int = 12) -> None:
    """Let everything run that can."""
    for _ in range(many):
        await asyncio.sleep(0)


def answers(data: bytes) -> list[Any]:
    """What each answer says, or its status when that is no 200."""
    found: list[Any] = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = [line.split(b":") for line in head.lower().split(b"\r\n")]
        length = next(int(line[1]) for line in lines if line[0] == b"content-length")
        status = int(head.split()[1])
        found.append(json.loads(rest[:length]) if status == 200 else status)
        data = rest[length:]
    return found
