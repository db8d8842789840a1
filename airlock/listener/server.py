"""One uvicorn on the running loop, said to be ready once, ended in order."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import uvicorn

from airlock.listener.connection import Connection
from airlock.listener.known import KnownHeads
from airlock.listener.refused import Refused
from airlock.listener.sockets import address, take_descriptors

GRACE_SECONDS = 1
"""How long connections may finish after every long answer was ended by `drain`."""

Drain = Callable[[], Awaitable[Any]]
Tell = Callable[[str], None]

log = logging.getLogger(__name__)


class Listener(uvicorn.Server):
    """Tells its address when it is ready; drains before it closes connections."""

    def __init__(self, app: Any, *, listening: socket.socket, drain: Drain, tell: Tell | None = None) -> None:
        self._drain = drain
        self._tell = tell or announce
        self._socket = listening
        self._refused = Refused()
        config = uvicorn.Config(
            app,
            http=partial(Connection, KnownHeads(), refused=self._refused),  # type: ignore[arg-type] # whatever makes a protocol will do
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
        self._refused.close()
        # uvicorn raises the signal once more when it is done, which would kill us before the store is closed.
        self._captured_signals.clear()

    async def _wait_tasks_to_complete(self) -> None:
        for connection in list(self.server_state.connections):
            connection.shutdown()  # once more, for those that were being accepted when the others were told
        await super()._wait_tasks_to_complete()


def announce(url: str) -> None:
    """One line for people."""
    sys.stdout.write(f"airlock gateway is ready on {url}\n")
