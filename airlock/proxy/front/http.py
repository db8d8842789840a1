"""MCP over HTTP as a bare ASGI app: finds the era, reads the message, passes it to the right side.

Whoever mounts it has checked Host, Origin and credential before, and says who speaks in
`scope["airlock.principal"]`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airlock.canonical import parse_sent
from airlock.errors import Ending, WireError
from airlock.model import JsonObject, Principal
from airlock.ports_http import Post, Receive, Reply, Scope, Send
from airlock.proxy import eras
from airlock.proxy.described import Descriptions
from airlock.proxy.front.asgi import (
    BODY_SECONDS,
    RETRY,
    Awaited,
    BodyTooLarge,
    BodyTooSlow,
    ClientGone,
    accepts,
    answer,
    header,
    read_body,
    refuse,
    refuse_at_end,
)
from airlock.proxy.front.legacy import Legacy, LegacySession
from airlock.proxy.front.modern import Modern, unsupported
from airlock.proxy.front.said import Said, said
from airlock.proxy.router import MakeUpstream, Router
from airlock.proxy.session.client import Seat
from airlock.proxy.session.docket import Docket
from airlock.proxy.session.session import Session
from airlock.proxy.session.taskbook import TaskBook
from airlock.proxy.wire import INTERNAL_ERROR, INVALID_REQUEST, FrameError, decode, error_frame

if TYPE_CHECKING:
    from airlock.gate import Gate

BODY_LIMIT: Final = 16 * 1024 * 1024
_SAID: Final = "mcp"
NOT_FOUND: Final = "session not found: send `initialize` again"

log = logging.getLogger(__name__)


class McpApp:
    """The ASGI app behind `/mcp`, `/agents/NAME/mcp`, `/agents/NAME/sse` and `/agents/NAME/messages`."""

    def __init__(
        self, gate: Gate, *, make: MakeUpstream, state: Path | None = None, body_limit: int = BODY_LIMIT
    ) -> None:
        self._gate = gate
        self._make = make
        self._limit = body_limit
        self._book = TaskBook(gate)
        self._docket = Docket(gate)
        self._descriptions = Descriptions(state / "upstreams" if state is not None else None)
        self._modern = Modern(self._router, self._session)
        self._legacy = Legacy(self._router, self._session)

    def _router(self) -> Router:
        return Router(self._gate.config, self._make)

    def _session(
        self, principal: Principal, session_id: str, router: Router, send: Callable[[JsonObject], None]
    ) -> Session:
        seat = Seat(
            principal=principal, workspace=self._gate.config.workspace, session=session_id, road="http"
        )
        return Session(
            send=send,
            gate=self._gate,
            router=router,
            seat=seat,
            descriptions=self._descriptions,
            book=self._book,
            docket=self._docket,
        )

    def policy_changed(self) -> None:
        """Tell every client that its lists may be others."""
        for session in (*self._modern.sessions(), *self._legacy.sessions()):
            session.policy_changed()

    async def close(self) -> None:
        """End all clients and upstreams; parked questions keep their grace."""
        await self._modern.close()
        await self._legacy.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        principal: Principal = scope["airlock.principal"]
        last = scope["path"].rstrip("/").rpartition("/")[2]
        try:
            if last == "sse":
                await self._old_stream(scope, receive, send, principal)
            elif last == "messages":
                await self._old_message(scope, receive, send, principal)
            elif scope["method"] == "POST":
                await self._post(scope, receive, send)
            else:
                await self._get_or_delete(scope, receive, send, principal)
        except ClientGone:
            return
        except BodyTooLarge:
            await answer(send, *self._too_large())
        except BodyTooSlow:
            text = f"the message did not arrive within {BODY_SECONDS:g} s"
            await answer(send, 408, error_frame(None, INVALID_REQUEST, text))
        except Ending as error:
            await answer(send, 503, error_frame(None, INTERNAL_ERROR, str(error)), [RETRY])
        except WireError as error:
            await answer(send, 400, error_frame(None, error.code, str(error)))

    # -- Streamable HTTP -----------------------------------------------------------------------------

    def take(self, post: Post) -> bool:
        """Answer a message of Streamable HTTP that came whole."""
        headers: Said = post.kept.get(_SAID) or post.kept.setdefault(_SAID, said(post.scope))
        if headers.problem is not None:
            refuse(post, *headers.problem)
        elif len(post.body) > self._limit:
            refuse(post, *self._too_large())
        else:
            self._read(post, post.scope, headers, post.body)
        return True

    def _too_large(self) -> tuple[int, JsonObject]:
        return 413, error_frame(None, INVALID_REQUEST, f"the message is longer than {self._limit} bytes")

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply, headers = Awaited(), said(scope)
        if headers.problem is not None:
            refuse(reply, *headers.problem)
        else:
            self._read(reply, scope, headers, await read_body(scope, receive, self._limit))
        await reply.given(scope, receive, send)

    def _read(self, reply: Reply, scope: Scope, headers: Said, body: bytes) -> None:
        """Find out what a message says and in which era, and pass it on."""
        try:
            frame = decode(body, parse_sent)
        except FrameError as error:
            about = None if error.response else error.id
            refuse(reply, 400, error_frame(about, error.code, str(error)))
            return
        inside = eras.is_modern(frame.get("params"))
        if headers.strange and not inside:
            refuse(reply, 400, unsupported(headers.version, frame))
        elif headers.modern or ("method" in frame and inside):
            self._modern.post(reply, scope, headers, frame)
        else:
            self._legacy_post(reply, headers, frame, scope["airlock.principal"])

    def _legacy_post(self, reply: Reply, headers: Said, frame: JsonObject, principal: Principal) -> None:
        named = headers.session
        if frame.get("method") == "initialize" and "id" in frame and named is None:
            if self._legacy.closed:
                refuse_at_end(reply, frame["id"])
                return
            session = self._legacy.begin(principal)
            if session is None:
                text = "too many sessions are open: try again later"
                refuse(reply, 503, error_frame(frame["id"], INVALID_REQUEST, text))
                return
        else:
            session = self._legacy.find(named, principal)
        if session is None:
            refuse(reply, *_no_session(named, frame.get("id") if "method" in frame else None))
            return
        session.post(reply, frame, headers.version)

    async def _get_or_delete(self, scope: Scope, receive: Receive, send: Send, principal: Principal) -> None:
        method, headers = scope["method"], said(scope)
        modern = headers.modern
        if modern or method not in {"GET", "DELETE"}:
            await answer(send, 405, None, [(b"allow", b"POST" if modern else b"GET, POST, DELETE")])
            return
        session = self._legacy.find(headers.session, principal)
        if session is None:
            await answer(send, *_no_session(headers.session, None))
        elif method == "GET":
            await self._listen(scope, receive, send, session)
        else:
            await self._legacy.end(session)
            await answer(send, 204)

    async def _listen(self, scope: Scope, receive: Receive, send: Send, session: LegacySession) -> None:
        if not accepts(scope, "text/event-stream"):
            await answer(
                send, 406, error_frame(None, INVALID_REQUEST, "`Accept` must list `text/event-stream`")
            )
            return
        version, last = header(scope, b"mcp-protocol-version"), header(scope, b"last-event-id")
        await session.listen(receive, send, version, last)

    # -- the old HTTP+SSE transport (2024-11-05) -----------------------------------------------------

    async def _old_stream(self, scope: Scope, receive: Receive, send: Send, principal: Principal) -> None:
        if scope["method"] != "GET":
            await answer(send, 405, None, [(b"allow", b"GET")])
            return
        if self._legacy.closed:
            raise Ending
        session = self._legacy.begin(principal)
        if session is None:
            await answer(send, 503, {"error": "too many sessions are open: try again later"})
            return
        path = scope.get("root_path", "") + scope["path"].rstrip("/").removesuffix("sse") + "messages"
        opening = f"event: endpoint\ndata: {path}?session_id={session.id}\n\n".encode()
        try:
            await session.old_stream(receive, send, opening)
        finally:
            await self._legacy.end(session)

    async def _old_message(self, scope: Scope, receive: Receive, send: Send, principal: Principal) -> None:
        if scope["method"] != "POST":
            await answer(send, 405, None, [(b"allow", b"POST")])
            return
        query = scope.get("query_string", b"").decode("latin-1")
        named = next((one[11:] for one in query.split("&") if one.startswith("session_id=")), None)
        session = self._legacy.find(named, principal)
        if session is None:
            await answer(send, 404, {"error": NOT_FOUND})
            return
        frame = decode(await read_body(scope, receive, self._limit), parse_sent)
        session.take(frame)
        await answer(send, 202)


def _no_session(named: str | None, request_id: str | int | None) -> tuple[int, JsonObject]:
    # Without an id the request is wrong; with one that is not (or not yours) the session is gone.
    absent = named is None
    text = "`Mcp-Session-Id` is missing: send `initialize` first" if absent else NOT_FOUND
    return (400 if absent else 404), error_frame(request_id, INVALID_REQUEST, text)
