"""An MCP server over Streamable HTTP, in both eras: each message is a POST, answered by JSON or by a stream.

In the legacy era there may be a session, a stream for what belongs to no request, and streams that a server
ends early and means to continue on another connection (specification, 2025-11-25, transports). In the modern
era each request stands alone, and is given up by hanging up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from airlock.canonical import encode
from airlock.config import ProviderConfig
from airlock.errors import AirlockError, WireError
from airlock.loading import load
from airlock.model import JsonObject
from airlock.proxy.eras import MODERN_VERSIONS, VERSION
from airlock.proxy.mirrors import KEY, NAMES, encoded
from airlock.proxy.upstream.connect import Agreement
from airlock.proxy.upstream.event_stream import TooLong
from airlock.proxy.upstream.http_client import HttpClient, Unreachable
from airlock.proxy.upstream.http_place import refusal
from airlock.proxy.upstream.http_streams import Mark, Reading, Streams
from airlock.proxy.upstream.http_wire import Answer, Broken
from airlock.proxy.upstream.transport import Sink
from airlock.proxy.wire import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LINE_LIMIT,
    METHOD_NOT_FOUND,
    FrameError,
    Id,
    decode,
    error_frame,
)

if TYPE_CHECKING:
    from airlock.proxy.login.oauth import Keeper

CLOSED: Final = -32000
GOODBYE_SECONDS: Final = 3.0
TELL_SECONDS: Final = 10.0
"""How long the server may take to say that it has a notification: what is sent later waits for that."""


MOST_OPEN: Final = 512
"""Requests that are open at once; others wait for their turn, since each takes a connection."""

MIRRORING: Final = ("airlock.proxy.upstream.http_frames",)
LOGIN: Final = ("airlock.proxy.login.oauth",)


class HttpTransport:
    """One connection, which is as many HTTP connections as there are open requests."""

    legacy_only = False
    pid: int | None = None
    tail: tuple[str, ...] = ()

    def __init__(self, provider: ProviderConfig, *, limit: int = LINE_LIMIT) -> None:
        self._provider = provider
        self.limit = limit
        self._log = logging.getLogger(f"airlock.upstream.{provider.name}")
        self._sink: Sink
        self._client: HttpClient
        self._streams: Streams
        self._opened = False
        self._over = False
        self._version = ""
        self._session = ""
        self._queue: deque[JsonObject] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._posts: dict[Id, tuple[asyncio.Task[None], bool]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._mirrors: dict[str, dict[tuple[str, ...], str]] = {}
        self._room = asyncio.Semaphore(MOST_OPEN)
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def open(self, sink: Sink) -> None:
        """Make ready; connections are made when there is something to send."""
        self._sink = sink
        keeper = await self._login() if self._provider.oauth is not None else None
        self._client = HttpClient(self._provider, keeper, self._lose)
        self._streams = Streams(self, self._client, self._log)
        self._opened = True

    async def _login(self) -> Keeper:
        """The login of this provider; UpstreamError with the command where a person must log in."""
        await asyncio.to_thread(load, LOGIN)
        from airlock.proxy.login.oauth import Keeper

        keeper = Keeper(self._provider)
        await keeper.current()
        return keeper

    def settled(self, agreement: Agreement) -> None:
        """From now on every message names the version."""
        self._version = agreement.protocol_version

    def hold(self, held: bool) -> None:
        """Stop taking messages, or go on."""
        if held:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def close(self) -> None:
        """End the session at the server, if it answers in time, and hang up."""
        if not self._opened:
            return
        self._opened = False
        if self._session and not self._over:
            try:
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self._goodbye()
            except TimeoutError:
                self._log.debug("it did not answer to the end of the session")
        self._over = True
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GOODBYE_SECONDS)
        await self._client.close()

    async def _goodbye(self) -> None:
        try:
            (await self._client.send("DELETE", self._headers(self._version))).release()
        except (Unreachable, AirlockError) as error:
            self._log.debug("the session could not be ended: %s", error)

    # -- what goes out -------------------------------------------------------------------------------

    def send(self, frame: JsonObject) -> None:
        """Post one frame; WireError when it cannot be written as JSON.

        Requests go side by side, all else one after the other, and nothing overtakes what was sent before.
        """
        data = encode(frame)
        request = "id" in frame and "method" in frame
        if frame.get("method") == "notifications/cancelled" and self._gave_up(frame):
            return
        if request and self._pump is None:
            self._post(frame, data)
            return
        self._queue.append(frame)
        if self._pump is None:
            self._pump = self._spawn(self._drain())

    async def _drain(self) -> None:
        while self._queue:
            frame = self._queue.popleft()
            data = encode(frame)
            if "id" in frame and "method" in frame:
                self._post(frame, data)
            else:
                await self._tell(frame, data)
        self._pump = None

    def _gave_up(self, frame: JsonObject) -> bool:
        """A cancellation: in the modern era it is made by hanging up, and nothing is sent."""
        ticket = (frame.get("params") or {}).get("requestId")
        post = self._posts.get(ticket) if ticket is not None else None
        if post is None:
            return self._version in MODERN_VERSIONS
        task, modern = post
        if modern:
            task.cancel()
        return modern

    def _post(self, frame: JsonObject, data: bytes) -> None:
        version = self._version_of(frame)
        work = self._request(frame["id"], frame["method"], data, self._headers(version, frame))
        self._posts[frame["id"]] = (self._spawn(work), version in MODERN_VERSIONS)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("a request failed", exc_info=error)
            self._lose(f"an internal failure: {type(error).__name__}")

    def _version_of(self, frame: JsonObject) -> str:
        """The version of a modern message stands in its envelope; before the handshake there is none."""
        if frame.get("method") == "initialize":
            return ""
        meta = (frame.get("params") or {}).get("_meta")
        named = meta.get(VERSION) if isinstance(meta, dict) else None
        return named if isinstance(named, str) else self._version

    def _headers(self, version: str, frame: JsonObject | None = None) -> dict[str, str]:
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if self._session:
            headers["Mcp-Session-Id"] = self._session
        if version:
            headers["MCP-Protocol-Version"] = version
        if frame is not None and version in MODERN_VERSIONS:
            self._repeat(frame, headers)
        return headers

    def _repeat(self, frame: JsonObject, headers: dict[str, str]) -> None:
        """What a modern request says a second time, in its headers."""
        method, params = frame["method"], frame.get("params") or {}
        headers["Mcp-Method"] = method
        name = params.get(NAMES.get(method, ""))
        if isinstance(name, str):
            headers["Mcp-Name"] = encoded(name)
            if method == "tools/call" and name in self._mirrors:
                from airlock.proxy.upstream.http_frames import mcp_param_headers

                headers.update(mcp_param_headers(self._mirrors[name], params.get("arguments") or {}))

    def stream_headers(self) -> dict[str, str]:
        """What a GET for a stream says."""
        return self._headers(self._version) | {"Accept": "text/event-stream"}

    def refuse(self, ticket: Id, problem: str) -> None:
        """The answer to this request cannot be accepted."""
        if not self._over:
            self._sink.malformed(ticket, problem)

    # -- requests and their answers ------------------------------------------------------------------

    async def _request(self, ticket: Id, method: str, data: bytes, headers: dict[str, str]) -> None:
        try:
            async with self._room:
                response = await self._client.send("POST", headers, data)
                try:
                    await self._answer(ticket, method, response)
                finally:
                    response.release()
        except Unreachable as error:
            self._lose(str(error))
        except TooLong as error:
            self._fail(ticket, CLOSED, str(error))
        except AirlockError as error:
            self._fail(ticket, INTERNAL_ERROR, str(error))
        finally:
            self._posts.pop(ticket, None)

    async def _answer(self, ticket: Id, method: str, response: Answer) -> None:
        if response.status >= 300 or response.status == 202:
            await self._refused(ticket, response)
            return
        if method == "initialize":
            self._session = response.headers.get("mcp-session-id", "")
        kind = response.headers.get("content-type", "").lower()
        if kind.startswith("application/json"):
            await self._plain(ticket, method, await self._whole(response))
        elif kind.startswith("text/event-stream"):
            await self._stream(ticket, method, response)
        else:
            self._fail(ticket, INVALID_REQUEST, f"its answer is `{kind[:60]}`, neither JSON nor a stream")

    async def _whole(self, response: Answer) -> bytes:
        """The body; TooLong or Unreachable without it."""

        coding = response.headers.get("content-encoding", "identity").lower()
        if coding != "identity":
            raise TooLong(f"its answer is packed with `{coding[:20]}`, which was not asked for")
        try:
            return await response.whole(self.limit)
        except Broken as error:
            raise Unreachable(f"its answer broke off: {error}") from None

    async def _plain(self, ticket: Id, method: str, data: bytes) -> None:
        try:
            frame = decode(data)
        except FrameError as error:
            self.refuse(ticket, str(error))
            return
        if "method" in frame:
            self.refuse(ticket, "its answer is a request of its own")
            return
        await self._take(ticket, method, frame, data)

    async def _take(self, ticket: Id, method: str, frame: JsonObject, data: bytes) -> None:
        """The answer to this request, if it says so: a server that mixes them up is not believed."""
        if not _bears(frame, ticket):
            self.refuse(ticket, "its answer bears the id of another request")
            return
        frame["id"] = ticket
        if method == "initialize":
            self._learn_version(frame)
        elif method == "tools/list" and self._version in MODERN_VERSIONS:
            await self._learn_mirrors(frame, data)
        await self.hand_on(frame)

    def _learn_version(self, frame: JsonObject) -> None:
        result = frame.get("result")
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        self._version = version if isinstance(version, str) and version.isprintable() else ""

    async def _learn_mirrors(self, frame: JsonObject, data: bytes) -> None:
        """Note which arguments are repeated in headers. The SDK knows the rules, and is slow to load."""
        self._mirrors.clear()
        if KEY.encode() in data or b"\\u" in data:
            await asyncio.to_thread(load, MIRRORING)
            from airlock.proxy.upstream.http_frames import learn_mirrors

            learn_mirrors(frame, self._mirrors, self._log)

    async def hand_on(self, frame: JsonObject) -> None:
        """A message of the server, once we may read."""
        if not self._flowing.is_set():
            await self._flowing.wait()
        if not self._over:
            self._sink.received(frame)

    async def _refused(self, ticket: Id, response: Answer) -> None:
        """An answer with a status that means no: the server's own error where it sent one."""
        said = await self._error_in(response)
        gone = response.status == 404 and bool(self._session)
        if said is not None:
            await self.hand_on({"jsonrpc": "2.0", "id": ticket, "error": said})
        elif gone:
            self._fail(ticket, INVALID_REQUEST, "the server ended the session")
        else:
            code = METHOD_NOT_FOUND if response.status == 404 else INTERNAL_ERROR
            self._fail(ticket, code, refusal(self._provider, response))
        if gone:
            self._lose("the server ended the session")

    async def _error_in(self, response: Answer) -> JsonObject | None:
        """The JSON-RPC error in the body of a refusal; None where there is none."""
        if response.status < 400 or "json" not in response.headers.get("content-type", "").lower():
            return None
        try:
            frame = decode(await self._whole(response))
        except (WireError, TooLong, Unreachable):
            return None
        found = frame.get("error")
        return found if isinstance(found, dict) else None

    def _fail(self, ticket: Id, code: int, message: str) -> None:
        if not self._over:
            self._sink.received(error_frame(ticket, code, message))

    def _lose(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._sink.lost(reason)

    async def _stream(self, ticket: Id, method: str, response: Answer) -> None:
        """The stream of a request until its answer; taken up again where a server ended it before."""

        async def answered(frame: JsonObject, data: bytes) -> None:
            await self._take(ticket, method, frame, data)

        reading, mark = Reading(ticket, answered), Mark()
        if await self._streams.follow(response, mark, reading):
            return
        if mark.last is not None and self._version not in MODERN_VERSIONS:
            if not mark.broken:
                self._sink.paused(ticket)
            if await self._streams.resume(mark, reading):
                return
        self._fail(ticket, CLOSED, "the stream of its answer ended without the answer")

    # -- all else ------------------------------------------------------------------------------------

    async def _tell(self, frame: JsonObject, data: bytes) -> None:
        """A notification, or an answer to a request of the server."""
        try:
            async with asyncio.timeout(min(TELL_SECONDS, self._provider.timeout_ms / 1000)):
                response = await self._client.send("POST", self._headers(self._version), data)
            response.release()
            if response.status >= 300:
                self._log.debug("it refused a message: %s", response.status)
        except TimeoutError:
            self._log.warning("it did not say in time that it has a message")
        except (Unreachable, AirlockError) as error:
            self._lose(str(error))
            return
        if frame.get("method") == "notifications/initialized" and self._session:
            self._spawn(self._streams.listen())
        elif frame.get("method") == "notifications/cancelled":
            self._hang_up((frame.get("params") or {}).get("requestId"))

    def _hang_up(self, ticket: Any) -> None:
        """A legacy request was given up, and the server knows: nobody reads its answer any more."""
        post = self._posts.get(ticket)
        if post is not None:
            post[0].cancel()


def _bears(frame: JsonObject, ticket: Id) -> bool:
    """True for the id of this request, also as a text; an error may be about a request without one."""
    found = frame.get("id")
    return found == ticket or str(found) == str(ticket) or (found is None and "error" in frame)
