"""What one upstream offers: its four lists, fetched page by page and kept as they came."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import field
from typing import Any, Final

from airlock.errors import UpstreamError
from airlock.model import JsonObject
from airlock.proxy.link import Reply, Upstream
from airlock.values import dataclass

MAX_ITEMS: Final = 100_000
MAX_PAGES: Final = 1_000
METHOD_NOT_FOUND: Final = -32601
AGAIN_SECONDS: Final = 5.0
"""How long after a modern server ended it a subscription is asked for again."""

_FLAGS: Final = {
    "tools": "toolsListChanged",
    "prompts": "promptsListChanged",
    "resources": "resourcesListChanged",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One of the lists: which method gives it, under which key, and what identifies an item."""

    name: str
    capability: str
    method: str
    key: str
    identity: str
    changed: str


TOOLS: Final = Section(
    name="tools",
    capability="tools",
    method="tools/list",
    key="tools",
    identity="name",
    changed="notifications/tools/list_changed",
)
PROMPTS: Final = Section(
    name="prompts",
    capability="prompts",
    method="prompts/list",
    key="prompts",
    identity="name",
    changed="notifications/prompts/list_changed",
)
RESOURCES: Final = Section(
    name="resources",
    capability="resources",
    method="resources/list",
    key="resources",
    identity="uri",
    changed="notifications/resources/list_changed",
)
TEMPLATES: Final = Section(
    name="templates",
    capability="resources",
    method="resources/templates/list",
    key="resourceTemplates",
    identity="uriTemplate",
    changed="notifications/resources/list_changed",
)
SECTIONS: Final = (TOOLS, PROMPTS, RESOURCES, TEMPLATES)


@dataclass(slots=True)
class Offer:
    """The lists of one upstream. `settled` is False while they are being fetched for the first time."""

    lists: dict[str, list[JsonObject]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    settled: bool = False

    def items(self, section: Section) -> list[JsonObject]:
        """The items of one list, in the upstream's order."""
        return self.lists.get(section.name, [])


async def reply_of(upstream: Upstream, method: str, params: JsonObject | None, seconds: float) -> Reply:
    """The reply to one request of our own; TimeoutError and UpstreamError say that there is none."""
    waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def on_reply(reply: Reply) -> None:
        if not waiting.done():
            waiting.set_result(reply)

    ticket = upstream.request(method, params, on_reply)
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(UpstreamError):
            upstream.cancel(ticket, "no answer in time")
        raise


class Shelf:
    """The offer of one upstream, kept up to date.

    `on_change` is told which list is new, and whether the upstream itself said that it changed.
    """

    def __init__(
        self, upstream: Upstream, seconds: float, on_change: Callable[[Shelf, Section, bool], None]
    ) -> None:
        self.upstream = upstream
        self.offer = Offer()
        self._seconds = seconds
        self._on_change = on_change
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._settling: asyncio.Task[None] | None = None
        self._listening: asyncio.TimerHandle | None = None

    @property
    def listed(self) -> bool:
        """True when its lists may be shown: it is running, and they are known."""
        return self.offer.settled and self.upstream.state.phase == "ready"

    @property
    def settled(self) -> bool:
        """True when there is nothing to wait for: its lists are known, or it is broken."""
        state = self.upstream.state
        if state.phase == "ready":
            return self.offer.settled
        return state.phase in {"broken", "closed"} or state.restarts > 0

    def fill(self) -> None:
        """Fetch everything anew: the upstream has just become ready."""
        if self._settling is not None:
            self._settling.cancel()
        self._settling = asyncio.create_task(self._fill(), name=f"airlock-lists-{self.upstream.name}")
        self._listen()

    def _listen(self) -> None:
        """Ask a modern server to say when a list changes; a legacy one does so by itself."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        state = self.upstream.state
        offered = [state.capabilities.get(name) for name in _FLAGS]
        wanted = {
            flag: True
            for flag, one in zip(_FLAGS.values(), offered, strict=True)
            if isinstance(one, dict) and one.get("listChanged") is True
        }
        if state.phase == "ready" and state.era == "modern" and wanted:
            with contextlib.suppress(UpstreamError):
                self.upstream.request("subscriptions/listen", {"notifications": wanted}, self._unlistened)

    def _unlistened(self, reply: Reply) -> None:
        if reply.get("error", {}).get("code") != METHOD_NOT_FOUND:
            self._listening = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._listen)

    async def _fill(self) -> None:
        self.offer.settled = False
        self.offer.problems.clear()
        for section in SECTIONS:
            await self._fetch(section)
        self.offer.settled = True
        for section in SECTIONS:
            if self._has(section):
                self._on_change(self, section, False)

    def refill(self, section: Section) -> None:
        """Fetch one list again; a flood of requests for it is one fetch that runs and one that follows."""
        if section.name in self._fetching:
            self._again.add(section.name)
            return
        task = asyncio.create_task(self._refill(section), name=f"airlock-list-{section.name}")
        self._fetching[section.name] = task

    async def _refill(self, section: Section) -> None:
        try:
            while True:
                self._again.discard(section.name)
                await self._fetch(section)
                self._on_change(self, section, True)
                if section.name not in self._again:
                    return
        finally:
            self._fetching.pop(section.name, None)

    def _has(self, section: Section) -> bool:
        return isinstance(self.upstream.state.capabilities.get(section.capability), dict)

    async def _fetch(self, section: Section) -> None:
        if not self._has(section):
            self.offer.lists.pop(section.name, None)
            return
        try:
            self.offer.lists[section.name] = await self._pages(section)
        except (UpstreamError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            self.offer.problems.append(f"`{section.method}` failed: {reason}")
            log.warning("provider `%s`: `%s` failed: %s", self.upstream.name, section.method, reason)

    async def _pages(self, section: Section) -> list[JsonObject]:
        items: dict[str, JsonObject] = {}
        cursors: set[str] = set()
        params: JsonObject | None = None
        for _ in range(MAX_PAGES):
            result = await self._page(section, params)
            self._take(section, result.get(section.key), items)
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or len(items) >= MAX_ITEMS:
                break
            if cursor in cursors:
                self.offer.problems.append(f"`{section.method}` gives the same cursor twice")
                break
            cursors.add(cursor)
            params = {"cursor": cursor}
        return list(items.values())

    async def _page(self, section: Section, params: JsonObject | None) -> JsonObject:
        reply = await reply_of(self.upstream, section.method, params, self._seconds)
        if "error" in reply:
            if reply["error"].get("code") == METHOD_NOT_FOUND:
                return {}
            raise UpstreamError(str(reply["error"].get("message", "error"))[:200])
        result = reply.get("result")
        if not isinstance(result, dict):
            raise UpstreamError("the result is not an object")
        return result

    def _take(self, section: Section, found: Any, items: dict[str, JsonObject]) -> None:
        if not isinstance(found, list):
            self.offer.problems.append(f"`{section.method}` gives no `{section.key}`")
            return
        for item in found[: MAX_ITEMS - len(items)]:
            name = item.get(section.identity) if isinstance(item, dict) else None
            if not isinstance(name, str):
                self.offer.problems.append(f"`{section.method}` gives an item without `{section.identity}`")
            elif name in items:
                self.offer.problems.append(
                    f"`{section.method}` gives `{name[:80]}` twice; the first one counts"
                )
            else:
                items[name] = item

    def close(self) -> None:
        """Stop fetching."""
        if self._listening is not None:
            self._listening.cancel()
        for task in (self._settling, *self._fetching.values()):
            if task is not None:
                task.cancel()
