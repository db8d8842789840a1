"""`doctor` tries the doors: a client that is not ours asks for what must not happen, by each road.

Nothing here can do harm if a door is open: the names are made up, and the arguments fit no tool.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeAlias

from airlock.cli import overhttp
from airlock.cli.doors import PROBE, Doors
from airlock.cli.findings import PROBE_TOOL, Finding, ok, wrong
from airlock.cli.init import own_command
from airlock.cli.replay import Client, connected, is_waiting, ran, text_of_result
from airlock.config import Config
from airlock.errors import AirlockError, UpstreamError
from airlock.model import JsonObject
from airlock.visible import bounded

ASK_SECONDS = 15.0
REPORT = "do not use this set-up; report it"


class Road(Protocol):
    """One connection of one agent to its tools."""

    async def listed(self) -> set[str]:
        """The wire names of the tools that it shows."""
        ...

    async def call(self, name: str) -> JsonObject | None:
        """The response frame of a call with the probe's arguments; None once it waits, and was given up."""
        ...


_Opened: TypeAlias = AbstractAsyncContextManager[Road]


async def stdio(config: Config, doors: Doors, agents: Iterable[str]) -> AsyncIterator[Finding]:
    """Each agent's `airlock stdio`, as its client starts it."""
    for agent in agents:
        async for finding in _travelled(_over_stdio(config, agent), f"{agent} over stdio", agent, doors):
            yield finding


async def gateway(
    config: Config, doors: Doors, agents: Iterable[str], address: str
) -> AsyncIterator[Finding]:
    """Each agent's MCP endpoint at a gateway that runs, and the door to deciding."""
    if config.server.api_secret is not None:
        yield await asyncio.to_thread(_deciding, address)
    for agent in agents:
        opened = _over_http(config, agent, address)
        async for finding in _travelled(opened, f"{agent} over {address}", agent, doors):
            yield finding


async def _travelled(opened: _Opened, where: str, agent: str, doors: Doors) -> AsyncIterator[Finding]:
    try:
        async with opened as road:
            listed = await road.listed()
            yield _stopped(where, "an unknown tool", await road.call(PROBE_TOOL))
            hidden = doors.hidden(agent)
            if hidden:
                yield _stopped(where, f"the forbidden tool `{hidden}`", await road.call(hidden))
            asked = doors.asked(agent, listed)
            if asked:
                yield _held(where, asked, await road.call(asked))
    except AirlockError as error:
        yield wrong("replay", f"{where}: {bounded(str(error), 300)}")


def _stopped(where: str, what: str, answer: JsonObject | None) -> Finding:
    if answer is None:
        return wrong("replay", f"{where}: {what} was not refused: it waits for a person", REPORT)
    if ran(answer):
        return wrong("replay", f"{where}: {what} was let through", REPORT)
    return ok("replay", f"{where}: {what} was stopped ({bounded(text_of_result(answer), 120)})")


def _held(where: str, tool: str, answer: JsonObject | None) -> Finding:
    if answer is None:
        return ok("replay", f"{where}: `{tool}` did not run without an approval")
    return _stopped(where, f"`{tool}` without an approval", answer)


# Over stdio


class _StdioRoad:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def listed(self) -> set[str]:
        await self._client.initialize()
        return {str(tool.get("name")) for tool in await self._client.tools()}

    async def call(self, name: str) -> JsonObject | None:
        waits = asyncio.Event()
        pending = self._client.call(name, PROBE, lambda told: waits.set() if is_waiting(told) else None)
        answered = asyncio.ensure_future(pending.result(ASK_SECONDS))
        waiting = asyncio.ensure_future(waits.wait())
        await asyncio.wait({answered, waiting}, timeout=ASK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not waits.is_set():
            return await answered
        pending.cancel()
        answered.cancel()
        await asyncio.gather(answered, waiting, return_exceptions=True)
        return None


@asynccontextmanager
async def _over_stdio(config: Config, agent: str) -> AsyncIterator[Road]:
    words = [*own_command(), "stdio", "--agent", agent, "--config", str(config.file)]
    async with connected(words, env=dict(os.environ)) as client:
        yield _StdioRoad(client)


# Through a gateway


class _HttpRoad:
    def __init__(self, client: overhttp.McpClient) -> None:
        self._client = client

    async def listed(self) -> set[str]:
        await asyncio.to_thread(self._client.initialize)
        return {str(tool.get("name")) for tool in await asyncio.to_thread(self._client.tools)}

    async def call(self, name: str) -> JsonObject | None:
        return await asyncio.to_thread(self._client.call, name, PROBE)


@asynccontextmanager
async def _over_http(config: Config, agent: str, address: str) -> AsyncIterator[Road]:
    own = config.agents[agent].token
    token = own or config.server.api_secret
    client = overhttp.McpClient(f"{address}/agents/{agent}/mcp", token.reveal() if token else "")
    try:
        yield _HttpRoad(client)
    finally:
        await asyncio.to_thread(client.close)


def _deciding(address: str) -> Finding:
    """Nobody decides without a credential."""
    try:
        answer = overhttp.post(f"{address}/hitl/approve/{PROBE_TOOL}", {}, {})
    except UpstreamError as error:
        return wrong("replay", f"the gateway at {address} does not answer: {bounded(str(error), 200)}")
    if answer.status != 401:
        text = f"{address}: deciding without a credential was not refused (status {answer.status})"
        return wrong("replay", text, REPORT)
    return ok("replay", f"{address}: deciding without a credential was refused")


def reachable(address: str) -> str:
    """The address at which this machine reaches a gateway that listens on all of them."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
