"""An MCP server over the old HTTP+SSE transport (2024-11-05), through the SDK's client.

The SDK is loaded in a thread when the first such upstream starts: it costs more than everything else
together. Its cancel scopes must be entered and left in one task, so each connection has an owner task.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from airlock.canonical import encode
from airlock.config import ProviderConfig
from airlock.errors import AirlockError, UpstreamError, WireError
from airlock.loading import load
from airlock.model import JsonObject
from airlock.proxy.upstream.connect import Agreement
from airlock.proxy.upstream.http_words import cure
from airlock.proxy.upstream.transport import Sink
from airlock.proxy.wire import LINE_LIMIT

if TYPE_CHECKING:
    import httpx2
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

CONNECT_SECONDS: Final = 30.0
GOODBYE_SECONDS: Final = 3.0
STAND_INS: Final = ("Server returned an error response", "Not Found")
"""What the SDK's transport says when an HTTP status came without a JSON-RPC error."""

MODULES: Final = ("httpx2", "mcp.client.sse", "airlock.proxy.upstream.http_frames")


class SseTransport:
    """One connection. Only the headers of the config are sent, never anything of the client's."""

    legacy_only = True
    pid: int | None = None
    tail: tuple[str, ...] = ()

    def __init__(self, provider: ProviderConfig, *, limit: int = LINE_LIMIT) -> None:
        self._provider = provider
        self._limit = limit
        self._log = logging.getLogger(f"airlock.upstream.{provider.name}")
        self._sink: Sink
        self._outgoing: asyncio.Queue[JsonObject] = asyncio.Queue()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._owner: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._status = ""
        self._asks_for_login = False
        self._auth: httpx2.Auth | None = None

    async def open(self, sink: Sink) -> None:
        """Connect, as far as the transport connects before the first message."""
        self._sink = sink
        await asyncio.to_thread(_load)
        if self._provider.oauth is not None:
            self._auth = await self._login()
        self._opened = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._own(), name=f"http {self._provider.name}")
        self._owner.add_done_callback(self._left)
        await asyncio.shield(self._opened)

    async def _login(self) -> httpx2.Auth:
        """The login of this provider; UpstreamError with the command where a person must log in."""
        await asyncio.to_thread(load, ("airlock.proxy.login.oauth",))
        from airlock.proxy.login.oauth import Bearer, Keeper

        keeper = Keeper(self._provider)
        await keeper.current()
        return Bearer(self._provider, keeper, self._lose)

    def send(self, frame: JsonObject) -> None:
        """Queue one frame; WireError when it cannot be written as JSON."""
        encode(frame)
        self._outgoing.put_nowait(frame)

    def settled(self, agreement: Agreement) -> None:
        """Nothing depends on it here."""

    def hold(self, held: bool) -> None:
        """Stop taking messages, or go on."""
        if held:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def close(self) -> None:
        """End the session at the server, if it answers in time."""
        owner, self._owner = self._owner, None
        for _ in range(2):
            if owner is not None and not owner.done():
                owner.cancel()
                await asyncio.wait({owner}, timeout=GOODBYE_SECONDS)

    # -- the owner task -----------------------------------------------------------------------

    async def _own(self) -> None:
        async with AsyncExitStack() as stack:
            incoming, outgoing = await self._enter(stack)
            if self._opened is not None and not self._opened.done():
                self._opened.set_result(None)
            writer = asyncio.create_task(self._write(outgoing))
            stack.callback(writer.cancel)
            async for item in incoming:
                await self._flowing.wait()
                if isinstance(item, Exception):
                    self._log.warning("a message was refused: %s", item)
                else:
                    self._take(item)

    async def _enter(self, stack: AsyncExitStack) -> TransportStreams:
        from mcp.client.sse import sse_client

        transport = sse_client(self._provider.url, httpx_client_factory=self._client)
        return await stack.enter_async_context(transport)

    def _client(self, headers: Any = None, timeout: Any = None, auth: Any = None) -> httpx2.AsyncClient:  # noqa: ARG002
        """An HTTP client with the config's headers; proxies and certificates come from the environment.

        What the SDK's SSE transport would set is passed over: its read limit ends an idle stream.
        """
        import httpx2

        return httpx2.AsyncClient(
            headers={name: secret.reveal() for name, secret in self._provider.headers.items()},
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=None),  # each request has our own time limit
            event_hooks={"response": [self._responded]},
            auth=self._auth,
        )

    async def _responded(self, response: httpx2.Response) -> None:
        """Note what the transport does not tell, and bound what it would read without end."""
        from airlock.proxy.upstream.http_frames import bounded

        bad = response.status_code >= 400
        self._status = f"HTTP {response.status_code} {response.reason_phrase}".strip() if bad else ""
        if response.status_code == 401 and "resource_metadata" in response.headers.get(
            "www-authenticate", ""
        ):
            self._asks_for_login = True
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = bounded(response.stream, self._limit)

    async def _write(self, outgoing: Any) -> None:
        from airlock.proxy.upstream.http_frames import to_session

        while True:
            frame = await self._outgoing.get()
            await outgoing.send(to_session(frame))

    def _take(self, item: SessionMessage) -> None:
        from airlock.proxy.upstream.http_frames import to_frame

        frame = to_frame(item)
        try:
            encode(frame)  # the SDK's parser takes NaN and infinities
        except WireError as error:
            if "method" not in frame and frame["id"] is not None:
                self._sink.malformed(frame["id"], str(error))
            return
        self._explain(frame)
        self._sink.received(frame)

    def _explain(self, frame: JsonObject) -> None:
        """The transport's stand-in for an HTTP error says nothing; the status does."""
        error = frame.get("error")
        if isinstance(error, dict) and self._status and error.get("message") in STAND_INS:
            error["message"] = f"the server answered with {self._status}{self._cure()}"

    def _left(self, owner: asyncio.Task[None]) -> None:
        """The owner task ended: by `close`, or because the connection did."""
        failure = None if owner.cancelled() else owner.exception()
        reason = self._why(failure) if failure else "the server closed the connection"
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(UpstreamError(reason))
        elif self._owner is not None:
            self._lose(reason)

    def _lose(self, reason: str) -> None:
        self._sink.lost(reason)

    def _why(self, failure: BaseException) -> str:
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        text = str(failure) or type(failure).__name__
        if isinstance(failure, AirlockError):
            return text
        place = urlsplit(self._provider.url)
        if self._status and "HTTPStatus" in type(failure).__name__:
            return f"{place.netloc} answered with {self._status}{self._cure()}"
        cure = ""
        if "CERTIFICATE_VERIFY_FAILED" in text:
            cure = "; name the certificate of its issuer in SSL_CERT_FILE"
        return f"cannot talk to {place.scheme}://{place.hostname}:{_port(place)}: {text}{cure}"

    def _cure(self) -> str:
        status = self._status.split()[1:2]
        code = int(status[0]) if status else 0
        return cure(self._provider, code, asks_for_login=self._asks_for_login)


def _port(place: SplitResult) -> int:
    return place.port or (443 if place.scheme == "https" else 80)


def _load() -> None:
    load(MODULES)
    for name in ("mcp", "httpx2", "httpcore2"):  # at lower levels they write session ids and URLs
        logging.getLogger(name).setLevel(logging.WARNING)
