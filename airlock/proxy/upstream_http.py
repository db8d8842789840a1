"""An MCP server behind a URL: Streamable HTTP or the older SSE transport, through the SDK's transports.

The SDK is loaded in a thread when the first such upstream starts: it costs more than everything else
together. Its cancel scopes must be entered and left in one task, so each connection has an owner task.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from airlock.canonical import encode
from airlock.config import ProviderConfig
from airlock.errors import AirlockError, UpstreamError, WireError
from airlock.loading import load
from airlock.model import JsonObject
from airlock.proxy.connect import Agreement
from airlock.proxy.eras import MODERN_VERSIONS, VERSION
from airlock.proxy.transport import Sink
from airlock.proxy.wire import LINE_LIMIT, Id

if TYPE_CHECKING:
    import httpx2
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

CONNECT_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 0.05
"""How long after the end of its stream an answer may still be on its way through the SDK."""

GOODBYE_SECONDS: Final = 3.0
STAND_INS: Final = ("Server returned an error response", "Not Found")
"""What the SDK's transport says when an HTTP status came without a JSON-RPC error."""

MODULES: Final = ("httpx2", "mcp.client.sse", "mcp.client.streamable_http", "airlock.proxy.http_frames")


class HttpTransport:
    """One connection. Only the headers of the config are sent, never anything of the client's."""

    pid: int | None = None
    tail: tuple[str, ...] = ()

    def __init__(self, provider: ProviderConfig, *, limit: int = LINE_LIMIT) -> None:
        self.legacy_only = provider.type == "sse"
        self._provider = provider
        self._limit = limit
        self._log = logging.getLogger(f"airlock.upstream.{provider.name}")
        self._sink: Sink
        self._version: str | None = None
        self._outgoing: asyncio.Queue[JsonObject] = asyncio.Queue()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._owner: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._status = ""
        self._session_over = False
        self._asks_for_login = False
        self._listings: set[Id] = set()
        self._mirrors: dict[str, dict[tuple[str, ...], str]] = {}
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
        await asyncio.to_thread(load, ("airlock.proxy.oauth",))
        from airlock.proxy.oauth import Bearer, Keeper

        keeper = Keeper(self._provider)
        await keeper.current()
        return Bearer(self._provider, keeper, self._lose)

    def send(self, frame: JsonObject) -> None:
        """Queue one frame; WireError when it cannot be written as JSON."""
        encode(frame)
        if frame.get("method") == "tools/list":
            self._listings.add(frame["id"])
        self._outgoing.put_nowait(frame)

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
        url = self._provider.url
        if self._provider.type == "sse":
            from mcp.client.sse import sse_client

            transport = sse_client(url, httpx_client_factory=self._client)
            return await stack.enter_async_context(transport)
        from mcp.client.streamable_http import streamable_http_client

        client = await stack.enter_async_context(self._client())
        streams = streamable_http_client(url, http_client=client, max_sse_event_size=self._limit)
        return await stack.enter_async_context(streams)

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
        from airlock.proxy.http_frames import bounded, followed

        bad = response.status_code >= 400
        self._status = f"HTTP {response.status_code} {response.reason_phrase}".strip() if bad else ""
        if response.status_code == 401 and "resource_metadata" in response.headers.get(
            "www-authenticate", ""
        ):
            self._asks_for_login = True
        if response.status_code == 404 and "mcp-session-id" in response.request.headers:
            self._session_over = True
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = bounded(response.stream, self._limit)
        elif response.request.method == "POST" and self._version not in MODERN_VERSIONS:
            response.stream = followed(response.stream, partial(self._stream_ended, response.request))

    def _stream_ended(self, request: httpx2.Request) -> None:
        """The stream of a request is over: with its answer, or because the server wants to be asked later."""
        from airlock.proxy.http_frames import request_id

        ticket = request_id(request.content)
        if ticket is not None:
            asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._sink.paused, ticket)

    async def _write(self, outgoing: Any) -> None:
        from airlock.proxy.http_frames import to_session

        while True:
            frame = await self._outgoing.get()
            await outgoing.send(to_session(frame, self._version_of(frame), self._mirrors))

    def _version_of(self, frame: JsonObject) -> str | None:
        """The version of a modern message stands in its envelope."""
        meta = (frame.get("params") or {}).get("_meta")
        if isinstance(meta, dict) and isinstance(meta.get(VERSION), str):
            return str(meta[VERSION])
        return self._version

    def _take(self, item: SessionMessage) -> None:
        from airlock.proxy.http_frames import learn_mirrors, to_frame

        frame = to_frame(item)
        try:
            encode(frame)  # the SDK's parser takes NaN and infinities
        except WireError as error:
            if "method" not in frame and frame["id"] is not None:
                self._sink.malformed(frame["id"], str(error))
            return
        if "method" not in frame and frame["id"] in self._listings:
            self._listings.discard(frame["id"])
            if self._version in MODERN_VERSIONS:
                learn_mirrors(frame, self._mirrors, self._log)
        self._explain(frame)
        self._sink.received(frame)
        if self._session_over and "error" in frame:
            self._lose("the server ended the session")

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
        if self._status.startswith(("HTTP 401", "HTTP 403")):
            name, oauth = self._provider.name, self._provider.oauth
            if oauth is not None and not oauth.token_url:
                return f": run `airlock login {name}`"
            if oauth is not None:
                return ": check its `client_credentials`"
            if self._asks_for_login:
                return f": set `oauth: true` for this provider and run `airlock login {name}`"
            return ": check the `headers` of this provider"
        if self._status.startswith(("HTTP 404", "HTTP 405")):
            return ": check its `url`"
        return ""


def _port(place: SplitResult) -> int:
    return place.port or (443 if place.scheme == "https" else 80)


def _load() -> None:
    load(MODULES)
    for name in ("mcp", "httpx2", "httpcore2"):  # at lower levels they write session ids and URLs
        logging.getLogger(name).setLevel(logging.WARNING)
