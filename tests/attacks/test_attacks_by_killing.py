"""A gateway under load over HTTP that is killed: what reached a server is on record, answers stay apart."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airlock.store.sqlite import SQLiteStore
from support.fronts import Modern, gateway, written
from support.sessions import Json

pytestmark = pytest.mark.anyio

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "die")]
GREETING = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {}}
AGENT = {"allow": ["far/echo"], "deny": ["far/die"]}
ENOUGH = 300


def answered(frame: Json) -> Json:
    method = frame["method"]
    if method == "initialize":
        return {"result": GREETING}
    if method == "tools/list":
        return {"result": {"tools": TOOLS}}
    if method == "tools/call":
        return {"result": {"content": [], "structuredContent": frame["params"]["arguments"]}}
    return {"error": {"code": -32601, "message": "no"}}


@asynccontextmanager
async def outliving(reached: list[tuple[str, str]]) -> AsyncIterator[str]:
    """A server in the test's own process, which notes the calls that reach it; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                length = [line for line in head.split(b"\r\n") if line.startswith(b"content-length")]
                frame = json.loads(
                    await reader.readexactly(int(length[0].split(b":")[1])) if length else b"{}"
                )
                status, body = "202 Accepted" if head.startswith(b"post") else "405 Method Not Allowed", b""
                if "id" in frame:
                    if frame["method"] == "tools/call":
                        reached.append((frame["params"]["name"], frame["params"]["arguments"]["n"]))
                    said = {"jsonrpc": "2.0", "id": frame["id"], **answered(frame)}
                    status, body = "200 OK\r\ncontent-type: application/json", json.dumps(said).encode()
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()


async def calling(talk: Modern, name: str, turns: Iterator[int]) -> None:
    """Call until the gateway is gone; each answer is the one that was asked for."""
    while True:
        n = f"{name}-{next(turns)}"
        tool = "far__die" if n.endswith("7") else "far__echo"
        try:
            stream = await talk.open("tools/call", {"name": tool, "arguments": {"n": n}})
            found = (await stream.end())[-1]
        except (httpx2.HTTPError, IndexError):
            return
        assert ("error" in found) is (tool == "far__die"), found
        if "result" in found:
            assert found["result"]["structuredContent"] == {"n": n}


async def recorded(path: Path) -> set[str]:
    """The calls that the chain says were allowed; it must hold."""
    store = await SQLiteStore.open(path)
    try:
        assert (await store.verify()).sound
        found: set[str] = set()
        after = 0
        while events := await store.events(after=after):
            after = events[-1].seq
            found |= {json.loads(one.body)["args"]["n"] for one in events if one.kind == "call.allowed"}
        return found
    finally:
        await store.close()


async def test_what_a_killed_gateway_sent_over_http_is_on_record(tmp_path: Path) -> None:
    reached: list[tuple[str, str]] = []
    turns = itertools.count()
    agents = {name: {"token": f"{name}-{'x' * 32}", **AGENT} for name in ("alice", "bob")}
    async with outliving(reached) as url:
        config = written(tmp_path, agents=agents)
        whole: Any = json.loads(config.read_text())
        config.write_text(json.dumps({**whole, "providers": {"far": {"type": "http", "url": url}}}))
        for _ in range(2):
            count = len(reached)
            async with gateway(config) as front:
                talks = [Modern(front, f"/agents/{name}/mcp", f"{name}-{'x' * 32}") for name in agents]
                load = [
                    asyncio.create_task(calling(talk, talk.url.split("/")[-2], turns)) for talk in talks * 8
                ]
                async with asyncio.timeout(60):
                    while len(reached) < count + ENOUGH and not any(one.done() for one in load):
                        await asyncio.sleep(0.01)  # looks at what another process does
                    front.process.kill()
                    await asyncio.gather(*load)
                for talk in talks:
                    await talk.close()
    assert len(reached) >= 2 * ENOUGH
    assert {name for name, _ in reached} == {"echo"}
    assert {n for _, n in reached} <= await recorded(tmp_path / "a.db")
