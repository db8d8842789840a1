"""The programs that stand in a call's way over HTTP: the server at its end, and the floor."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import programs

TOKEN: Final = "the-token-of-the-benchmark"
SECRET: Final = "the-secret-of-the-benchmark"

ECHO: Final = """
import asyncio, json, sys
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "ask")]
SERVER = {"name": "echo", "version": "1"}

def result_of(frame, modern):
    method = frame["method"]
    if method == "tools/call":
        text = frame["params"]["arguments"]["text"]
        return {"content": [{"type": "text", "text": text}]}
    if method == "initialize":
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": SERVER}
    if method == "server/discover":
        return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 0,
                "cacheScope": "private"}
    if method == "tools/list":
        return {"tools": TOOLS, **({"ttlMs": 0, "cacheScope": "private"} if modern else {})}
    return {}

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\\r\\n\\r\\n")) >= 0:
            head = self.data[:end].lower()
            at = head.find(b"\\r\\ncontent-length:")
            size = int(head[at + 17:].split(b"\\r\\n", 1)[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + size:
                return
            body, self.data = self.data[end + 4:end + 4 + size], self.data[end + 4 + size:]
            self.transport.write(self.answer(head, body))

    def answer(self, head, body):
        if not head.startswith(b"post"):
            return b"HTTP/1.1 405 Method Not Allowed\\r\\nContent-Length: 0\\r\\n\\r\\n"
        frame = json.loads(body)
        if "id" not in frame:
            return b"HTTP/1.1 202 Accepted\\r\\nContent-Length: 0\\r\\n\\r\\n"
        modern = b"mcp-protocol-version: 2026-07-28" in head
        more = b"" if modern else b"Mcp-Session-Id: one-session\\r\\n"
        result = result_of(frame, modern)
        if modern:
            result = {"resultType": "complete", **result}
        text = json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}).encode()
        head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n"
        return head + more + b"Content-Length: %d\\r\\n\\r\\n" % len(text) + text

async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""
"""The server, in both eras. It costs little, so that what is measured is what stands before it."""

FLOOR: Final = """
import asyncio, itertools, json, sys, uvicorn
port, back = int(sys.argv[1]), sys.argv[2:]
ids = itertools.count(1)

class Child:
    async def open(self):
        self.waiting = {}
        self.child = await asyncio.create_subprocess_exec(
            *back, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26)
        self.pump = asyncio.create_task(self.read())

    async def read(self):
        while line := await self.child.stdout.readline():
            frame = json.loads(line)
            self.waiting.pop(frame["id"]).set_result(frame)

    async def pass_on(self, frame):
        theirs = frame.get("id")
        if theirs is None:
            self.child.stdin.write(json.dumps(frame).encode() + b"\\n")
            return None
        frame["id"] = own = next(ids)
        self.waiting[own] = answer = asyncio.get_running_loop().create_future()
        self.child.stdin.write(json.dumps(frame).encode() + b"\\n")
        return {**await answer, "id": theirs}

class Web:
    async def open(self):
        self.free = []

    async def pass_on(self, frame):
        theirs = frame.get("id")
        if theirs is not None:
            frame["id"] = next(ids)
        body = json.dumps(frame).encode()
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection(
            "127.0.0.1", int(back[0]), limit=1 << 26)
        writer.write(b"POST /mcp HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nContent-Type: application/json\\r\\n"
                     b"Accept: application/json, text/event-stream\\r\\n"
                     b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
        head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
        size = int(head[head.find(b"content-length:") + 15:].split(b"\\r\\n", 1)[0])
        text = await reader.readexactly(size)
        self.free.append((reader, writer))
        return {**json.loads(text), "id": theirs} if text else None

behind = Web() if len(back) == 1 else Child()

async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = await behind.pass_on(json.loads(body))
    text = json.dumps(answer).encode() if answer else b""
    kind = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200 if answer else 202, "headers": kind})
    await send({"type": "http.response.body", "body": text})

async def main():
    await behind.open()
    config = uvicorn.Config(app, port=port, lifespan="off", access_log=False, log_config=None, ws="none")
    await uvicorn.Server(config).serve()

asyncio.run(main())
"""
"""The least that a gateway on uvicorn can be: a bare ASGI app that parses a message and passes it on."""


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to no connection meanwhile."""
    while True:
        port = random.randint(15_000, 30_000)  # below those that it gives to connections
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def echo(port: int) -> list[str]:
    """The command line of the server over HTTP."""
    return [*programs.LEAN, ECHO, str(port)]


def floor(port: int, back: list[str]) -> list[str]:
    """The command line of the floor before a program, or before the port of a server."""
    return [sys.executable, "-I", "-c", FLOOR, str(port), *back]


def airlock(port: int, config: Path) -> list[str]:
    """The command line of a gateway."""
    return [sys.executable, "-m", "airlock", "--config", str(config), "gateway", "--port", str(port)]


def key(config: Path, env: Mapping[str, str]) -> str:
    """A new API key of this gateway, made by the command."""
    words = ["keys", "create", "--name", "bench", "--scope", "mcp", "--agent", "bench", "--json"]
    made = subprocess.run(
        [sys.executable, "-m", "airlock", "--config", str(config), *words],
        env=env,
        capture_output=True,
        check=True,
    )
    return str(json.loads(made.stdout)["key"])


def write_config(folder: Path, name: str, rules: int, url: str = "", *, token: bool = True) -> Path:
    """An Airlock config as for stdio, before a URL if there is one; with a token the agent takes no key."""
    path = programs.write_config(folder, name, rules)
    config = json.loads(path.read_text())
    config["server"] = {"api_secret": SECRET}
    if token:
        config["agents"]["bench"]["token"] = TOKEN
    if url:
        config["providers"]["up"] = {"type": "http", "url": url}
    path.write_text(json.dumps(config))
    return path
