"""The demo server inside this process: an upstream that needs nothing installed."""

from __future__ import annotations

import asyncio

from airlock.demo.server import DemoServer
from airlock.model import JsonObject
from airlock.proxy.upstream.connect import Agreement
from airlock.proxy.upstream.transport import Sink


class BuiltinTransport:
    """Frames to the demo server and back; answers come in a later turn of the loop, as from any server."""

    legacy_only = False
    pid: int | None = None
    tail: tuple[str, ...] = ()

    def __init__(self, server: DemoServer) -> None:
        self._server = server
        self._sink: Sink | None = None

    async def open(self, sink: Sink) -> None:
        """Nothing to start."""
        self._sink = sink

    def send(self, frame: JsonObject) -> None:
        """Have the server handle it."""
        loop = asyncio.get_running_loop()
        for answer in self._server.handle(frame):
            loop.call_soon(self._deliver, answer)

    def settled(self, agreement: Agreement) -> None:
        """Nothing depends on it here."""

    def hold(self, held: bool) -> None:
        """It only speaks when asked."""

    async def close(self) -> None:
        """Nothing to end."""
        self._sink = None

    def _deliver(self, frame: JsonObject) -> None:
        if self._sink is not None:
            self._sink.received(frame)
