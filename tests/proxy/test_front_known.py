"""A client that is known is let through quickly, and not a moment longer than it may be."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.fronts import LEGACY, SECRET, Front, gateway, written
from support.fronts import Legacy as Client

pytestmark = pytest.mark.anyio

ALICE = "alice-alone-knows-this-token"
Json = dict[str, Any]


class Wire:
    """One connection, on which whole requests are written at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, body: Any, headers: dict[str, str], path: str = "/mcp") -> tuple[int, Any]:
        """The status and the JSON of the answer; one that did not come soon comes as a stream."""
        data = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode()
        self.writer.write(head + data)
        async with asyncio.timeout(60):
            answer = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            if "text/event-stream" in answer:
                return int(answer.split()[1]), await self._streamed()
            length = next(
                int(line.split(":")[1])
                for line in answer.lower().split("\r\n")
                if line.startswith("content-length")
            )
            content = await self._reader.readexactly(length)
        return int(answer.split()[1]), json.loads(content) if content else None

    async def _streamed(self) -> Any:
        """The last message of a stream, read to its end."""
        content = b""
        while size := int(await self._reader.readline(), 16):
            content += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        events = [line for line in content.split(b"\n") if line.startswith(b"data: {")]
        return json.loads(events[-1].removeprefix(b"data: "))


@asynccontextmanager
async def wire(front: Front) -> AsyncIterator[Wire]:
    port = int(front.url.rpartition(":")[2])
    found = Wire(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield found
    finally:
        found.writer.close()


@asynccontextmanager
async def known(folder: Path, **server: Any) -> AsyncIterator[tuple[Front, Wire, dict[str, str]]]:
    """A gateway, a connection, and the headers of a client with a session that has called already."""
    agents = {"alice": {"token": ALICE, "allow": ["odd/**"]}}
    config = written(folder, agents=agents, server=server)
    async with gateway(config) as front, wire(front) as line:
        client = Client(front, "/mcp", ALICE)
        await client.initialize()
        await client.call("odd__echo")
        headers = {"Host": front.url.removeprefix("http://"), **client.headers}
        for number in range(3):
            assert (await line.send(call(number), headers))[0] == 200
        yield front, line, headers
        await client.close()


def call(number: int) -> Json:
    arguments = {"text": "x" * number}
    params = {"name": "odd__echo", "arguments": arguments}
    return {"jsonrpc": "2.0", "id": f"c{number}", "method": "tools/call", "params": params}


async def until_status(line: Wire, headers: dict[str, str], wanted: int) -> Any:
    """Call again and again until the answer is of this status."""
    async with asyncio.timeout(60):
        for number in range(10_000):
            status, content = await line.send(call(number % 50), headers)
            if status == wanted:
                return content
            assert status == 200
            await asyncio.sleep(0.02)  # polls another process
    raise AssertionError(wanted)


def changed(front: Front, **server: Any) -> None:
    whole = json.loads(front.config.read_text())
    whole["server"].update(server)
    front.config.write_text(json.dumps(whole))


async def test_a_call_comes_with_any_body_under_one_head(tmp_path: Path) -> None:
    async with known(tmp_path) as (front, line, headers):
        for number in range(30):
            status, answer = await line.send(call(number), headers)
            assert (status, answer["id"]) == (200, f"c{number}")
            assert "result" in answer
        events = [one for one in await front.events() if one["kind"] == "call.allowed"]
        sizes = [len(json.loads(one["body"])["args"].get("text", "")) for one in events]
        assert sizes[-30:] == list(range(30))


async def test_a_token_that_is_no_longer_in_the_config_is_refused(tmp_path: Path) -> None:
    async with known(tmp_path) as (front, line, headers):
        whole = json.loads(front.config.read_text())
        whole["agents"]["alice"]["token"] = "another-token-that-alice-has-now"
        front.config.write_text(json.dumps(whole))
        await until_status(line, headers, 401)
        assert (await line.send(call(1), headers))[0] == 401


async def test_a_host_that_is_no_longer_allowed_is_refused(tmp_path: Path) -> None:
    async with known(tmp_path, allowed_hosts=["gate.example"]) as (front, line, headers):
        named = headers | {"Host": "gate.example"}
        for number in range(3):
            assert (await line.send(call(number), named))[0] == 200
        changed(front, allowed_hosts=["other.example"])
        await until_status(line, named, 421)
        assert (await line.send(call(1), headers))[0] == 200


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Authorization": "Bearer guessed"}, 401),
        ({"Authorization": f"Bearer {SECRET}"}, 403),
        ({"Mcp-Session-Id": "0" * 32}, 404),
        ({"Content-Type": "text/plain"}, 415),
        ({"Accept": "text/html"}, 406),
        ({"MCP-Protocol-Version": "1999-01-01"}, 400),
    ],
)
async def test_what_a_head_says_otherwise_is_seen_beside_one_that_is_known(
    tmp_path: Path, more: dict[str, str], status: int
) -> None:
    async with known(tmp_path) as (_, line, headers):
        for _ in range(3):
            assert (await line.send(call(1), headers | more))[0] == status
            assert (await line.send(call(1), headers))[0] == 200


async def test_who_guesses_too_often_is_deaf_with_the_right_token_too(tmp_path: Path) -> None:
    async with known(tmp_path) as (front, line, headers):
        wrong = headers | {"Authorization": "Bearer guessed"}
        statuses = [(await line.send(call(1), wrong))[0] for _ in range(61)]
        assert (statuses[0], statuses[-1]) == (401, 429)
        assert (await line.send(call(1), headers))[0] == 429
        assert front.process.returncode is None


@pytest.mark.parametrize("version", [LEGACY, None])
async def test_a_body_that_is_no_message_is_refused_under_a_known_head(
    tmp_path: Path, version: str | None
) -> None:
    async with known(tmp_path) as (_, line, usual):
        headers = {name: value for name, value in usual.items() if name != "MCP-Protocol-Version" or version}
        for body in ([], [call(1)], {"jsonrpc": "2.0"}, "text", 7, {**call(1), "jsonrpc": "1.0"}):
            status, answer = await line.send(body, headers)
            assert (status, "error" in answer) == (400, True), body
            assert (await line.send(call(1), headers))[0] == 200


async def test_a_key_that_was_revoked_is_refused_at_the_next_call(tmp_path: Path) -> None:
    async with gateway(written(tmp_path)) as front, wire(front) as line:
        key = await front.rest("POST", "/keys", {"name": "short", "scopes": ["mcp"]})
        client = Client(front, "/mcp", key["key"])
        await client.initialize()
        await client.call("odd__echo")
        headers = {"Host": front.url.removeprefix("http://"), **client.headers}
        for number in range(5):
            assert (await line.send(call(number), headers))[0] == 200
        await front.rest("DELETE", f"/keys/{key['id']}")
        for number in range(2):
            assert (await line.send(call(number), headers))[0] == 401
        await client.close()


async def test_a_key_that_the_command_revoked_is_refused_at_the_next_call(tmp_path: Path) -> None:
    async with gateway(written(tmp_path)) as front, wire(front) as line:
        key = await front.rest("POST", "/keys", {"name": "short", "scopes": ["mcp"]})
        client = Client(front, "/mcp", key["key"])
        await client.initialize()
        await client.call("odd__echo")
        headers = {"Host": front.url.removeprefix("http://"), **client.headers}
        for number in range(5):
            assert (await line.send(call(number), headers))[0] == 200
        command = [
            sys.executable,
            "-m",
            "airlock",
            "--config",
            str(front.config),
            "keys",
            "revoke",
            key["id"],
        ]
        environment = {**os.environ, "AIRLOCK_STATE_DIR": str(tmp_path / "state")}
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        assert (await line.send(call(1), headers))[0] == 401
        await client.close()


async def test_one_clients_head_does_not_speak_for_a_session_of_another(tmp_path: Path) -> None:
    agents = {name: {"token": f"{name}-alone-knows-this-token", "allow": ["odd/**"]} for name in "ab"}
    async with gateway(written(tmp_path, agents=agents)) as front, wire(front) as line:
        clients = {name: Client(front, f"/agents/{name}/mcp", agents[name]["token"]) for name in agents}
        heads = {}
        for name, client in clients.items():
            await client.initialize()
            await client.call("odd__echo")
            heads[name] = {"Host": front.url.removeprefix("http://"), **client.headers}
        for _ in range(3):
            for name, other in (("a", "b"), ("b", "a")):
                stolen = heads[name] | {"Mcp-Session-Id": heads[other]["Mcp-Session-Id"]}
                assert (await line.send(call(1), heads[name], f"/agents/{name}/mcp"))[0] == 200
                assert (await line.send(call(1), stolen, f"/agents/{name}/mcp"))[0] == 404
                assert (await line.send(call(1), heads[name], f"/agents/{other}/mcp"))[0] == 403
        for client in clients.values():
            await client.close()
