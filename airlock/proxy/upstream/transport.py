"""What `Supervised` needs of one kind of server: a connection that carries frames both ways."""

from __future__ import annotations

from typing import Protocol

from airlock.model import JsonObject
from airlock.proxy.upstream.connect import Agreement
from airlock.proxy.wire import Id


class Sink(Protocol):
    """What a transport tells."""

    def received(self, frame: JsonObject) -> None:
        """One decoded frame."""
        ...

    def malformed(self, ticket: Id, message: str) -> None:
        """An answer to that request came and cannot be accepted."""
        ...

    def paused(self, ticket: Id) -> None:
        """The server let go of the connection of that request, and means to answer it on another."""
        ...

    def lost(self, reason: str, words: str = "") -> None:
        """The connection ended by itself; at most once, and nothing comes after it.

        `words` is what the server said last: for people, never in what a model reads.
        """
        ...


class Transport(Protocol):
    """One connection to one server. Made fresh for each attempt."""

    legacy_only: bool

    @property
    def pid(self) -> int | None:
        """The process, where there is one."""
        ...

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of its stderr, where there is one."""
        ...

    async def open(self, sink: Sink) -> None:
        """Start; UpstreamError with the reason when that cannot be."""
        ...

    def send(self, frame: JsonObject) -> None:
        """Send one frame without waiting; WireError when it cannot be written as JSON."""
        ...

    def settled(self, agreement: Agreement) -> None:
        """The handshake is over."""
        ...

    def hold(self, held: bool) -> None:
        """Stop reading, or go on."""
        ...

    async def close(self) -> None:
        """End the connection and what was started for it; idempotent."""
        ...
