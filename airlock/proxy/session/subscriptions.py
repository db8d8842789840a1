"""What a client is told of itself: changed lists and updated resources, in either era.

A legacy client subscribes and is notified; a modern one keeps `subscriptions/listen` requests open, and
each notification names the one it belongs to.
"""

from __future__ import annotations

import asyncio
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Final

from airlock.errors import UpstreamError
from airlock.model import JsonObject, Outcome
from airlock.proxy.eras import SUBSCRIPTION
from airlock.proxy.link import Reply, Upstream
from airlock.proxy.offers import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Section, reply_of
from airlock.proxy.session.calls import Calls
from airlock.proxy.session.client import Client, Exchange
from airlock.proxy.wire import INTERNAL_ERROR, INVALID_PARAMS
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.proxy.session.taskbook import Task, Watcher
    from airlock.proxy.session.tasks import Tasks

UPDATED: Final = "notifications/resources/updated"
SECONDS: Final = 30.0
MAX_URIS: Final = 1_000

_FLAGS: Final = {
    "toolsListChanged": TOOLS.changed,
    "promptsListChanged": PROMPTS.changed,
    "resourcesListChanged": RESOURCES.changed,
}


@dataclass(slots=True, kw_only=True)
class Watch:
    """One resource of one upstream that somebody wants to hear of."""

    upstream: Upstream
    uri: str
    owners: set[str | int | None] = field(default_factory=set)
    ticket: int | None = None


@dataclass(slots=True, kw_only=True)
class Listen:
    """One open `subscriptions/listen`."""

    exchange: Exchange
    methods: frozenset[str]


class Subscriptions:
    """The subscriptions of one client. The owner of a legacy client's watches is None."""

    def __init__(self, client: Client, calls: Calls, tasks: Tasks) -> None:
        self._client = client
        self._calls = calls
        self._tasks = tasks
        self._watched: dict[str | int, list[tuple[Task, Watcher]]] = {}
        self._watches: dict[tuple[str, str], Watch] = {}
        self._listens: dict[str | int, Listen] = {}
        self._due: set[str] = set()
        self._seen: set[str] = set()

    # -- lists ---------------------------------------------------------------------------------------

    def listed(self, section: Section) -> None:
        """The client has this list now: from here on it hears when it changes."""
        self._seen.add(section.changed)

    def changed(self, section: Section, *, said: bool) -> None:
        """A list is another one. What the client never asked for is news only when a server says so."""
        if not said and section.changed not in self._seen and not self._listens:
            return
        if not self._due:
            asyncio.get_running_loop().call_soon(self._flush)
        self._due.add(section.changed)

    def policy_changed(self) -> None:
        """The policy is another one: every list may be."""
        for section in (TOOLS, PROMPTS, RESOURCES, TEMPLATES):
            self.changed(section, said=False)

    def _flush(self) -> None:
        due, self._due = self._due, set()
        for method in sorted(due):
            if self._client.era == "legacy" and self._client.listening:
                self._client.notify(method)
            for listen in self._listens.values():
                if method in listen.methods:
                    _tell(listen.exchange, method, {})

    # -- resources, legacy client --------------------------------------------------------------------

    def subscribe(self, exchange: Exchange, params: JsonObject) -> None:
        """resources/subscribe."""
        uri = params.get("uri")
        if type(uri) is not str:
            self._client.fail(exchange, INVALID_PARAMS, "`uri` must be a string")
            return
        exchange.task = self._client.finish(self._subscribe(exchange, uri))

    async def _subscribe(self, exchange: Exchange, uri: str) -> None:
        permit = await self._calls.permit(exchange, uri, may_ask=True)
        if permit is None:
            return
        target, proceed = permit
        problem = await self._watch(target.upstream, uri, None)
        self._calls.complete(proceed, Outcome.ERROR if problem else Outcome.SUCCESS, problem)
        if problem:
            self._client.fail(exchange, INTERNAL_ERROR, problem)
        else:
            self._client.succeed(exchange, {})

    def unsubscribe(self, exchange: Exchange, params: JsonObject) -> None:
        """resources/unsubscribe: harmless, also when nothing was subscribed."""
        uri = params.get("uri")
        for watch in [one for one in self._watches.values() if one.uri == uri and None in one.owners]:
            self._unwatch(watch, None)
        self._client.succeed(exchange, {})

    # -- modern client -------------------------------------------------------------------------------

    def listen(self, exchange: Exchange, params: JsonObject, promised: JsonObject) -> None:
        """subscriptions/listen: stays open until it is cancelled."""
        wanted = params.get("notifications")
        if not isinstance(wanted, dict):
            self._client.fail(exchange, INVALID_PARAMS, "`notifications` must be an object")
            return
        exchange.task = self._client.finish(self._listen(exchange, wanted, promised))

    async def _listen(self, exchange: Exchange, wanted: JsonObject, promised: JsonObject) -> None:
        honoured: JsonObject = {
            flag: True
            for flag, method in _FLAGS.items()
            if wanted.get(flag) is True and method.split("/")[1] in promised
        }
        uris = wanted.get("resourceSubscriptions")
        if isinstance(uris, list):
            honoured["resourceSubscriptions"] = [
                uri for uri in uris[:MAX_URIS] if isinstance(uri, str) and await self._granted(exchange, uri)
            ]
        ids = wanted.get("taskIds")
        if isinstance(ids, list):
            honoured["taskIds"] = self._watch_tasks(exchange, ids[:MAX_URIS])
        if exchange.over:
            self.ended(exchange)
            return
        methods = frozenset(_FLAGS[flag] for flag in honoured if flag in _FLAGS)
        self._listens[exchange.id] = Listen(exchange=exchange, methods=methods)
        _tell(exchange, "notifications/subscriptions/acknowledged", {"notifications": honoured})

    async def _granted(self, exchange: Exchange, uri: str) -> bool:
        permit = await self._calls.permit(exchange, uri, may_ask=False)
        if permit is None:
            return False
        target, proceed = permit
        problem = await self._watch(target.upstream, uri, exchange.id)
        self._calls.complete(proceed, Outcome.ERROR if problem else Outcome.SUCCESS, problem)
        return not problem

    def _watch_tasks(self, exchange: Exchange, ids: list[object]) -> list[str]:
        """The tasks among these whose changes this request will hear of."""
        tell = partial(_task_changed, exchange)
        found = [self._tasks.watched(one, exchange, tell) for one in ids if isinstance(one, str)]
        tasks = [task for task in found if task is not None]
        self._watched[exchange.id] = [(task, tell) for task in tasks]
        return [task.id for task in tasks]

    def ended(self, exchange: Exchange) -> None:
        """A request was given up: if it was listening, that ends."""
        listen = self._listens.get(exchange.id)
        if listen is not None and listen.exchange is exchange:
            del self._listens[exchange.id]
        for task, tell in self._watched.pop(exchange.id, ()):
            task.watchers.remove(tell)
        if exchange.method == "subscriptions/listen":
            for watch in [one for one in self._watches.values() if exchange.id in one.owners]:
                self._unwatch(watch, exchange.id)

    # -- upstreams -----------------------------------------------------------------------------------

    def updated(self, upstream: Upstream, params: JsonObject | None) -> None:
        """A resource changed: tell those who asked, about it or about what it is part of."""
        uri = (params or {}).get("uri")
        if not isinstance(uri, str) or params is None:
            return
        owners: set[str | int | None] = set()
        for watch in self._watches.values():
            if watch.upstream is upstream and uri.startswith(watch.uri):
                owners |= watch.owners
        for owner in owners:
            listen = self._listens.get(owner) if owner is not None else None
            if owner is None and self._client.listening:
                self._client.notify(UPDATED, params)
            elif listen is not None:
                _tell(listen.exchange, UPDATED, params)

    def restarted(self, upstream: Upstream) -> None:
        """A new connection knows nothing of what was subscribed: say it again."""
        for watch in self._watches.values():
            if watch.upstream is upstream:
                self._client.spawn(self._rewatch(watch))

    async def _rewatch(self, watch: Watch) -> None:
        watch.ticket = None
        await self._begin(watch)

    async def _watch(self, upstream: Upstream, uri: str, owner: str | int | None) -> str:
        watch = self._watches.get((upstream.name, uri))
        if watch is not None:
            watch.owners.add(owner)
            return ""
        watch = Watch(upstream=upstream, uri=uri, owners={owner})
        self._watches[upstream.name, uri] = watch
        problem = await self._begin(watch)
        if problem:
            self._watches.pop((upstream.name, uri), None)
        return problem

    async def _begin(self, watch: Watch) -> str:
        try:
            if watch.upstream.state.era == "modern":
                wanted: JsonObject = {"notifications": {"resourceSubscriptions": [watch.uri]}}
                watch.ticket = watch.upstream.request("subscriptions/listen", wanted, _ignore)
                return ""
            reply = await reply_of(watch.upstream, "resources/subscribe", {"uri": watch.uri}, SECONDS)
        except (UpstreamError, TimeoutError) as error:
            return str(error) or "no answer in time"
        return str(reply["error"].get("message", "error")) if "error" in reply else ""

    def _unwatch(self, watch: Watch, owner: str | int | None) -> None:
        watch.owners.discard(owner)
        if watch.owners:
            return
        self._watches.pop((watch.upstream.name, watch.uri), None)
        try:
            if watch.ticket is not None:
                watch.upstream.cancel(watch.ticket, "nobody listens")
            else:
                watch.upstream.request("resources/unsubscribe", {"uri": watch.uri}, _ignore)
        except UpstreamError:
            return  # it is gone, and the subscription with it

    def close(self) -> None:
        """End every open `listen` with the result that says so."""
        for watched in self._watched.values():
            for task, tell in watched:
                task.watchers.remove(tell)
        self._watched.clear()
        for listen in list(self._listens.values()):
            meta = {SUBSCRIPTION: listen.exchange.id}
            self._client.succeed(listen.exchange, {"resultType": "complete", "_meta": meta})
        self._listens.clear()


def _tell(exchange: Exchange, method: str, params: JsonObject) -> None:
    meta = params.get("_meta")
    meta = {**(meta if isinstance(meta, dict) else {}), SUBSCRIPTION: exchange.id}
    exchange.send({"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": meta}})


def _task_changed(exchange: Exchange, task: Task) -> None:
    if not exchange.over:
        _tell(exchange, "notifications/tasks", task.shown())


def _ignore(_: Reply) -> None:
    return
