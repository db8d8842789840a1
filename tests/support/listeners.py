"""A real listener for a test's own app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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
        async with asyncio.timeout(20):
            await serving
