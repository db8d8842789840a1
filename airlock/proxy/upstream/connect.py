"""Agreeing with an upstream how to talk: era, version, and what it is promised.

The era that the client speaks is tried first, then the other one. An upstream is never promised more than
the client declared, and less where the config denies it sampling, elicitation or roots.
"""

from __future__ import annotations

import asyncio
from dataclasses import field
from typing import Any, Final

import airlock
from airlock.config import ProviderConfig
from airlock.errors import UpstreamError
from airlock.model import JsonObject
from airlock.proxy.eras import (
    CAPABILITIES,
    CLIENT_INFO,
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    SERVER_INFO,
    VERSION,
    legacy_version,
    passed_on,
)
from airlock.proxy.link import Era, Facing, Reply
from airlock.proxy.upstream.peer import Manner, Peer
from airlock.values import dataclass

PROBE_SECONDS: Final = 5.0
"""How long `server/discover` alone may take before `initialize` is sent as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What the handshake found out."""

    era: Era
    protocol_version: str
    manner: Manner
    server_info: JsonObject = field(default_factory=dict)
    capabilities: JsonObject = field(default_factory=dict)
    instructions: str = ""


def promised(facing: Facing, provider: ProviderConfig) -> JsonObject:
    """The client's capabilities as this upstream gets to see them."""
    return passed_on(facing.capabilities, provider.allowed)


async def agree(
    peer: Peer,
    facing: Facing,
    provider: ProviderConfig,
    *,
    legacy_only: bool = False,
    probe_seconds: float = PROBE_SECONDS,
) -> Agreement:
    """Shake hands in the client's era or the other one; UpstreamError with the reason when neither works."""
    hello = _Hello(peer, facing, promised(facing, provider))
    agreed = await _handshake(hello, facing.era, legacy_only, probe_seconds)
    peer.manner = agreed.manner  # both handshakes may have succeeded
    peer.manner.allowed = provider.allowed
    return agreed


async def _handshake(hello: _Hello, era: Era, legacy_only: bool, probe_seconds: float) -> Agreement:
    if legacy_only:
        return await hello.initialize()
    if era == "modern":
        return await hello.modern_first(probe_seconds)
    try:
        return await hello.initialize()
    except UpstreamError as refused:
        try:
            return await hello.discover()
        except UpstreamError:
            raise refused from None


class _Hello:
    """One handshake."""

    def __init__(self, peer: Peer, facing: Facing, capabilities: JsonObject) -> None:
        self._peer = peer
        self._facing = facing
        self._capabilities = capabilities
        self._info = facing.info or {"name": "airlock", "version": airlock.__version__}

    async def modern_first(self, probe_seconds: float) -> Agreement:
        """A server that ignores `server/discover` is legacy; one that is slow to start may be either."""
        probe = asyncio.ensure_future(self.discover())
        try:
            await asyncio.wait({probe}, timeout=probe_seconds)
            if probe.done():
                return await self._outcome(probe)
            greeting = asyncio.ensure_future(self.initialize())
            try:
                return await self._first(probe, greeting)
            finally:
                forget(greeting)
        finally:
            forget(probe)

    async def _outcome(self, probe: asyncio.Future[Agreement]) -> Agreement:
        try:
            return await probe
        except UpstreamError:
            return await self.initialize()

    async def _first(
        self, probe: asyncio.Future[Agreement], greeting: asyncio.Future[Agreement]
    ) -> Agreement:
        """Whichever succeeds first; when both fail, what `initialize` was told."""
        await asyncio.wait({probe, greeting}, return_when=asyncio.FIRST_COMPLETED)
        one, other = (probe, greeting) if probe.done() else (greeting, probe)
        if one.exception() is None:
            return one.result()
        await asyncio.wait({other})
        if other.exception() is None:
            return other.result()
        return greeting.result()

    async def initialize(self) -> Agreement:
        """The legacy handshake."""
        version = legacy_version(self._facing.protocol_version)
        capabilities = {name: one for name, one in self._capabilities.items() if name != "extensions"}
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": self._info}
        result = _result("initialize", await self._peer.ask("initialize", params))
        found = result.get("protocolVersion")
        if found not in LEGACY_VERSIONS:
            raise UpstreamError(f"it answered `initialize` with MCP version `{found}`, which is not known")
        self._peer.manner = Manner(promised=frozenset(capabilities))
        self._peer.notify("notifications/initialized", None)
        return self._agreed("legacy", found, result, _object(result.get("serverInfo")))

    async def discover(self) -> Agreement:
        """The modern way: one request, and an envelope on every one."""
        version = MODERN_VERSIONS[-1]
        envelope = {VERSION: version, CAPABILITIES: self._capabilities, CLIENT_INFO: self._info}
        result = _result("server/discover", await self._peer.ask("server/discover", {}, envelope=envelope))
        versions = result.get("supportedVersions")
        if not isinstance(versions, list) or version not in versions:
            raise UpstreamError(f"it does not speak MCP version `{version}`")
        self._peer.manner = Manner(envelope=envelope, promised=frozenset(self._capabilities))
        return self._agreed("modern", version, result, _object(_object(result.get("_meta")).get(SERVER_INFO)))

    def _agreed(self, era: Era, version: str, result: JsonObject, info: JsonObject) -> Agreement:
        instructions = result.get("instructions")
        return Agreement(
            era=era,
            protocol_version=version,
            manner=self._peer.manner,
            server_info=info,
            capabilities=_object(result.get("capabilities")),
            instructions=instructions if isinstance(instructions, str) else "",
        )


def forget(future: asyncio.Future[Any]) -> None:
    """Cancel it, or take note of how it ended, so that nobody misses its exception."""
    if not future.cancel() and not future.cancelled():
        future.exception()


def _result(method: str, reply: Reply) -> JsonObject:
    error = reply.get("error")
    if error is not None:
        raise UpstreamError(f"it refused `{method}`: {str(error.get('message'))[:300]} ({error.get('code')})")
    result = reply["result"]
    if not isinstance(result, dict):
        raise UpstreamError(f"it answered `{method}` with something that is not an object")
    return result


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}
