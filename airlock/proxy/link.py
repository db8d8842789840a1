"""The seam between the router and one upstream: what the router may ask, and what it is told.

Everything here runs on one asyncio loop. Methods that are not coroutines never block and may be called
from a reply callback; callbacks must not raise and must not block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Literal, Protocol, TypeAlias

from airlock.model import JsonObject
from airlock.values import dataclass

Era: TypeAlias = Literal["legacy", "modern"]
"""`legacy`: revisions with an `initialize` handshake; `modern`: 2026-07-28, an envelope on each request."""

Phase: TypeAlias = Literal["idle", "starting", "ready", "broken", "closed"]

Reply: TypeAlias = JsonObject
"""A response frame without `jsonrpc` and `id`: {"result": …} or {"error": {"code", "message", "data"?}}."""

OnReply: TypeAlias = Callable[[Reply], None]
OnProgress: TypeAlias = Callable[[JsonObject], None]
"""Gets the params of one progress notification, without its token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facing:
    """The client that an upstream connection serves: upstreams are promised no more than it declared."""

    era: Era = "legacy"
    protocol_version: str = "2025-11-25"
    info: JsonObject = field(default_factory=dict)
    capabilities: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamState:
    """What is known of one upstream now. `reason` says, for a person, why it is broken."""

    phase: Phase = "idle"
    reason: str = ""
    era: Era = "legacy"
    protocol_version: str = ""
    server_info: JsonObject = field(default_factory=dict)
    capabilities: JsonObject = field(default_factory=dict)
    instructions: str = ""
    pid: int | None = None
    restarts: int = 0
    stderr_tail: tuple[str, ...] = ()


class UpstreamEvents(Protocol):
    """What the router is told about an upstream, as it happens."""

    def state_changed(self, upstream: Upstream) -> None:
        """The phase changed; on `broken` every open request was answered with an error first."""
        ...

    def notified(self, upstream: Upstream, method: str, params: JsonObject | None) -> None:
        """A notification that is not the progress or the cancellation of a request we know."""
        ...

    def paused(self, upstream: Upstream, ticket: str | int) -> None:
        """The upstream let go of the connection of a request of ours, and will answer it on another."""
        ...

    def asked(
        self, upstream: Upstream, request_id: str | int, method: str, params: JsonObject | None
    ) -> None:
        """The upstream sent a request (sampling, elicitation, roots …); answer with `respond`."""
        ...

    def withdrawn(self, upstream: Upstream, request_id: str | int) -> None:
        """The upstream cancelled a request that it had sent."""
        ...


class Upstream(Protocol):
    """One MCP server behind us, whatever its transport. It restarts itself with back-off after a failure."""

    @property
    def name(self) -> str:
        """The provider's name in the config."""
        ...

    @property
    def state(self) -> UpstreamState:
        """What is known of it now."""
        ...

    @property
    def phase(self) -> Phase:
        """`state.phase`, at less cost."""
        ...

    @property
    def era(self) -> Era:
        """`state.era`, at less cost."""
        ...

    def start(self, facing: Facing) -> None:
        """Begin connecting in a task of its own; returns at once. Prefers `facing.era`, takes the other."""
        ...

    async def ready(self, seconds: float) -> bool:
        """Wait until it is ready or broken, at most that long; True when it is ready."""
        ...

    def request(
        self, method: str, params: JsonObject | None, on_reply: OnReply, on_progress: OnProgress | None = None
    ) -> int:
        """Send a request under an id of our own and return that id; `on_reply` is called exactly once.

        `params` is not changed; with `on_progress` a progress token of our own goes into its `_meta`,
        without it a token that was there is taken out. UpstreamError when it is not ready.
        """
        ...

    def cancel(self, ticket: int, reason: str | None) -> None:
        """Tell the upstream that the request is given up; a reply that still comes is dropped."""
        ...

    def notify(self, method: str, params: JsonObject | None) -> None:
        """Send a notification; dropped when it is not ready."""
        ...

    def respond(self, request_id: str | int, reply: Reply) -> None:
        """Answer a request that came through `asked`."""
        ...

    def hold(self, held: bool) -> None:
        """Stop reading from it while the client does not read, or go on: a flood waits at its source."""
        ...

    async def close(self) -> None:
        """End the connection and the process, children included; idempotent."""
        ...
