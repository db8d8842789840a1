"""One client: reads its messages, whatever carries them, and answers each in the client's era.

The transport gives parsed frames to `receive` and takes frames from `send`; the era is settled by the
first request. Lists, calls and questions are next door; here is who answers what.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from airlock.model import JsonObject
from airlock.proxy import eras
from airlock.proxy.catalog import Catalog
from airlock.proxy.described import Descriptions
from airlock.proxy.link import Facing, Upstream
from airlock.proxy.offers import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Section
from airlock.proxy.router import Router
from airlock.proxy.session.answers import unsupported
from airlock.proxy.session.asks import Asks
from airlock.proxy.session.calls import START_SECONDS, Calls
from airlock.proxy.session.client import MAX_OPEN, Client, Exchange, Seat, Send
from airlock.proxy.session.completions import Completions
from airlock.proxy.session.docket import Docket
from airlock.proxy.session.greeting import Greeting
from airlock.proxy.session.logs import Logs
from airlock.proxy.session.permission import PermissionTool
from airlock.proxy.session.rounds import Rounds
from airlock.proxy.session.subscriptions import UPDATED, Subscriptions
from airlock.proxy.session.taskbook import TaskBook
from airlock.proxy.session.tasks import Tasks
from airlock.proxy.wire import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, error_frame, is_id

if TYPE_CHECKING:
    from airlock.gate import Gate

LIST_SECONDS: Final = 10.0
"""How long the first list waits for upstreams that are starting (decisions.md 42)."""

KEEP_SECONDS: Final = 1.0
"""How long after a list changed the servers' descriptions are kept."""

TTL_MS: Final = 5_000
"""How long a modern client may keep a list, so that a changed policy is soon seen."""

log = logging.getLogger(__name__)


class Session:
    """The MCP server that one client sees."""

    def __init__(
        self,
        *,
        send: Send,
        gate: Gate,
        router: Router,
        seat: Seat,
        descriptions: Descriptions | None = None,
        book: TaskBook | None = None,
        docket: Docket | None = None,
    ) -> None:
        self.client = Client(send, seat)
        self._router = router
        self._gate = gate
        self._catalog = Catalog(router, gate, seat.principal.name)
        self._calls = Calls(self.client, gate, router, self._catalog, docket)
        self._asks = Asks(self.client, gate, router)
        self._permission = PermissionTool(self.client, gate, self._calls)
        self._rounds = Rounds(self.client, self._calls, self._asks)
        self._tasks = Tasks(self.client, gate, self._rounds, book or TaskBook(gate))
        self._subscriptions = Subscriptions(self.client, self._calls, self._tasks)
        self._logs = Logs(self.client, router, self._calls)
        self._greeting = Greeting(router, self._catalog, descriptions or Descriptions(None))
        self._greeting.own_tools = lambda: self._permission.shown
        self._greeting.own_tasks = self._tasks.own
        self._waited: set[str] = set()
        self._keeping: asyncio.TimerHandle | None = None
        self._only_discovered = True
        self._requests: dict[str, Callable[[Exchange, JsonObject], None]] = {
            "tools/call": self._call,
            "tools/list": self._list(TOOLS),
            "prompts/list": self._list(PROMPTS),
            "resources/list": self._list(RESOURCES),
            "resources/templates/list": self._list(TEMPLATES),
            "prompts/get": self._get,
            "resources/read": self._read,
            "completion/complete": Completions(self.client, self._calls, self._catalog, router, gate).answer,
            "resources/subscribe": self._subscriptions.subscribe,
            "resources/unsubscribe": self._subscriptions.unsubscribe,
            "subscriptions/listen": self._listen,
            "logging/setLevel": self._logs.set_level,
            "tasks/get": self._tasks.get,
            "tasks/update": self._tasks.update,
            "tasks/cancel": self._tasks.cancel,
            "initialize": self._initialize,
            "server/discover": self._discover,
            "ping": lambda exchange, _: self.client.succeed(exchange, {}),
        }
        router.listen(self)

    # -- what comes in -------------------------------------------------------------------------------

    def receive_all(self, frames: Iterable[JsonObject]) -> None:
        """Messages that came together: their calls are judged and recorded together, too."""
        self._calls.together(self.receive, frames)

    def receive(self, frame: JsonObject, send: Send | None = None) -> None:
        """One message of the client. `send` takes what belongs to this very request, if that differs."""
        method = frame.get("method")
        if method is None:
            self._asks.answered(frame)
        elif "id" in frame:
            self._requested(frame, method, send or self.client.send)
        else:
            self._notified(method, frame.get("params") or {})

    def _requested(self, frame: JsonObject, method: str, send: Send) -> None:
        params = frame.get("params") or {}
        exchange = Exchange(frame["id"], method, params, send)
        problem = self._misplaced(exchange)
        if problem is not None:
            send(problem)
            return
        open_ones = self.client.open
        open_ones[exchange.id] = exchange
        work = self._requests.get(method)
        if work is None:
            self.client.fail(exchange, METHOD_NOT_FOUND, f"Method not found: {method[:200]}")
        else:
            work(exchange, params)

    def _misplaced(self, exchange: Exchange) -> JsonObject | None:
        """The error for a request that cannot be taken here and now; None when it can."""
        client, params = self.client, exchange.params
        if exchange.id in client.open:
            return error_frame(exchange.id, INVALID_REQUEST, "a request with this id is open already")
        if len(client.open) >= MAX_OPEN:
            return error_frame(exchange.id, INVALID_REQUEST, f"more than {MAX_OPEN} requests are open")
        modern = "_meta" in params and eras.is_modern(params)
        if client.era == "legacy" and not modern and exchange.method not in eras.MODERN_ONLY:
            return None
        return self._check_era(exchange, modern=modern)

    def _check_era(self, exchange: Exchange, *, modern: bool) -> JsonObject | None:
        method, era = exchange.method, self.client.era
        if not modern and method in {"initialize", "ping"} and (era != "modern" or self._only_discovered):
            return None
        if era == "legacy":
            if modern and method not in eras.MODERN_ONLY:
                return unsupported(exchange, eras.LEGACY_VERSIONS)
            return error_frame(exchange.id, METHOD_NOT_FOUND, f"Method not found: {method[:200]}")
        if not modern and method == "initialize":
            return unsupported(exchange, eras.MODERN_VERSIONS)
        if not modern and era is None and method != "server/discover":
            return error_frame(exchange.id, INVALID_REQUEST, "send `initialize` first")
        return self._check_modern(exchange)

    def _check_modern(self, exchange: Exchange) -> JsonObject | None:
        try:
            meta = eras.check_envelope(exchange.params)
        except eras.EnvelopeError as error:
            return error_frame(exchange.id, error.code, str(error), error.data)
        if exchange.method in eras.LEGACY_ONLY:
            return error_frame(exchange.id, METHOD_NOT_FOUND, f"Method not found: {exchange.method}")
        self._introduced(meta)
        if exchange.method != "server/discover":
            self._only_discovered = False
        return None

    def _introduced(self, meta: JsonObject) -> None:
        if self.client.era is None:
            version, capabilities = meta[eras.VERSION], meta[eras.CAPABILITIES]
            self.client.introduce("modern", version, capabilities, meta.get(eras.CLIENT_INFO))
            self._start()

    def knows(self, params: JsonObject) -> bool:
        """True when nothing is to be waited for to know the tool that a modern tools/call names."""
        self._introduced(params["_meta"])
        name = params.get("name")
        return not isinstance(name, str) or self._catalog.tool(name) is not None or self._router.settled()

    async def learn(self, params: JsonObject) -> None:
        """Wait until that tool is known, as the call itself would."""
        await self._router.settle(START_SECONDS, lambda: self._catalog.tool(params["name"]) is not None)

    def schema_of(self, params: JsonObject) -> Any:
        """The input schema of that tool, None when there is none."""
        return self._catalog.input_schema(params.get("name"))

    def _notified(self, method: str, params: JsonObject) -> None:
        if method == "notifications/cancelled":
            self._cancelled(params)
        elif method == "notifications/initialized" and self.client.era == "legacy":
            self.client.listening = True
        elif method == "notifications/progress":
            self._asks.progressed(params)
        elif method == "notifications/roots/list_changed" and self.client.era == "legacy":
            for provider in self._router.providers:
                upstream = self._router.upstream(provider.name)
                if provider.roots and upstream.state.era == "legacy":
                    upstream.notify(method, params or None)
        else:
            log.debug("notification `%s` goes nowhere", method[:80])

    def _cancelled(self, params: JsonObject) -> None:
        wanted = params.get("requestId")
        exchange = self.client.open.get(wanted) if isinstance(wanted, (str, int)) and is_id(wanted) else None
        if exchange is None or exchange.method == "initialize":
            return
        reason = params.get("reason")
        self._calls.cancel(exchange, reason if isinstance(reason, str) else "")
        self._subscriptions.ended(exchange)

    def hung_up(self, request_id: str | int) -> bool:
        """The connection that carried a request is gone, and with it the way for its answer.

        A modern request ends with it. A legacy one runs on unless it waits for a person: then its
        question keeps its grace, and the same call again finds the answer (decisions.md 23). True when it
        ended.
        """
        exchange = self.client.open.get(request_id)
        if exchange is None or (self.client.era == "legacy" and exchange.waiting is None):
            return False
        self._calls.cancel(exchange, "timed out: the connection was lost")
        self._subscriptions.ended(exchange)
        return True

    # -- greetings -----------------------------------------------------------------------------------

    def _start(self) -> None:
        client = self.client
        facing = Facing(
            era=client.era or "legacy",
            protocol_version=client.version,
            info=client.info,
            capabilities=client.capabilities,
        )
        self._router.start(facing)

    def _initialize(self, exchange: Exchange, params: JsonObject) -> None:
        if self.client.era == "legacy":
            self.client.fail(exchange, INVALID_REQUEST, "already initialized")
            return
        version = eras.legacy_version(params.get("protocolVersion"))
        self.client.introduce("legacy", version, params.get("capabilities"), params.get("clientInfo"))
        self._greet(exchange, self._greeting.initialized)

    def _discover(self, exchange: Exchange, _: JsonObject) -> None:
        self._greet(exchange, self._greeting.discovered)

    def _greet(self, exchange: Exchange, words: Callable[[str], JsonObject]) -> None:
        """Answer from what is known; what is not known may take a moment, then it is left out."""
        era, version = self.client.era or "legacy", self.client.version
        if self._greeting.known(era):
            self.client.succeed(exchange, words(version))
            self._start()
            return
        self._start()
        exchange.task = self.client.spawn(self._greet_later(exchange, words, version))

    async def _greet_later(
        self, exchange: Exchange, words: Callable[[str], JsonObject], version: str
    ) -> None:
        await self._greeting.wait(self.client.era or "legacy")
        self.client.succeed(exchange, words(version))

    # -- lists ---------------------------------------------------------------------------------------

    def _list(self, section: Section) -> Callable[[Exchange, JsonObject], None]:
        def listed(exchange: Exchange, params: JsonObject) -> None:
            if params.get("cursor") is not None:
                self.client.fail(exchange, INVALID_PARAMS, "invalid cursor: the list has one page")
            elif section.name in self._waited or self._router.settled():
                self._show(exchange, section)
            else:
                exchange.task = self.client.spawn(self._list_later(exchange, section))

        return listed

    async def _list_later(self, exchange: Exchange, section: Section) -> None:
        await self._router.settle(LIST_SECONDS)
        self._waited.add(section.name)
        self._show(exchange, section)

    def _show(self, exchange: Exchange, section: Section) -> None:
        result: JsonObject = {section.key: self._catalog.items(section) + self._permission.items(section)}
        if self.client.era == "modern":
            result |= {"ttlMs": TTL_MS, "cacheScope": "private"}
        self._subscriptions.listed(section)
        self.client.succeed(exchange, result)

    # -- what goes through the gate ------------------------------------------------------------------

    def _call(self, exchange: Exchange, params: JsonObject) -> None:
        if self._plain(exchange, params) and not self._permission.takes(exchange, params):
            self._calls.tool(exchange, params)

    def _get(self, exchange: Exchange, params: JsonObject) -> None:
        if self._plain(exchange, params):
            self._calls.prompt(exchange, params)

    def _read(self, exchange: Exchange, params: JsonObject) -> None:
        if self._plain(exchange, params):
            self._calls.resource(exchange, params)

    def _plain(self, exchange: Exchange, params: JsonObject) -> bool:
        """False when the request goes on with an earlier one, and was taken care of."""
        if self.client.era != "modern":
            return True
        self._logs.wanted(exchange)
        return not self._rounds.resume(exchange, params)

    def _listen(self, exchange: Exchange, params: JsonObject) -> None:
        self._subscriptions.listen(exchange, params, self._greeting.capabilities("modern"))

    # -- what the router tells (router.Listener) -----------------------------------------------------

    def offer_changed(self, provider: str, section: Section, said: bool) -> None:  # noqa: ARG002
        """Tell the client that a list changed; keep what the servers say for the next start."""
        self._subscriptions.changed(section, said=said)
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._keep)

    def _keep(self) -> None:
        self._keeping = None
        self._greeting.keep(self.client.era or "legacy")

    def upstream_notified(self, upstream: Upstream, method: str, params: JsonObject | None) -> None:
        """Pass on what the client may hear; what is not known goes to legacy clients as it came."""
        if method == UPDATED:
            self._subscriptions.updated(upstream, params)
        elif method == "notifications/message":
            self._logs.message(upstream, params)
        elif method == "notifications/tasks":
            self._tasks.said(upstream, params or {})
        elif self.client.era == "legacy" and self.client.listening and method.startswith("notifications/"):
            self.client.notify(method, params)

    def upstream_asked(
        self, upstream: Upstream, request_id: str | int, method: str, params: JsonObject | None
    ) -> None:
        """Put an upstream's question to the client, in the client's way."""
        if method == "ping":
            upstream.respond(request_id, {"result": {}})
        elif self.client.era == "modern":
            self._rounds.asked(upstream, request_id, method, params)
        else:
            self._asks.asked(upstream, request_id, method, params)

    def upstream_withdrew(self, upstream: Upstream, request_id: str | int) -> None:
        """An upstream withdrew its question."""
        self._asks.withdrew(upstream, request_id)
        self._rounds.withdrew(upstream, request_id)

    def upstream_paused(self, upstream: Upstream, ticket: str | int) -> None:
        """An upstream let go of a connection: the client is let go as well, where it can come back."""
        self.client.paused(upstream, ticket)

    def upstream_changed(self, upstream: Upstream) -> None:
        """An upstream came or went: its questions go with it, its subscriptions come again."""
        if upstream.state.phase == "ready":
            self._subscriptions.restarted(upstream)
            self._logs.restarted(upstream)
        elif upstream.state.phase == "broken":
            self._asks.broke(upstream)

    @property
    def busy(self) -> bool:
        """True while a task of its client needs it, though no request is open."""
        return self._tasks.busy

    def policy_changed(self) -> None:
        """The gate decides by another policy now: the lists may be others."""
        self._subscriptions.policy_changed()

    async def drain(self, seconds: float) -> None:
        """No more requests will come: answer what is open, but leave the calls that wait for a person."""
        self._calls.leave_parked()
        try:
            async with asyncio.timeout(seconds):
                while any(one.method != "subscriptions/listen" for one in self.client.open.values()):
                    await self.client.fewer()
        except TimeoutError:
            return

    async def close(self, seconds: float = 3.0) -> None:
        """The client is gone: nothing more runs for it; parked questions keep their grace."""
        self._router.unlisten(self)
        if self._keeping is not None:
            self._keeping.cancel()
        self._keep()
        self._subscriptions.close()
        self._tasks.close()
        self._rounds.close()
        self._calls.leave()
        await self.client.leave(seconds)
