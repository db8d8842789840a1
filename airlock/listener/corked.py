"""Writing to a client: an answer's head and body go out as one, and somebody has to read them."""

from __future__ import annotations

import asyncio
from typing import Any

UNREAD_SECONDS = 120.0
"""How long a client may read nothing of what waits for it."""


class Corked:
    """A transport that sends the head of an answer together with what follows it in the same turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._looking: asyncio.TimerHandle | None = None
        self._unread = 0
        """Bytes that the client had not read when we looked last."""

        self.is_closing = transport.is_closing

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

    def write_whole(self, data: bytes) -> None:
        """Send it now: an answer that nothing follows."""
        held, self._held = self._held, b""
        self._transport.write(held + data if held else data)

    def close(self) -> None:
        """Send what is held, and close once it is read."""
        self._flush()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self.watch()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self.is_closing():
            self._transport.write(held)

    def watch(self) -> None:
        """From now on less must be left unread each time that we look; else the connection ends."""
        if self._looking is None:
            self._unread = self._transport.get_write_buffer_size()
            self._looking = self._loop.call_later(UNREAD_SECONDS, self._look)

    def unwatch(self) -> None:
        """It was read, or there is nobody any more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _look(self) -> None:
        self._looking = None
        if self._transport.get_write_buffer_size() < self._unread:
            self.watch()
        else:
            self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
