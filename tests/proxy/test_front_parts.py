"""The parts of MCP over HTTP by themselves: limits of sessions, streams, headers that mirror arguments."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.listener.sockets import bound
from airlock.model import Principal
from airlock.proxy import mirrors
from airlock.proxy.front import asgi as front_io
from airlock.proxy.front import channels as front_channels
from airlock.proxy.front.asgi import Outbox
from airlock.proxy.front.channels import Channels
from airlock.proxy.front.legacy import IDLE_SECONDS, Legacy
from airlock.proxy.router import Router
from airlock.proxy.session import taskbook
from airlock.proxy.session.client import Seat
from airlock.proxy.session.session import Session
from airlock.proxy.session.taskbook import TaskBook
from airlock.proxy.upstream.factory import make_upstream
from support.sessions import Json, facing, odd, policy

pytestmark = pytest.mark.anyio

ALICE = Principal(name="alice", identity="agent:alice")
BOB = Principal(name="bob", identity="agent:bob")


# -- sessions --------------------------------------------------------------------------------------


@asynccontextmanager
async def sessions(folder: Path, **limits: int) -> AsyncIterator[Legacy]:
    async with facing(folder, policy({"odd": odd(enabled=False)})) as caller:

        def make(principal: Principal, session_id: str, router: Router, send: Any) -> Session:
            seat = Seat(principal=principal, workspace="w", session=session_id)
            return Session(send=send, gate=caller.gate, router=router, seat=seat)

        legacy = Legacy(lambda: Router(caller.config, make_upstream), make, **limits)
        try:
            yield legacy
        finally:
            await legacy.close()


async def test_idle_sessions_end(tmp_path: Path) -> None:
    async with sessions(tmp_path) as legacy:
        idle, fresh, busy = (legacy.begin(ALICE) for _ in range(3))
        assert idle
        assert fresh
        assert busy
        now = fresh.touched
        idle.touched = busy.touched = now - IDLE_SECONDS - 1
        stream = asyncio.create_task(busy.listen(never, forget, "2025-11-25", None))
        while not busy.busy:
            await asyncio.sleep(0)
        await legacy.sweep(now)
        found = [one is not None for one in (legacy.find(s.id, ALICE) for s in (idle, fresh, busy))]
        assert found == [False, True, True]
        stream.cancel()
        await asyncio.wait({stream})


async def test_who_opens_too_many_sessions_ends_only_their_own_idle_ones(tmp_path: Path) -> None:
    async with sessions(tmp_path, most=5, own=3) as legacy:
        bobs = [legacy.begin(BOB) for _ in range(2)]
        own = [legacy.begin(ALICE) for _ in range(3)]
        one_more = legacy.begin(ALICE)
        assert one_more is not None
        assert own[0] is not None
        assert legacy.find(own[0].id, ALICE) is None
        assert all(one and legacy.find(one.id, BOB) for one in bobs)
        assert legacy.begin(Principal(name="carol", identity="agent:carol")) is None


async def test_a_session_in_use_makes_no_room(tmp_path: Path) -> None:
    async with sessions(tmp_path, own=1) as legacy:
        first = legacy.begin(ALICE)
        assert first
        stream = asyncio.create_task(first.listen(never, forget, None, None))
        while not first.busy:
            await asyncio.sleep(0)
        assert legacy.begin(ALICE) is None
        stream.cancel()
        await asyncio.wait({stream})
        assert legacy.begin(ALICE) is not None


async def never() -> Json:
    await asyncio.Event().wait()
    return {}


async def forget(_: Any) -> None:
    return


# -- outboxes and what is kept of streams ----------------------------------------------------------


async def test_an_outbox_says_when_it_fills_and_ends_when_nobody_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[bool] = []
    monkeypatch.setattr(front_io, "MAX_QUEUED_BYTES", 10 * front_io.PRESSED_BYTES)
    outbox = Outbox(said.append)
    for _ in range(3):
        outbox.put(b"x" * (front_io.PRESSED_BYTES // 2))
    assert said == [True]
    while outbox._queue:
        assert await outbox.next()
    assert said == [True, False]
    for _ in range(30):
        outbox.put(b"x" * front_io.PRESSED_BYTES)
    assert outbox.ended
    assert outbox._size <= front_io.MAX_QUEUED_BYTES
    outbox.close()
    assert said == [True, False, True, False]
    assert await outbox.next() is None


async def test_a_message_that_cannot_be_written_is_an_error_where_somebody_waits() -> None:
    bad = {"jsonrpc": "2.0", "id": 7, "result": {"text": "\ud800"}}
    found = json.loads(front_io.written(bad))
    assert (found["id"], found["error"]["code"]) == (7, -32603)
    assert front_io.written({"jsonrpc": "2.0", "method": "x", "params": {"text": "\ud800"}}) == b""


def filled(count: int, size: int) -> tuple[Channels, list[str]]:
    channels = Channels()
    channel = channels.open({"id": 1}, resumable=True)
    for number in range(count):
        channel.put({"jsonrpc": "2.0", "method": "x", "params": {"n": number, "fill": "x" * size}})
    return channels, [f"1-{place}" for place in range(count + 1)]


@pytest.mark.parametrize(("count", "size"), [(2_000, 1), (40, 200_000), (3, 3_000_000)])
async def test_what_is_kept_of_streams_has_an_end(count: int, size: int) -> None:
    channels, ids = filled(count, size)
    assert len(channels._kept) <= front_channels.MAX_EVENTS
    assert channels._bytes <= max(front_channels.MAX_BYTES, size + 200)
    assert channels.since(ids[0]) is None
    found = channels.since(ids[-2])
    assert found is not None
    assert len(found[1]) == 1


async def test_streams_that_are_over_make_room_for_others() -> None:
    channels = Channels()
    first = channels.open({"id": 0}, resumable=True)
    for number in range(3 * front_channels.MAX_CHANNELS):
        channels.open({"id": number}, resumable=True).give({"jsonrpc": "2.0", "id": number, "result": {}})
    assert len(channels._open) <= front_channels.MAX_CHANNELS + 1
    assert channels.since("1-0") == (first, [])
    assert channels.since("2-0") is None


@given(st.text(max_size=80))
def test_no_event_id_does_harm(last: str) -> None:
    channels, _ = filled(3, 1)
    found = channels.since(last)
    assert found is None or last.replace("-", "").isdigit()


# -- headers that mirror arguments -----------------------------------------------------------------

REGION = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
DEEP = {
    "properties": {
        "n": {"type": "integer", "x-mcp-header": "N"},
        "inner": {"properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
    }
}


@pytest.mark.parametrize(
    ("schema", "arguments", "headers", "wrong"),
    [
        (REGION, {"region": "eu"}, [("mcp-param-region", "eu")], ""),
        (REGION, {"region": "eu"}, [("mcp-param-region", " eu\t")], ""),
        (REGION, {"region": "eu"}, [("mcp-param-region", "=?base64?ZXU=?=")], ""),
        (REGION, {"region": "eu"}, [("mcp-param-region", "=?base64?ZXV=?=")], "Mcp-Param-Region"),
        (REGION, {"region": "eu"}, [("mcp-param-region", "us")], "Mcp-Param-Region"),
        (REGION, {"region": "eu"}, [], "Mcp-Param-Region"),
        (REGION, {}, [("mcp-param-region", "eu")], "Mcp-Param-Region"),
        (REGION, {}, [], ""),
        (REGION, {"region": None}, [], ""),
        (REGION, None, [], ""),
        (REGION, {"region": "eu"}, [("mcp-param-region", "eu")] * 2, "Mcp-Param-Region"),
        (REGION, {"region": ["eu"]}, [], ""),
        (REGION, {"region": ["eu"]}, [("mcp-param-region", "eu")], "Mcp-Param-Region"),
        (REGION, {"region": "eu"}, [("mcp-param-region", "eu"), ("mcp-param-other", "x")], ""),
        (DEEP, {"n": 7, "inner": {"flag": True}}, [("mcp-param-n", "7"), ("mcp-param-flag", "true")], ""),
        (DEEP, {"n": 7.0}, [("mcp-param-n", "7.0")], ""),
        (DEEP, {"n": 7.0}, [("mcp-param-n", "7")], ""),
        (DEEP, {"n": 7.5}, [("mcp-param-n", "7")], "Mcp-Param-N"),
        (DEEP, {"n": True}, [("mcp-param-n", "1")], "Mcp-Param-N"),
        (DEEP, {"inner": {"flag": True}}, [("mcp-param-flag", "1")], "Mcp-Param-Flag"),
        (DEEP, {"inner": "x"}, [], ""),
        (None, {"region": "eu"}, [], ""),
        ({"properties": {"a": {"type": "object", "x-mcp-header": "A"}}}, {"a": "x"}, [], ""),
        ({"properties": {"a": {"type": "string", "x-mcp-header": "A b"}}}, {"a": "x"}, [], ""),
        ({"properties": {"a": {"type": "string", "x-mcp-header": 7}}}, {"a": "x"}, [], ""),
    ],
)
def test_a_header_says_what_its_argument_says(
    schema: Any, arguments: Any, headers: list[tuple[str, str]], wrong: str
) -> None:
    sent = [(name.encode(), value.encode()) for name, value in headers]
    assert mirrors.problem(schema, arguments, sent) == wrong


def test_a_schema_without_end_ends_the_search() -> None:
    schema: Json = {"type": "string", "x-mcp-header": "Deep"}
    for _ in range(100_000):
        schema = {"properties": {"a": schema}}
    assert mirrors.problem(schema, {}, []) == ""


# -- tasks that are kept ---------------------------------------------------------------------------


async def test_the_ends_of_tasks_weigh_only_so_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taskbook, "MAX_BYTES", 1_000_000)
    async with facing(tmp_path, policy({"odd": odd(enabled=False)})) as caller:
        book = TaskBook(caller.gate)
        made = [book.begin(caller.session._tasks, ALICE) for _ in range(30)]
        for task in made:
            assert task
            task.enter("completed", result={"text": "x" * 100_000})
        kept = [task for task in made if task and book.find(task.id, ALICE)]
        assert 5 < len(kept) < 12
        assert made[0]
        assert book.gone(made[0].id, ALICE)
        assert not book.gone(made[0].id, BOB)
        assert made[-1]
        assert book.find(made[-1].id, ALICE)


# -- the listener ----------------------------------------------------------------------------------


async def test_answers_in_parts_do_not_wait_for_each_other() -> None:
    listening = bound("127.0.0.1", 0)
    arrived: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        arrived.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(accepted, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        async with asyncio.timeout(60):
            assert await arrived == 1
        writer.close()
        await writer.wait_closed()
