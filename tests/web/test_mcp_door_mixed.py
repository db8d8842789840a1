"""Whoever speaks on a connection, and however it comes: each request is its own sender's."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airlock.apikeys import Scope
from airlock.gate import Gate
from airlock.ids import make_id
from airlock.keyring import Keyring, Made, Wish
from airlock.listener.connection import Connection
from airlock.listener.known import KnownHeads
from airlock.ports_http import Post
from airlock.web.app import build_app
from tests.support.gates import Timekeeper, open_gate
from tests.support.gateways import SECRET
from tests.support.listeners import answers, connected, turns

TOKEN = "the-token-of-guarded"
POLICY = f"""
server: {{api_secret: {SECRET}}}
agents:
  guarded: {{token: {TOKEN}}}
  one: {{}}
  two: {{}}
"""
AGENTS = {"/mcp": "", **{f"/agents/{name}/mcp": name for name in ("one", "two", "guarded")}}
HOUR = 3_600_000


class Mcp:
    """An app in MCP's place, which says who speaks and what is said."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        said = self._said(scope, body)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(said))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": said})

    def take(self, post: Post) -> bool:
        post.answer(200, self._said(post.scope, post.body))
        return True

    def _said(self, scope: Any, body: bytes) -> bytes:
        who = scope["airlock.principal"]
        return json.dumps([who.name, who.identity, body.decode("latin-1")]).encode()


class Plainly:
    """The same gateway for a listener that knows no whole POSTs."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


async def settled(connection: Connection) -> None:
    """Wait until all is answered, but for what waits for its body."""

    def waits() -> bool:
        cycle = connection._answering
        return bool(cycle and cycle.more_body and cycle.message_event._waiters)

    await turns()
    async with asyncio.timeout(60):
        while not connection.transport.is_closing() and (
            connection._body_due is not None or (connection._busy and not waits())
        ):
            await asyncio.sleep(0.001)


class Place:
    """One database behind a gateway that takes whole POSTs, and one that does not, on one loop."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.clock = Timekeeper()
        self.heads = KnownHeads()
        self._database = folder / "airlock.db"
        self._opened = open_gate(folder, POLICY, clock=self.clock)
        gate: Gate = self.run(self._opened.__aenter__())
        self._ring = Keyring(gate.store, clock=self.clock, make_id=make_id)  # type: ignore[arg-type]
        self.quick, slow = (
            self.run(self._built(gate)),
            self.run(self._built(gate)),
        )
        self.slow = Plainly(slow)

    async def _built(self, gate: Gate) -> Any:
        return build_app(gate, keys=gate.store, mcp_app=Mcp(), clock=self.clock)  # type: ignore[arg-type]

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def key(self, agent: str = "") -> Made:
        wish = Wish("k", frozenset({Scope.MCP}), agent)
        made: Made = self.run(self._ring.create(wish, by="secret", within=frozenset(Scope)))
        return made

    def revoke(self, key: Made) -> None:
        """As another process does."""
        with closing(sqlite3.connect(self._database, isolation_level=None)) as other:
            other.execute("UPDATE api_key SET revoked_at = 1 WHERE id = ?", (key.key.id,))

    async def served(self, app: Any, pieces: list[bytes]) -> tuple[bytes, bool]:
        """What comes back on one connection, and whether it was closed."""
        connection, line = connected(app, self.heads if app is self.quick else None)
        for piece in pieces:
            if line.closed:
                break
            connection.data_received(piece)
            await settled(connection)
        found = line.out, line.closed
        connection._refused.close()
        connection.connection_lost(None)
        await turns()
        return found

    def close(self) -> None:
        self.run(self._opened.__aexit__(None, None, None))
        self.runner.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(tmp_path_factory.mktemp("mixed"))
    yield found
    found.close()


def whole(path: str, bearer: str, body: bytes = b"{}") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost"]
    lines += [f"Authorization: Bearer {bearer}"] if bearer else []
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces, cut at these places."""
    at = sorted({0, len(data), *(one % (len(data) + 1) for one in places)})
    return [data[start:end] for start, end in pairwise(at)]


WHO = ("bound", "loose", "ended", "token", "secret", "wrong", "nobody")
ASKED = st.tuples(
    st.sampled_from(WHO), st.sampled_from(tuple(AGENTS)), st.sampled_from([b"{}", b"", b"x" * 50])
)
COMING = st.lists(
    st.tuples(st.lists(ASKED, min_size=1, max_size=4), st.lists(st.integers(0, 5_000), max_size=3)),
    min_size=1,
    max_size=8,
)
SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def expected(who: str, named: str, body: bytes, keys: dict[str, Made], ended: bool) -> Any:
    """What decisions.md says of this request."""
    text = body.decode()
    if who in {"wrong", "nobody"} or (who == "ended" and ended):
        return 401
    if who == "token":
        return ["guarded", "agent:guarded", text] if named in {"", "guarded"} else 403
    own = "" if who in {"secret", "loose"} else keys[who].key.agent
    if own and named not in {"", own}:
        return 403
    if not own and not named:
        return 400
    if named == "guarded":
        return 403
    agent = named or own
    return [agent, f"agent:{agent}" if who == "secret" else f"key:{keys[who].key.id}", text]


@SETTINGS
@given(coming=COMING, revoked_at=st.integers(0, 4))
def test_each_request_of_a_connection_is_its_own_senders(
    place: Place, coming: list[tuple[list[tuple[str, str, bytes]], list[int]]], revoked_at: int
) -> None:
    place.clock.forward(HOUR)  # no guess of the last example counts
    keys = {"bound": place.key("one"), "loose": place.key(), "ended": place.key("two")}
    words = {"token": TOKEN, "secret": SECRET, "wrong": "guessed", "nobody": ""}
    words |= {name: key.text for name, key in keys.items()}

    async def spoken() -> None:
        connection, line = connected(place.quick, place.heads)
        for name in ("ended", "bound", "token") * 3:  # they are known
            connection.data_received(whole("/mcp", words[name]))
            await settled(connection)
        for number, (group, places) in enumerate(coming):
            if number == revoked_at:
                place.revoke(keys["ended"])
            before = len(line.out)
            for piece in cut(b"".join(whole(path, words[who], body) for who, path, body in group), places):
                connection.data_received(piece)
                await settled(connection)
            wanted = [
                expected(who, AGENTS[path], body, keys, number >= revoked_at) for who, path, body in group
            ]
            assert answers(line.out[before:]) == wanted
        connection.connection_lost(None)

    place.run(spoken())


EDIT = st.tuples(
    st.integers(0, 5_000),
    st.integers(0, 3),
    st.sampled_from(
        [b"", b"\r\n", b"\n", b"\x00", b" ", b"a", b"\xff", b"Content-Length: 3\r\n", b"Host: x\r\n"]
    )
    | st.sampled_from(
        [
            b"Authorization: Bearer x\r\n",
            b"\r\n\r\n",
            b"POST /mcp HTTP/1.1\r\n",
            b"Transfer-Encoding: chunked\r\n",
        ]
    ),
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """With some bytes taken out at some places, and others put in."""
    for place, many, more in edits:
        at = place % (len(data) + 1)
        data = data[:at] + more + data[at + many :]
    return data


def agree(found: list[Any], by_asgi: list[Any], closed: bool) -> None:
    """The same answers. But of what is broken behind a request that came with it, or with its body, one way
    may tell before the other has let a task answer that request."""
    if closed:
        found, by_asgi = (one[:-1] if one[-1:] == [400] else one for one in (found, by_asgi))
        found, by_asgi = (one[: min(len(found), len(by_asgi))] for one in (found, by_asgi))
    assert found == by_asgi


@SETTINGS
@given(
    coming=st.lists(
        st.tuples(st.lists(ASKED, min_size=1, max_size=3), st.lists(EDIT, max_size=2)), max_size=5
    ),
    places=st.lists(st.integers(0, 5_000), max_size=3),
)
def test_broken_bytes_between_them_make_nobody_else_of_a_sender(
    place: Place, coming: Any, places: list[int]
) -> None:
    place.clock.forward(HOUR)
    keys = {"bound": place.key("one"), "loose": place.key(), "ended": place.key("two")}
    place.revoke(keys["ended"])
    words = {"token": TOKEN, "secret": SECRET, "wrong": "guessed", "nobody": ""}
    words |= {name: key.text for name, key in keys.items()}
    sent: list[bytes] = [whole(path, words["bound"]) for path in ("/mcp", "/mcp", "/mcp")]  # a head is known
    for group, edits in coming:
        data = b"".join(whole(path, words[who], body) for who, path, body in group)
        sent += cut(edited(data, edits), places)
    out, closed = place.run(place.served(place.slow, sent))
    by_asgi = answers(out)
    for _ in range(2):
        found = place.run(place.served(place.quick, sent))
        assert found[1] == closed
        agree(answers(found[0]), by_asgi, closed)
