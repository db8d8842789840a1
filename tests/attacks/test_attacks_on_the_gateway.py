"""A neighbour or an agent that wants the gateway to spend what it has: processes, descriptors, memory."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from airlock.model import Principal
from airlock.proxy.front.asgi import Awaited, read_body
from airlock.proxy.front.http import McpApp
from airlock.proxy.front.modern import MAX_KIND, Modern
from airlock.proxy.front.said import said
from airlock.proxy.router import Router
from airlock.proxy.session.client import Seat
from airlock.proxy.session.session import Session
from airlock.proxy.upstream.factory import make_upstream
from support.listeners import listening
from support.sessions import PREFIX, Json, facing, odd, policy

pytestmark = pytest.mark.anyio

ALICE = Principal(name="alice", identity="agent:alice")
BOB = Principal(name="bob", identity="agent:bob")
_ids = itertools.count(1)


class Exchange:
    """One POST of a modern client that listens: it stays open until it is ended."""

    def __init__(self, modern: Modern, principal: Principal, name: str) -> None:
        self.status = 0
        self._begun = asyncio.Event()
        self._gone = asyncio.Event()
        meta = {
            PREFIX + "protocolVersion": "2026-07-28",
            PREFIX + "clientCapabilities": {},
            PREFIX + "clientInfo": {"name": name, "version": "1"},
        }
        params = {"_meta": meta, "notifications": {"toolsListChanged": True}}
        frame = {"jsonrpc": "2.0", "id": next(_ids), "method": "subscriptions/listen", "params": params}
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen"}
        scope: Json = {"headers": [(key.encode(), value.encode()) for key, value in headers.items()]}
        scope["airlock.principal"] = principal
        reply = Awaited()
        modern.post(reply, scope, said(scope), frame)
        self._task = asyncio.create_task(reply.given(scope, self._receive, self._send))

    async def _receive(self) -> Json:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self._begun.set()

    async def begun(self) -> int:
        """Its status, once there is one."""
        async with asyncio.timeout(60):
            await self._begun.wait()
        return self.status

    async def end(self) -> None:
        """Close the connection."""
        self._gone.set()
        async with asyncio.timeout(60):
            await self._task


@asynccontextmanager
async def houses(folder: Path, **limits: int) -> AsyncIterator[Modern]:
    async with facing(folder, policy({"odd": odd(enabled=False)})) as caller:

        def make(principal: Principal, session_id: str, router: Router, send: Any) -> Session:
            seat = Seat(principal=principal, workspace="w", session=session_id)
            return Session(send=send, gate=caller.gate, router=router, seat=seat)

        modern = Modern(lambda: Router(caller.config, make_upstream), make, **limits)
        try:
            yield modern
        finally:
            await modern.close()


async def test_a_client_with_a_new_name_each_time_starts_no_servers_without_end(tmp_path: Path) -> None:
    async with houses(tmp_path, most=4, own=2) as modern:
        open_ones = [Exchange(modern, ALICE, f"client {number}") for number in range(2)]
        assert [await one.begun() for one in open_ones] == [200, 200]
        one_more = Exchange(modern, ALICE, "client 3")
        assert await one_more.begun() == 503
        same_again = Exchange(modern, ALICE, "client 1")
        another = Exchange(modern, BOB, "client 3")
        assert (await same_again.begun(), await another.begun()) == (200, 200)
        assert len(modern.sessions()) == 3
        await open_ones[0].end()
        room_again = Exchange(modern, ALICE, "client 4")
        assert await room_again.begun() == 200
        assert len(modern.sessions()) == 3
        for one in (open_ones[1], one_more, same_again, another, room_again):
            await one.end()


async def test_a_client_that_says_too_much_of_itself_is_refused(tmp_path: Path) -> None:
    async with houses(tmp_path) as modern:
        talker = Exchange(modern, ALICE, "x" * MAX_KIND)
        assert await talker.begun() == 503
        assert modern.sessions() == []
        await talker.end()


# -- connections ---------------------------------------------------------------------------------------


async def closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(60):
        try:
            return await reader.read(1) == b""
        except ConnectionResetError:
            return True


HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def test_who_opens_connections_and_says_nothing_does_not_hold_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, release = asyncio.Event(), asyncio.Event()

    async def app(scope: Json, receive: Any, send: Any) -> None:
        if scope["path"] == "/held":
            held.set()
            await release.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with listening(app) as port:
        waiting, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD.replace(b"/ ", b"/held ") + b"\r\n")
        async with asyncio.timeout(60):
            await held.wait()
        monkeypatch.setattr("airlock.listener.bounded.HEAD_SECONDS", 0.3)
        for first in (b"", b"G", HEAD):
            reader, other = await asyncio.open_connection("127.0.0.1", port)
            other.write(first)
            assert await closed(reader), first
            other.close()
        await answered_then_late(port, monkeypatch)
        release.set()  # an answer may take as long as it takes
        async with asyncio.timeout(60):
            assert (await waiting.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()


async def answered_then_late(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole request first: it is answered; the next one on its connection is late."""
    monkeypatch.setattr("airlock.listener.bounded.HEAD_SECONDS", 60)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"\r\n")
    async with asyncio.timeout(60):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
    monkeypatch.setattr("airlock.listener.bounded.HEAD_SECONDS", 0.3)
    writer.write(HEAD)
    assert await closed(reader)
    writer.close()


INNER = b"POST /inner HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("cut", [None, -1, -len(INNER)], ids=str)
@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1\r\nConnection: Upgrade",
        b"HTTP/1.1\r\nConnection: close, upgrade",
        b"HTTP/1.0\r\nConnection: upgrade",
    ],
)
@pytest.mark.parametrize("wish", [b"h2c", b"websocket"])
@pytest.mark.parametrize(
    "framed", [b"Content-Length: %d\r\n\r\n%b", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b"]
)
async def test_a_body_is_no_request_where_another_protocol_is_wished_for(
    framed: bytes, wish: bytes, cut: int | None, start: bytes
) -> None:
    taken: list[tuple[str, bytes]] = []

    async def app(scope: Json, receive: Any, send: Any) -> None:
        body = await read_body(scope, receive, 1_000)
        taken.append((scope["path"], body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    head = b"POST /outer " + start + b"\r\nHost: localhost\r\nUpgrade: " + wish + b"\r\n"
    sent = head + framed % (len(INNER), INNER) + (b"\r\n0\r\n\r\n" if b"%x" in framed else b"")
    async with listening(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (sent[:cut], sent[cut:] if cut is not None else b""):
            writer.write(piece)
            await asyncio.sleep(0.01)  # so that it comes in pieces
        async with asyncio.timeout(60):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        assert await closed(reader)
        writer.close()
    assert taken == [("/outer", INNER)]


async def test_nothing_is_passed_on_for_a_client() -> None:
    async def app(scope: Json, receive: Any, send: Any) -> None:
        raise AssertionError(scope)

    async with listening(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + INNER)
        async with asyncio.timeout(60):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400")
            await reader.read()
        writer.close()


def test_the_gateway_takes_the_descriptors_that_it_may() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))\n"
        "from airlock.listener.sockets import take_descriptors; take_descriptors()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == "(512, 512)"


async def test_a_message_that_trickles_is_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airlock.proxy.front.asgi.BODY_SECONDS", 0.05)
    pieces = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Json:
        for piece in pieces:
            return piece
        await asyncio.Event().wait()
        return {}

    sent: list[Json] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"method": "POST", "path": "/mcp", "headers": headers, "airlock.principal": ALICE}
    async with facing(tmp_path, policy({"odd": odd(enabled=False)})) as caller:
        async with asyncio.timeout(60):
            await McpApp(caller.gate, make=make_upstream)(scope, receive, send)
    assert sent[0]["status"] == 408
