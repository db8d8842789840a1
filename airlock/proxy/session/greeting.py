"""How Airlock introduces itself: the upstreams' capabilities and instructions together, no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from airlock import __version__
from airlock.config import ProviderConfig
from airlock.model import JsonObject, Kind
from airlock.proxy.catalog import Catalog
from airlock.proxy.described import Description, Descriptions, describe
from airlock.proxy.eras import MODERN_VERSIONS, SERVER_INFO, TASKS, declares_tasks
from airlock.proxy.link import Era
from airlock.proxy.offers import PROMPTS, RESOURCES, TEMPLATES, TOOLS
from airlock.proxy.router import Router

WAIT_SECONDS: Final = 2.0
"""How long the first answer waits for upstreams that were never seen before (decisions.md 42)."""

INFO: Final = {"name": "airlock", "title": "Airlock", "version": __version__}

_KINDS: Final = (
    (TOOLS, Kind.TOOL),
    (PROMPTS, Kind.PROMPT),
    (RESOURCES, Kind.RESOURCE),
    (TEMPLATES, Kind.RESOURCE),
)


class Greeting:
    """The answer to `initialize` and `server/discover`."""

    def __init__(self, router: Router, catalog: Catalog, descriptions: Descriptions) -> None:
        self.own_tools: Callable[[], bool] = lambda: False
        """Says whether there are tools of our own beside the upstreams'."""
        self.own_tasks: Callable[[], bool] = lambda: False
        """Says whether a call that waits for a person may become a task."""
        self._router = router
        self._catalog = catalog
        self._descriptions = descriptions
        self._kept: dict[tuple[str, Era], Description | None] = {}

    def known(self, era: Era) -> bool:
        """True when every upstream is known, by itself or from last time, or is known to be broken."""
        return all(self._settled(provider, era) for provider in self._router.providers)

    def _settled(self, provider: ProviderConfig, era: Era) -> bool:
        phase = self._router.upstream(provider.name).state.phase
        return phase not in {"idle", "starting"} or self._last(provider, era) is not None

    def _last(self, provider: ProviderConfig, era: Era) -> Description | None:
        key = provider.name, era
        if key not in self._kept:
            self._kept[key] = self._descriptions.get(provider, era)
        return self._kept[key]

    async def wait(self, era: Era) -> None:
        """Wait for the upstreams that are not known, at most WAIT_SECONDS."""
        unknown = [one.name for one in self._router.providers if self._last(one, era) is None]
        await self._router.known(WAIT_SECONDS, unknown)

    def _described(self, era: Era) -> Iterator[tuple[ProviderConfig, Description | None]]:
        for provider in self._router.providers:
            shelf = self._router.shelf(provider.name)
            phase = shelf.upstream.state.phase
            if phase == "ready":
                yield provider, describe(shelf.upstream.state, shelf.offer)
            else:
                yield provider, self._last(provider, era)

    def capabilities(self, era: Era) -> JsonObject:
        """What the upstreams can do together, as far as it is passed on."""
        found = list(self._described(era))
        known = [one.capabilities for _, one in found if one is not None]
        offered: JsonObject = {}
        if any("tools" in one for one in known) or any(one is None for _, one in found) or self.own_tools():
            offered["tools"] = {"listChanged": True}
        resources = [one["resources"] for one in known if isinstance(one.get("resources"), dict)]
        if resources:
            offered["resources"] = {"listChanged": True}
            if any(one.get("subscribe") is True for one in resources):
                offered["resources"]["subscribe"] = True
        if any("prompts" in one for one in known):
            offered["prompts"] = {"listChanged": True}
        for name in ("logging", "completions"):
            if any(name in one for one in known):
                offered[name] = {}
        if era == "modern" and (self.own_tasks() or any(declares_tasks(one) for one in known)):
            offered["extensions"] = {TASKS: {}}
        return offered

    def instructions(self, era: Era) -> str:
        """The upstreams' instructions: of one as they are, of several each under its name.

        A server that has nothing for this agent says nothing to it either.
        """
        found = [
            (provider.name, one.instructions)
            for provider, one in self._described(era)
            if one is not None and one.instructions and self._has_something(provider, one)
        ]
        if len(self._router.providers) == 1:
            return "".join(text for _, text in found)
        return "\n\n".join(f"## {name}\n\n{text}" for name, text in found)

    def _has_something(self, provider: ProviderConfig, known: Description) -> bool:
        if not known.lists:
            return True
        return any(
            self._catalog.visible(kind, provider.name, item[section.identity])
            for section, kind in _KINDS
            for item in known.lists.get(section.name, [])
            if isinstance(item.get(section.identity), str)
        )

    def initialized(self, version: str) -> JsonObject:
        """The result of `initialize`."""
        result: JsonObject = {
            "protocolVersion": version,
            "capabilities": self.capabilities("legacy"),
            "serverInfo": INFO,
        }
        return self._with_instructions(result, "legacy")

    def discovered(self, _version: str) -> JsonObject:
        """The result of `server/discover`."""
        result: JsonObject = {
            "resultType": "complete",
            "supportedVersions": list(MODERN_VERSIONS),
            "capabilities": self.capabilities("modern"),
        }
        result = self._with_instructions(result, "modern")
        return {**result, "ttlMs": 0, "cacheScope": "private", "_meta": {SERVER_INFO: INFO}}

    def _with_instructions(self, result: JsonObject, era: Era) -> JsonObject:
        text = self.instructions(era)
        return {**result, "instructions": text} if text else result

    def keep(self, era: Era) -> None:
        """Keep what the upstreams said for the next start."""
        for provider in self._router.providers:
            shelf = self._router.shelf(provider.name)
            if shelf.listed:
                self._descriptions.put(provider, era, describe(shelf.upstream.state, shelf.offer))
