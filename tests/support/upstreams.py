"""Real upstreams for tests: the server that misbehaves, who listens to it, and calls that are awaited."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from airlock.config import ProviderConfig, Secret
from airlock.model import JsonObject
from airlock.proxy.link import Facing, Reply, Upstream
from airlock.proxy.upstream.backoff import Backoff
from airlock.proxy.upstream.factory import make_upstream

ODD = Path(__file__).parents[1] / "fixtures" / "odd_server.py"
FULL = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {"form": {}, "url": {}}}
LEGACY = Facing(info={"name": "test", "version": "1"}, capabilities=FULL)
MODERN = Facing(
    era="modern", protocol_version="2026-07-28", info={"name": "test", "version": "1"}, capabilities=FULL
)


def odd(*switches: str, env: dict[str, str] | None = None, **more: Any) -> ProviderConfig:
    """The server that misbehaves, as a provider called `odd`."""
    secrets = {name: Secret(value) for name, value in (env or {}).items()}
    args = ("-S", str(ODD), *switches)
    return ProviderConfig(name="odd", type="stdio", command=sys.executable, args=args, env=secrets, **more)


def at_once() -> Backoff:
    """Try again at once."""
    return Backoff(first=0.01, most=0.05)


class Listener:
    """Keeps what an upstream tells, and lets a test wait for it."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.notes: list[tuple[str, JsonObject | None]] = []
        self.asks: list[tuple[Any, str, JsonObject | None]] = []
        self.withdrawals: list[Any] = []
        self._changed = asyncio.Event()

    def state_changed(self, upstream: Upstream) -> None:
        self.phases.append(upstream.state.phase)
        self._changed.set()

    def notified(self, upstream: Upstream, method: str, params: JsonObject | None) -> None:
        self.notes.append((method, params))
        self._changed.set()

    def paused(self, upstream: Upstream, ticket: str | int) -> None:
        self._changed.set()

    def asked(
        self, upstream: Upstream, request_id: str | int, method: str, params: JsonObject | None
    ) -> None:
        self.asks.append((request_id, method, params))
        self._changed.set()

    def withdrawn(self, upstream: Upstream, request_id: str | int) -> None:
        self.withdrawals.append(request_id)
        self._changed.set()

    async def until(self, holds: Callable[[], Any], seconds: float = 60) -> None:
        """Wait until this holds; looked at after each thing that is told."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(
    provider: ProviderConfig, facing: Facing = LEGACY, *, ready: bool | None = True, **options: Any
) -> AsyncIterator[tuple[Upstream, Listener]]:
    """An upstream that was started (and is ready, or broken, unless `ready` is None), closed at the end.

    One that is to be broken stays so: what a test then looks at would be over with the next attempt.
    """
    listener = Listener()
    options.setdefault("backoff", Backoff(first=600, most=600) if ready is False else at_once())
    upstream = make_upstream(provider, listener, **options)
    upstream.start(facing)
    try:
        if ready is not None:
            assert await upstream.ready(60) is ready, upstream.state
        yield upstream, listener
    finally:
        await upstream.close()


async def request(
    upstream: Upstream, method: str, params: JsonObject | None = None, seconds: float = 60
) -> Reply:
    """One request and its answer."""
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    upstream.request(method, params, answer.set_result)
    async with asyncio.timeout(seconds):
        return await answer


async def call(upstream: Upstream, tool: str, /, **arguments: Any) -> Any:
    """The result of one tool call; the test fails on an error."""
    reply = await request(upstream, "tools/call", {"name": tool, "arguments": arguments})
    assert "result" in reply, reply
    return reply["result"]
