"""Calls that arrive in one chunk: in order, recorded before they run, each answered for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.sessions import Caller, Json, call_params, facing, odd, policy

pytestmark = pytest.mark.anyio

AGENT = {"allow": ["odd/echo", "odd/seen"], "ask": ["odd/progress"], "deny": ["odd/die"]}


def frame(number: int, tool: str, **arguments: Any) -> Json:
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call_params(tool, arguments)}


def cancelled(number: int, reason: str = "no longer needed") -> Json:
    params = {"requestId": number, "reason": reason}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}


@asynccontextmanager
async def ready(folder: Path) -> AsyncIterator[Caller]:
    """A client whose server has answered once."""
    async with facing(folder, policy({"odd": odd()}, AGENT)) as client:
        await client.initialize()
        await client.call("odd__echo", {"n": "first"})
        yield client


async def echoed(client: Caller) -> list[Any]:
    """What the server was asked to echo, in the order in which it came."""
    seen = await client.call("odd__seen", {"method": "tools/call"})
    frames = [one["params"] for one in seen["structuredContent"]["frames"]]
    return [one["arguments"].get("n") for one in frames if one["name"] == "echo"][1:]


async def test_calls_of_one_chunk_reach_the_upstream_in_their_order(tmp_path: Path) -> None:
    async with ready(tmp_path) as client:
        client.session.receive_all([frame(900 + n, "odd__echo", n=n) for n in range(40)])
        for n in range(40):
            assert "result" in await client.answer(900 + n)
        assert await echoed(client) == list(range(40))
        allowed = [one for one in await client.entries() if one.kind == "call.allowed"]
        assert len(allowed) == 42


async def test_each_of_a_chunk_is_answered_for_itself(tmp_path: Path) -> None:
    async with ready(tmp_path) as client:
        client.session.receive_all(
            [
                frame(901, "odd__echo", n=1),
                frame(902, "odd__die"),
                frame(903, "odd__progress", steps=0),
                {"jsonrpc": "2.0", "id": 904, "method": "ping"},
                frame(905, "odd__nothing"),
                frame(906, "odd__echo", n=2),
            ]
        )
        assert "result" in await client.answer(901)
        assert (await client.answer(902))["error"]["message"] == "Unknown tool: odd__die"
        assert (await client.answer(904))["result"] == {}
        assert "error" in await client.answer(905)
        assert "result" in await client.answer(906)
        (request,) = await client.pending()
        assert request.tool == "odd/progress"
        assert await echoed(client) == [1, 2]


async def test_a_call_that_its_own_chunk_cancels_never_runs(tmp_path: Path) -> None:
    async with ready(tmp_path) as client:
        client.session.receive_all(
            [
                frame(901, "odd__echo", n=1),
                frame(902, "odd__progress", steps=0),
                frame(903, "odd__echo", n=2),
                cancelled(901),
                cancelled(902),
            ]
        )
        assert "result" in await client.answer(903)
        assert await echoed(client) == [2]
        assert not client.answers(901)
        async with asyncio.timeout(60):
            while await client.gate.pending():
                await asyncio.sleep(0.005)  # polls a real database
        ended = await client.recorded(
            lambda events: [one for one in events if one.kind == "call.completed" and "cancelled" in one.body]
        )
        assert len(ended) == 1


async def test_an_id_used_twice_in_a_chunk_runs_once(tmp_path: Path) -> None:
    async with ready(tmp_path) as client:
        client.session.receive_all([frame(901, "odd__echo", n=1), frame(901, "odd__echo", n=2)])
        await client.until(lambda: len(client.answers(901)) == 2)
        assert sorted("error" in one for one in client.answers(901)) == [False, True]
        assert await echoed(client) == [1]


async def test_a_defect_in_one_message_leaves_the_calls_of_its_chunk_unharmed(tmp_path: Path) -> None:
    async with ready(tmp_path) as client:

        def frames() -> Any:
            yield frame(901, "odd__echo", n=1)
            raise RuntimeError("a defect")

        with pytest.raises(RuntimeError):
            client.session.receive_all(frames())
        assert "result" in await client.answer(901)


async def test_a_defect_while_one_is_answered_leaves_the_calls_judged_with_it_unharmed(
    tmp_path: Path,
) -> None:
    async with ready(tmp_path) as client:

        def broken(_: Json) -> None:
            raise RuntimeError("a defect")

        def receive(one: Json) -> None:
            client.session.receive(one, broken if one["id"] == 901 else client.heard)

        with pytest.raises(RuntimeError):
            client.session._calls.together(receive, [frame(901, "odd__die"), frame(902, "odd__echo", n=1)])
        assert "result" in await client.answer(902)


async def test_a_session_that_closes_has_every_outcome_on_record(tmp_path: Path) -> None:
    async with ready(tmp_path) as client:
        client.session.receive_all([frame(900 + n, "odd__echo", n=n) for n in range(5)])
        for n in range(5):
            await client.answer(900 + n)
        await client.session.close()
        kinds = [one.kind for one in await client.entries()]
        assert kinds.count("call.completed") == kinds.count("call.allowed") == 6
