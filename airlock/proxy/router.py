"""The upstreams of one client: started together, watched, and what they say passed to whoever listens."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from airlock.config import Config, ProviderConfig
from airlock.model import JsonObject
from airlock.proxy.eras import passed_on
from airlock.proxy.link import Facing, Upstream, UpstreamEvents
from airlock.proxy.offers import PROMPTS, RESOURCES, SECTIONS, TEMPLATES, TOOLS, Offer, Section, Shelf

LIST_SECONDS: Final = 30.0
"""How long one page of a list may take."""

CLOSE_SECONDS: Final = 5.0

_CHANGES: Final = {
    TOOLS.changed: (TOOLS,),
    PROMPTS.changed: (PROMPTS,),
    RESOURCES.changed: (RESOURCES, TEMPLATES),
}

MakeUpstream = Callable[[ProviderConfig, UpstreamEvents], Upstream]

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Whoever speaks to a client: told what upstreams send of themselves. Nothing here may raise or block."""

    def offer_changed(self, provider: str, section: Section, said: bool) -> None:
        """One list of one upstream is new, or went away with it; `said` when the upstream told us so."""
        ...

    def upstream_notified(self, upstream: Upstream, method: str, params: JsonObject | None) -> None:
        """A notification that is about no list."""
        ...

    def upstream_asked(
        self, upstream: Upstream, request_id: str | int, method: str, params: JsonObject | None
    ) -> None:
        """A request of the upstream, to be answered with `respond`."""
        ...

    def upstream_withdrew(self, upstream: Upstream, request_id: str | int) -> None:
        """The upstream no longer wants an answer."""
        ...

    def upstream_paused(self, upstream: Upstream, ticket: str | int) -> None:
        """The upstream will answer that request on another connection."""
        ...

    def upstream_changed(self, upstream: Upstream) -> None:
        """The upstream became ready, or broke: what it had asked is void when it broke."""
        ...


class Router:
    """Owns the upstreams of one client connection, and their offers."""

    def __init__(self, config: Config, make: MakeUpstream) -> None:
        self.config = config
        self.version = 0
        self._listeners: list[Listener] = []
        self._moved = asyncio.Event()
        self._started = False
        self._providers = [one for one in config.providers.values() if one.enabled]
        self._shelves = {one.name: self._shelf(make(one, self)) for one in self._providers}

    def _shelf(self, upstream: Upstream) -> Shelf:
        return Shelf(upstream, LIST_SECONDS, self._shelf_changed)

    @property
    def providers(self) -> list[ProviderConfig]:
        """The enabled providers, in the config's order."""
        return self._providers

    @property
    def started(self) -> bool:
        """True once the upstreams were told to start."""
        return self._started

    def shelf(self, provider: str) -> Shelf:
        """The upstream with what it offers."""
        return self._shelves[provider]

    def upstream(self, provider: str) -> Upstream:
        """The upstream of that provider."""
        return self._shelves[provider].upstream

    def upstreams(self) -> Iterable[Upstream]:
        """All upstreams, in the config's order."""
        return [shelf.upstream for shelf in self._shelves.values()]

    def offers(self) -> Iterable[tuple[ProviderConfig, Offer, bool]]:
        """Each provider's offer, and whether it may be shown now."""
        for provider in self._providers:
            shelf = self._shelves[provider.name]
            yield provider, shelf.offer, shelf.listed

    def listen(self, listener: Listener) -> None:
        """Tell this one what happens from now on."""
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """Stop telling it."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def start(self, facing: Facing) -> None:
        """Start every upstream in the background; each is promised what the client and the config allow."""
        if self._started:
            return
        self._started = True
        for provider in self._providers:
            promised = dataclasses.replace(facing, capabilities=promise(provider, facing.capabilities))
            self._shelves[provider.name].upstream.start(promised)

    def settled(self) -> bool:
        """True when nothing is still starting."""
        return all(shelf.settled for shelf in self._shelves.values())

    async def settle(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> bool:
        """Wait until nothing is still starting, or it is enough; at most that long. True when in time."""
        try:
            async with asyncio.timeout(seconds):
                while not (enough() or self.settled()):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def known(self, seconds: float, providers: Iterable[str]) -> None:
        """Wait until these upstreams have introduced themselves or are broken, at most that long."""
        wanted = [self.upstream(name) for name in providers]
        try:
            async with asyncio.timeout(seconds):
                while any(one.state.phase in {"idle", "starting"} for one in wanted):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return

    def hold(self, held: bool) -> None:
        """Stop reading from all upstreams while the client does not read, or go on."""
        for upstream in self.upstreams():
            upstream.hold(held)

    async def close(self) -> None:
        """End all upstreams, at the same time and within a bound."""
        for shelf in self._shelves.values():
            shelf.close()
        closing = [asyncio.create_task(one.close()) for one in self.upstreams()]
        if closing:
            _, late = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()

    def _shelf_changed(self, shelf: Shelf, section: Section, said: bool) -> None:
        self.version += 1
        self._moved.set()
        for listener in tuple(self._listeners):
            listener.offer_changed(shelf.upstream.name, section, said)

    # What upstreams tell us (link.UpstreamEvents).

    def state_changed(self, upstream: Upstream) -> None:
        """Fetch what a new connection offers; take down what a broken one offered."""
        self.version += 1
        shelf = self._shelves[upstream.name]
        phase = upstream.state.phase
        log.info("provider `%s` is %s%s", upstream.name, phase, _because(upstream))
        if phase == "ready":
            shelf.fill()
        elif phase == "broken":
            for section in SECTIONS:
                if shelf.offer.items(section):
                    self._shelf_changed(shelf, section, False)
        self._moved.set()
        for listener in tuple(self._listeners):
            listener.upstream_changed(upstream)

    def notified(self, upstream: Upstream, method: str, params: JsonObject | None) -> None:
        """Lists that changed are fetched before the client hears of it; the rest is passed on."""
        sections = _CHANGES.get(method)
        if sections is None:
            for listener in tuple(self._listeners):
                listener.upstream_notified(upstream, method, params)
            return
        shelf = self._shelves[upstream.name]
        for section in sections:
            shelf.refill(section)

    def paused(self, upstream: Upstream, ticket: str | int) -> None:
        """Pass on that a request is answered on another connection."""
        for listener in tuple(self._listeners):
            listener.upstream_paused(upstream, ticket)

    def asked(
        self, upstream: Upstream, request_id: str | int, method: str, params: JsonObject | None
    ) -> None:
        """Pass a question on to the one who speaks to the client."""
        for listener in tuple(self._listeners):
            listener.upstream_asked(upstream, request_id, method, params)

    def withdrawn(self, upstream: Upstream, request_id: str | int) -> None:
        """Pass the withdrawal of a question on."""
        for listener in tuple(self._listeners):
            listener.upstream_withdrew(upstream, request_id)


def promise(provider: ProviderConfig, capabilities: JsonObject) -> JsonObject:
    """The client's capabilities as this upstream may rely on them."""
    return passed_on(capabilities, provider.allowed)


def _because(upstream: Upstream) -> str:
    reason = upstream.state.reason
    return f": {reason}" if reason else ""
