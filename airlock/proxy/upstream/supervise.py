"""An upstream that keeps itself alive: connects, notices failures, and tries again with back-off.

What is particular to a kind of server (a process, a URL, our own demo) is a `Transport`. A call is never
repeated: when the connection ends, every open request is answered with an error that says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from airlock.config import ProviderConfig
from airlock.errors import UpstreamError, WireError
from airlock.model import JsonObject
from airlock.proxy.link import Era, Facing, OnProgress, OnReply, Phase, Reply, UpstreamEvents, UpstreamState
from airlock.proxy.upstream.backoff import Backoff
from airlock.proxy.upstream.connect import PROBE_SECONDS, Agreement, agree, forget
from airlock.proxy.upstream.peer import Peer
from airlock.proxy.upstream.transport import Transport
from airlock.proxy.wire import Id

START_SECONDS: Final = 30.0
"""How long a server may take from its start to the end of the handshake."""

EARLY: Final = 256
"""How many notifications and questions are kept while the handshake is under way."""


class Supervised:
    """The `Upstream` of every provider type."""

    def __init__(
        self,
        provider: ProviderConfig,
        events: UpstreamEvents,
        dial: Callable[[], Transport],
        *,
        backoff: Backoff | None = None,
        start_seconds: float = START_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._provider = provider
        self._events = events
        self._dial = dial
        self._backoff = backoff or Backoff()
        self._start_seconds = start_seconds
        self._probe_seconds = probe_seconds
        self._log = logging.getLogger(f"airlock.upstream.{provider.name}")
        self._state = UpstreamState()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._line: _Line | None = None
        self._peer: Peer | None = None
        self._held = False
        self._suspect_probe = False
        self._brief = ""

    @property
    def name(self) -> str:
        """The provider's name in the config."""
        return self._provider.name

    @property
    def state(self) -> UpstreamState:
        """What is known of it now."""
        if self._line is not None:
            tail = self._line.transport.tail
            if tail != self._state.stderr_tail:
                self._update(stderr_tail=tail)
        return self._state

    @property
    def phase(self) -> Phase:
        """Whether it can be used now."""
        return self._state.phase

    @property
    def era(self) -> Era:
        """The era that was agreed on."""
        return self._state.era

    def start(self, facing: Facing) -> None:
        """Begin connecting; a second call changes nothing."""
        if self._task is None and self._state.phase == "idle":
            self._enter("starting")
            self._task = asyncio.get_running_loop().create_task(
                self._live(facing), name=f"upstream {self.name}"
            )
            self._task.add_done_callback(self._stopped)

    async def ready(self, seconds: float) -> bool:
        """Wait until it is ready or broken, at most that long; True when it is ready."""
        try:
            async with asyncio.timeout(seconds):
                while self._state.phase in {"idle", "starting"}:
                    changed = self._changed
                    await changed.wait()
        except TimeoutError:
            pass
        return self._state.phase == "ready"

    def request(
        self, method: str, params: JsonObject | None, on_reply: OnReply, on_progress: OnProgress | None = None
    ) -> int:
        """Send a request; UpstreamError when it is not ready, WireError when it cannot be written."""
        peer = self._peer
        if peer is None:
            raise UpstreamError(self._unusable())
        return peer.request(method, params, on_reply, on_progress)

    def cancel(self, ticket: int, reason: str | None) -> None:
        """Give up a request."""
        if self._peer is not None:
            self._peer.cancel(ticket, reason)

    def notify(self, method: str, params: JsonObject | None) -> None:
        """Send a notification; dropped when it is not ready."""
        if self._peer is not None:
            self._peer.notify(method, params)

    def respond(self, request_id: Id, reply: Reply) -> None:
        """Answer a request that came through `asked`."""
        if self._peer is not None:
            self._peer.respond(request_id, reply)

    def hold(self, held: bool) -> None:
        """Stop reading from it while the client does not read, or go on."""
        self._held = held
        if self._line is not None:
            self._line.transport.hold(held)

    async def close(self) -> None:
        """End the connection and the process; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        if self._state.phase != "closed":
            self._enter("closed")

    # -- its life -----------------------------------------------------------------------------

    async def _live(self, facing: Facing) -> None:
        while True:
            lived = await self._once(facing)
            if self._state.phase == "broken":
                await asyncio.sleep(self._backoff.after(lived))
            self._enter("starting", restarts=self._state.restarts + 1)

    async def _once(self, facing: Facing) -> float:
        """One connection from start to end; how many seconds it was ready."""
        loop = asyncio.get_running_loop()
        line = self._line = _Line(self, self._dial())
        lived = 0.0
        try:
            agreement = await self._connect(line, facing)
            line.transport.settled(agreement)
            since = loop.time()
            self._ready(line, agreement)
            reason = await line.end
            lived = loop.time() - since
            self._fail(line, reason)
        except UpstreamError as error:
            self._fail(line, str(error))
        finally:
            self._peer = None
            line.close()
            await _to_the_end(line.transport.close())
            self._update(pid=None, stderr_tail=line.transport.tail)
            self._line = None
        return lived

    def _fail(self, line: _Line, reason: str) -> None:
        """Answer what is open, then say that it is broken."""
        self._peer = None
        line.close(reason)
        if self._suspect_probe and self._state.restarts == 0:
            self._log.info("%s: asking it in the old way", reason)
            return
        again = reason == self._brief  # tried once more, and nothing new: who reads the log knows
        self._brief = reason
        if line.words:
            reason = f"{reason}; its last words: {line.words}"
        self._log.log(logging.INFO if again else logging.WARNING, "%s", reason)
        self._enter("broken", reason=reason, stderr_tail=line.transport.tail)

    async def _connect(self, line: _Line, facing: Facing) -> Agreement:
        try:
            async with asyncio.timeout(self._start_seconds):
                await line.transport.open(line)
                self._update(pid=line.transport.pid)
                line.transport.hold(self._held)
                return await self._greet(line, facing)
        except TimeoutError:
            line.words = " | ".join(line.transport.tail[-3:])
            limit = f"{self._start_seconds:g} s"
            raise UpstreamError(f"it did not finish the handshake within {limit}") from None

    async def _greet(self, line: _Line, facing: Facing) -> Agreement:
        """The handshake, unless the connection ends first."""
        legacy_only = line.transport.legacy_only or self._suspect_probe
        greeting = asyncio.ensure_future(
            agree(
                line.peer,
                facing,
                self._provider,
                legacy_only=legacy_only,
                probe_seconds=self._probe_seconds,
            )
        )
        try:
            both: set[asyncio.Future[Any]] = {greeting, line.end}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if greeting.done() and not line.end.done():
                return await greeting
            self._suspect_probe = facing.era == "modern" and not legacy_only
            raise UpstreamError(await line.end)
        finally:
            forget(greeting)

    def _ready(self, line: _Line, agreement: Agreement) -> None:
        self._suspect_probe, self._brief = False, ""
        self._peer = line.peer
        self._enter(
            "ready",
            reason="",
            era=agreement.era,
            protocol_version=agreement.protocol_version,
            server_info=agreement.server_info,
            capabilities=agreement.capabilities,
            instructions=agreement.instructions,
        )
        line.replay()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """Its life ended: by `close`, or by a defect, which must not pass for a server that is starting."""
        if not task.cancelled() and task.exception() is not None:
            self._log.error("gave up", exc_info=task.exception())
            self._enter("broken", reason=f"an internal failure: {task.exception()!r}")

    def _enter(self, phase: Phase, **changes: object) -> None:
        self._update(phase=phase, **changes)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._events.state_changed(self)

    def _update(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _unusable(self) -> str:
        state = self._state
        why = {
            "idle": "it was not started yet",
            "starting": "it is starting" + (f" again: {self._brief}" if self._brief else ""),
            "broken": self._brief,
            "closed": "it was closed",
        }
        return f"upstream `{self.name}` is not available: {why.get(state.phase, state.phase)}"

    # -- what the line hands on ---------------------------------------------------------------

    @property
    def events(self) -> UpstreamEvents:
        """Who is told."""
        return self._events

    @property
    def provider(self) -> ProviderConfig:
        """Its config."""
        return self._provider


async def _to_the_end(closing: Coroutine[Any, Any, None]) -> None:
    """Finish closing also when the one who waits for it is cancelled meanwhile."""
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


class _Line:
    """One connection: the sink of its transport and the ears of its peer.

    What arrives before the handshake is over waits until the router knows that the upstream is ready.
    """

    def __init__(self, owner: Supervised, transport: Transport) -> None:
        self.transport = transport
        self.peer = Peer(owner.name, transport.send, self, timeout_ms=owner.provider.timeout_ms)
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.words = ""
        self._closed = False
        self._owner = owner
        self._early: list[Callable[[], None]] | None = []

    def received(self, frame: JsonObject) -> None:
        """One decoded frame."""
        if self._closed:
            return
        try:
            self.peer.received(frame)
        except WireError as error:  # an answer of ours that cannot be written
            logging.getLogger("airlock.upstream").warning("%s: %s", self._owner.name, error)

    def malformed(self, ticket: Id, message: str) -> None:
        """An answer came that cannot be accepted."""
        self.peer.failed(ticket, f"its answer was refused: {message}")

    def paused(self, ticket: Id) -> None:
        """A request will be answered on another connection."""
        if not self._closed and self.peer.waits_for(ticket):
            self._owner.events.paused(self._owner, ticket)

    def lost(self, reason: str, words: str = "") -> None:
        """The connection ended."""
        if not self.end.done() and not self._closed:
            self.words = words
            self.end.set_result(reason)
            self.peer.end(f"{reason}; the call was not repeated")

    def close(self, reason: str = "the connection was closed") -> None:
        """Answer what is open; nothing is heard afterwards."""
        self._closed = True
        self.peer.end(f"{reason}; the call was not repeated")

    def notified(self, method: str, params: JsonObject | None) -> None:
        """A notification."""
        self._tell(lambda: self._owner.events.notified(self._owner, method, params))

    def asked(self, request_id: Id, method: str, params: JsonObject | None) -> None:
        """A request."""
        self._tell(lambda: self._owner.events.asked(self._owner, request_id, method, params))

    def withdrawn(self, request_id: Id) -> None:
        """A request is given up."""
        self._tell(lambda: self._owner.events.withdrawn(self._owner, request_id))

    def replay(self) -> None:
        """Hand on what came early."""
        early, self._early = self._early or [], None
        for tell in early:
            tell()

    def _tell(self, tell: Callable[[], None]) -> None:
        if self._early is None:
            tell()
        elif len(self._early) < EARLY:
            self._early.append(tell)
