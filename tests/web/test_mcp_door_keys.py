"""A key's calls are let through as quickly as a token's, and not one of them more than before."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.gate import Gate
from airlock.ids import make_id, now_ms
from airlock.keyring import Keyring, Made, Wish
from airlock.listener.known import KnownHeads
from airlock.ports_http import Post
from airlock.web.app import build_app
from airlock.web.auth import GUESSES_PER_MINUTE
from tests.support.gates import open_gate
from tests.support.gateways import SECRET
from tests.support.listeners import answers, connected

pytestmark = pytest.mark.anyio

TOKEN = "the-token-of-guarded"
POLICY = f"""
server: {{api_secret: {SECRET}}}
agents:
  guarded: {{token: {TOKEN}}}
  one: {{}}
  two: {{}}
"""
Json = dict[str, Any]


class Mcp:
    """An app in MCP's place: says who speaks, and by which way they came."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = self._said(scope, "asgi")
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    def take(self, post: Post) -> bool:
        post.answer(200, self._said(post.scope, "whole"))
        return True

    def _said(self, scope: Any, way: str) -> bytes:
        who = scope["airlock.principal"]
        return json.dumps({"way": way, "who": f"{who.name} {who.identity}"}).encode()


class Desk:
    """A gateway's app behind connections without sockets, and its keys."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        self._app = build_app(gate, keys=gate.store, mcp_app=Mcp())  # type: ignore[arg-type]
        self._heads = KnownHeads()
        self.ring = Keyring(gate.store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
        self._database = folder / "airlock.db"

    async def key(self, *scopes: Scope, **more: Any) -> Made:
        wish = Wish("k", frozenset(scopes or {Scope.MCP}), more.pop("agent", "one"), **more)
        return await self.ring.create(wish, by="secret", within=frozenset(Scope))

    def elsewhere(self, statement: str, *values: Any) -> None:
        """What another process commits."""
        with closing(sqlite3.connect(self._database, isolation_level=None)) as connection:
            assert connection.execute(statement, values).rowcount == 1

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Callable[..., Any]]:
        """One connection: sends calls with these credentials at once, and tells what came back for each."""
        connection, line = connected(self._app, self._heads)

        async def send(*bearers: str, path: str = "/mcp", raw: str = "") -> list[Json | int]:
            before = len(line.out)
            connection.data_received(b"".join(whole(one, path) for one in bearers) + raw.encode())
            async with asyncio.timeout(60):
                while connection._busy:
                    await asyncio.sleep(0)
            return answers(line.out[before:])

        try:
            yield send
        finally:
            connection.connection_lost(None)
            await self._app.state.drain(0)


def whole(bearer: str, path: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {bearer}"]
    return "\r\n".join([*lines, "Content-Length: 2", "", "{}"]).encode()


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    async with open_gate(folder, POLICY) as gate:
        yield Desk(gate, folder)


def one(key: Made, way: str, agent: str = "one") -> Json:
    return {"way": way, "who": f"{agent} key:{key.key.id}"}


def who(found: list[Json | int]) -> list[object]:
    """Who each answer says has spoken; its status when that is no 200."""
    return [said.get("who") if isinstance(said, dict) else said for said in found]


async def test_a_keys_second_call_needs_no_task(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, at.line() as send:
        key = await at.key()
        assert await send(key.text) == [one(key, "asgi")]
        for _ in range(3):
            assert await send(key.text) == [one(key, "whole")]


async def test_a_key_that_was_revoked_is_refused_at_the_next_call(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, at.line() as send:
        key = await at.key()
        for _ in range(3):
            assert len(await send(key.text)) == 1
        await at.ring.revoke(key.key.id, by="secret")
        assert await send(key.text) == [401]
        assert await send(key.text) == [401]


@pytest.mark.parametrize(
    ("change", "value", "then"),
    [
        ("revoked_at", 1, 401),
        ("expires_at", 1, 401),
        ("digest", "0" * 64, 401),
        ("scopes", '["read"]', 403),
        ("rate", 2, 429),
    ],
)
async def test_what_another_process_makes_of_a_key_holds_at_the_next_call(
    tmp_path: Path, change: str, value: object, then: int
) -> None:
    async with desk(tmp_path) as at, at.line() as send:
        key = await at.key()
        for _ in range(3):
            assert len(await send(key.text)) == 1
        at.elsewhere(f"UPDATE api_key SET {change} = ? WHERE id = ?", value, key.key.id)
        assert await send(key.text) == [then]
        assert await send(key.text) == [then]


async def test_a_key_that_another_process_binds_to_another_agent_speaks_for_that_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, at.line() as send:
        key = await at.key()
        for _ in range(3):
            assert len(await send(key.text)) == 1
        at.elsewhere("UPDATE api_key SET agent = 'two' WHERE id = ?", key.key.id)
        assert await send(key.text) == [one(key, "asgi", "two")]
        assert await send(key.text) == [one(key, "whole", "two")]
        assert await send(key.text, path="/agents/one/mcp") == [403]


async def test_the_rate_of_a_key_holds_over_both_ways_and_all_its_connections(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, at.line() as first, at.line() as second:
        key = await at.key(rate=5)
        found = [(await send(key.text))[0] for _ in range(4) for send in (first, second)]
        assert [one for one in found if isinstance(one, int)] == [429, 429, 429]
        other = await at.key()
        assert await first(other.text) == [one(other, "asgi")]


async def test_a_key_works_for_who_has_guessed_too_often_and_a_wrong_one_is_a_guess(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, at.line() as send:
        key, ended = await at.key(), await at.key()
        for one_key in (key, ended, key, ended):
            assert isinstance((await send(one_key.text))[0], dict)
        await at.ring.revoke(ended.key.id, by="secret")
        assert [(await send(ended.text))[0] for _ in range(GUESSES_PER_MINUTE)] == [401] * GUESSES_PER_MINUTE
        assert await send(ended.text) == [429]
        assert await send(TOKEN) == [429]
        for _ in range(2):
            assert await send(key.text) == [one(key, "asgi")]


@pytest.mark.parametrize("calls", [1, 3])
async def test_a_key_that_is_revoked_between_requests_that_came_together_is_refused_from_there_on(
    tmp_path: Path, calls: int
) -> None:
    async with desk(tmp_path) as at, at.line() as send:
        key, other = await at.key(), await at.key()
        for _ in range(3):
            assert len(await send(key.text, other.text)) == 2
        revoking = whole(SECRET, f"/keys/{key.key.id}").replace(b"POST", b"DELETE").decode()
        calling = [whole(one.text, "/mcp").decode() for one in (key, other) for _ in range(calls)]
        found = who(await send(raw="".join([*calling, revoking, *calling])))
        mine, others = [f"one key:{key.key.id}"] * calls, [f"one key:{other.key.id}"] * calls
        assert found[: 2 * calls] == mine + others
        assert found[2 * calls + 1 :] == [401] * calls + others


async def test_keys_and_a_token_on_one_connection_each_speak_for_themselves(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, at.line() as send:
        first, second = await at.key(), await at.key(agent="two")
        for way in ("asgi", "whole", "whole"):
            assert await send(first.text) == [one(first, way)]
            assert await send(second.text) == [one(second, way, "two")]
            assert await send(TOKEN) == [{"way": way, "who": "guarded agent:guarded"}]
            assert await send("guessed") == [401]
        mine = f"one key:{first.key.id}"
        together = who(await send(first.text, second.text, TOKEN, "guessed", first.text))
        assert together == [mine, f"two key:{second.key.id}", "guarded agent:guarded", 401, mine]


async def test_a_database_that_cannot_be_asked_lets_no_key_through(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        at = Desk(gate, tmp_path)
        async with at.line() as send:
            key = await at.key()
            for _ in range(3):
                assert len(await send(key.text)) == 1
            await gate.store.close()  # type: ignore[attr-defined]
            assert await send(key.text) == [503]
