"""The client of one session: who it is, what it waits for, and the way to it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from airlock.ids import make_id
from airlock.model import Call, JsonObject, Kind, Origin, Principal, Proceed, Wait
from airlock.proxy.eras import TOOL_USE_ID
from airlock.proxy.link import Era, Reply, Upstream
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.proxy.session.errand import Errand

MAX_OPEN: Final = 4_096
"""Requests of one client that may be open at once; more are refused, so that a flood costs little."""

TICK: Final = 0.0001
"""What one sign of life adds to the progress: small, so that the upstream's own values stay in front."""

Send = Callable[[JsonObject], None]

log = logging.getLogger(__name__)


class Exchange:
    """One request of the client until it is answered or given up."""

    __slots__ = (
        "errand",
        "given_up",
        "id",
        "method",
        "over",
        "params",
        "proceed",
        "progress",
        "send",
        "task",
        "ticket",
        "token",
        "upstream",
        "waiting",
    )

    def __init__(self, frame_id: str | int, method: str, params: JsonObject, send: Send) -> None:
        self.id = frame_id
        self.method = method
        self.params = params
        self.send = send
        self.over = False
        self.errand: Errand | None = None
        self.given_up: str | None = None
        self.progress: float | int | None = None
        self.upstream: Upstream | None = None
        self.ticket: int | None = None
        self.proceed: Proceed | None = None
        self.waiting: Wait | None = None
        self.task: asyncio.Task[None] | None = None
        meta = params.get("_meta")
        token = meta.get("progressToken") if type(meta) is dict else None
        self.token: str | int | None = token if type(token) in (str, int) else None

    @property
    def meta(self) -> JsonObject:
        """Its `_meta`, empty when it has none."""
        found = self.params.get("_meta")
        return found if isinstance(found, dict) else {}

    def step(self, params: JsonObject) -> None:
        """Pass the upstream's progress on; its value rises above whatever the client has seen."""
        value = params.get("progress")
        if self.over or self.token is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        if self.progress is not None and value <= self.progress:
            value = above(self.progress)
        self._tell({**params, "progressToken": self.token, "progress": value})

    def tick(self, message: str) -> None:
        """Show a sign of life of our own, with a message for the person at the client."""
        if self.over or self.token is None:
            return
        value = above(self.progress) if self.progress is not None else TICK
        self._tell({"progressToken": self.token, "progress": value, "message": message})

    def _tell(self, params: JsonObject) -> None:
        self.progress = params["progress"]
        self.send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


def above(value: float) -> float | int:
    """A number a little above: by a tick, or by the smallest step where numbers are wide apart."""
    if isinstance(value, int) and abs(value) > 2**53:
        return value + 1
    return max(round(value + TICK, 6), math.nextafter(value, math.inf))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a session stands: its agent and what people are shown of its surroundings."""

    principal: Principal
    workspace: str
    session: str
    cwd: str = ""
    road: str = "mcp"


class Client:
    """The one who speaks to us: its era and capabilities, its open requests, and how to reach it."""

    def __init__(self, send: Send, seat: Seat) -> None:
        self.send = send
        self.seat = seat
        self.era: Era | None = None
        self.version = ""
        self.capabilities: JsonObject = {}
        self.info: JsonObject = {}
        self.listening = False
        """True once a legacy client said `initialized`: from then on it may be sent things."""
        self.open: dict[str | int, Exchange] = {}
        self.on_pause: Callable[[str | int], None] | None = None
        """Lets go of the connection of a request that is answered later; where a transport can do that."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: set[asyncio.Task[None]] = set()
        self._origin: Origin | None = None
        self._dropped: asyncio.Event | None = None

    @property
    def name(self) -> str:
        """What the client calls itself; for people, and for how long a call is held, never for policy."""
        name = self.info.get("name")
        return name[:100] if isinstance(name, str) else ""

    def introduce(self, era: Era, version: str, capabilities: Any, info: Any) -> None:
        """Take down who it says it is."""
        self.era = era
        self.version = version
        self.capabilities = capabilities if isinstance(capabilities, dict) else {}
        self.info = info if isinstance(info, dict) else {}
        self._origin = None

    def origin(self, meta: Any) -> Origin:
        """Where a call with this `_meta` comes from."""
        if self._origin is None:
            self._origin = self._make_origin("")
        tool_use = meta.get(TOOL_USE_ID) if type(meta) is dict else None
        if not tool_use or not isinstance(tool_use, str):
            return self._origin
        return self._make_origin(tool_use[:200])

    def _make_origin(self, tool_use_id: str) -> Origin:
        seat = self.seat
        return Origin(
            road=seat.road,
            workspace=seat.workspace,
            session=seat.session,
            cwd=seat.cwd,
            client=self.name,
            tool_use_id=tool_use_id,
        )

    def call(  # noqa: PLR0917 - the fields of a call, in the model's order; keywords cost time here
        self,
        kind: Kind,
        provider: str,
        name: str,
        arguments: Mapping[str, Any],
        endpoint: str,
        meta: Any,
    ) -> Call:
        """The call to be judged."""
        principal = self.seat.principal
        return Call(make_id(), principal, provider, name, kind, arguments, endpoint, (), self.origin(meta))

    def answer(self, exchange: Exchange, reply: Reply) -> None:
        """Answer a request, once; nothing when it was given up."""
        if exchange.over:
            return
        self.drop(exchange)
        exchange.send({"jsonrpc": "2.0", "id": exchange.id, **reply})

    def succeed(self, exchange: Exchange, result: JsonObject) -> None:
        """Answer with a result of our own, marked as complete where the era wants that."""
        if self.era == "modern" and "resultType" not in result:
            result = {"resultType": "complete", **result}
        self.answer(exchange, {"result": result})

    def fail(self, exchange: Exchange, code: int, message: str, data: Any = None) -> None:
        """Answer with an error."""
        error: JsonObject = {"code": code, "message": message}
        if data is not None:
            error["data"] = data
        self.answer(exchange, {"error": error})

    def drop(self, exchange: Exchange) -> None:
        """Forget a request: whatever comes for it later goes nowhere."""
        exchange.over = True
        exchange.errand = None  # they point at each other: apart, they are freed at once
        if self.open.get(exchange.id) is exchange:
            del self.open[exchange.id]
        if self._dropped is not None:
            self._dropped.set()

    def paused(self, upstream: Upstream, ticket: str | int) -> None:
        """An upstream answers a request of this client later, on another connection."""
        for exchange in self.open.values():
            if exchange.upstream is upstream and exchange.ticket == ticket and self.on_pause is not None:
                self.on_pause(exchange.id)
                return

    async def fewer(self) -> None:
        """Wait until a request was answered or given up."""
        self._dropped = asyncio.Event()
        await self._dropped.wait()

    def notify(self, method: str, params: JsonObject | None = None) -> None:
        """Send a notification that belongs to no request."""
        frame: JsonObject = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            frame["params"] = params
        self.send(frame)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background; it is cancelled when the client goes away."""
        return self._run(work, self._tasks)

    def finish(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that is waited for when the client goes away: it is on its way into the database."""
        return self._run(work, self._last)

    def _run(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)
        task.add_done_callback(_complain)
        return task

    async def leave(self, seconds: float) -> None:
        """The client is gone: cancel what runs for it, wait for what must be recorded, within a bound."""
        for task in self._tasks:
            task.cancel()
        rest = self._tasks | self._last
        if rest:
            await asyncio.wait(rest, timeout=seconds)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a background task failed", exc_info=task.exception())
