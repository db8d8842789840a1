"""A real `airlock gateway` process before real servers, and raw MCP over HTTP to it, in both eras."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2

from support.sessions import PREFIX, odd, policy

SECONDS = 60
SECRET = "the-people-know-this-secret"
FIXTURES = Path(__file__).parents[1] / "fixtures"
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
NAMED = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
TASKS = {"extensions": {PREFIX + "tasks": {}}}
Json = dict[str, Any]


class Front:
    """A running gateway."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, client: httpx2.AsyncClient) -> None:
        self.process = process
        self.url = url
        self.http = client
        self.config: Path = Path()

    async def rest(self, method: str, path: str, body: Any = None) -> Any:
        """One request of a person's program, and its JSON."""
        headers = {"Authorization": f"Bearer {SECRET}"}
        answer = await self.http.request(method, self.url + path, json=body, headers=headers)
        assert answer.status_code < 400, (answer.status_code, answer.text)
        return answer.json()

    async def pending(self, count: int = 1) -> list[Json]:
        """The queue, once it has that many requests."""
        return await polled(
            lambda: self.rest("GET", "/hitl/pending"), lambda found: len(found) >= count and found
        )

    async def approve(self, count: int = 1) -> list[Json]:
        """What a person does: wait for the questions and say yes to each."""
        found = await self.pending(count)
        for one in found:
            await self.rest("POST", f"/hitl/approve/{one['code']}")
        return found

    async def events(self) -> list[Json]:
        """The audit's raw events, newest first."""
        return await self.rest("GET", "/audit?view=events&limit=1000")

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.terminate()

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


async def polled(look: Callable[[], Any], wanted: Callable[[Any], Any]) -> Any:
    """Look at another process again and again until what is wanted is there."""
    async with asyncio.timeout(SECONDS):
        while not (value := wanted(await look())):
            await asyncio.sleep(0.01)  # polls another process
    return value


class Stream:
    """One HTTP response that is read as server-sent events, or as one JSON message."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.status = answer.status_code
        self.headers = answer.headers
        self.frames: list[Json] = []
        self.events: list[tuple[str, str]] = []
        self.comments = 0
        self.retry: int | None = None
        self.ended = False
        self._arrived = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            if "text/event-stream" in self.headers.get("content-type", ""):
                await self._lines()
            else:
                body = await self.answer.aread()
                self.frames.extend([json.loads(body)] if body else [])
        except httpx2.HTTPError:
            pass
        finally:
            self.ended = True
            self._arrived.set()

    async def _lines(self) -> None:
        event_id, data = "", []
        async for line in self.answer.aiter_lines():
            name, _, value = line.partition(":")
            if line.startswith(":"):
                self.comments += 1
            elif name == "id":
                event_id = value.strip()
            elif name == "retry":
                self.retry = int(value)
            elif name == "data":
                data.append(value.removeprefix(" "))
            elif not line and (data or event_id):
                self.events.append((event_id, "\n".join(data)))
                if any(data):
                    self.frames.append(json.loads("\n".join(data)))
                event_id, data = "", []
            self._arrived.set()

    async def until(self, found: Callable[[], Any]) -> Any:
        """Wait until the frames hold something; what `found` returns."""
        async with asyncio.timeout(SECONDS):
            while not (value := found()):
                assert not self.ended, f"the stream ended; {self.status} {self.frames[-3:]}"
                self._arrived.clear()
                await self._arrived.wait()
        return value

    async def end(self) -> list[Json]:
        """Everything, once the response has ended."""
        async with asyncio.timeout(SECONDS):
            await self._reading
        return self.frames

    async def hears(self, method: str) -> Json:
        """Wait for a notification or request; its whole frame."""
        return await self.until(lambda: next((f for f in self.frames if f.get("method") == method), None))

    async def answered(self) -> Json:
        """The response."""
        return await self.until(lambda: next((f for f in self.frames if "method" not in f), None))

    async def close(self) -> None:
        """Hang up."""
        self._reading.cancel()
        await asyncio.wait({self._reading})
        await self.answer.aclose()


class Talk:
    """One client's way of sending messages; a subclass knows the era."""

    def __init__(self, front: Front, path: str = "/mcp", token: str | None = None) -> None:
        self.front = front
        self.url = front.url + path
        self.headers: dict[str, str] = dict(ACCEPT)
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        self._ids = itertools.count(1)
        self._open: list[Stream] = []

    def framed(self, method: str, params: Json | None) -> tuple[Json, dict[str, str]]:
        """A request and its headers."""
        frame: Json = {"jsonrpc": "2.0", "id": next(self._ids), "method": method}
        return frame if params is None else {**frame, "params": params}, {}

    async def open(self, method: str, params: Json | None = None, **headers: str | None) -> Stream:
        """Send a request; its response, as it comes. A header that is None is left out."""
        frame, own = self.framed(method, params)
        return await self.post(frame, own | {k.replace("_", "-"): v for k, v in headers.items()})

    async def post(self, body: Any, headers: dict[str, Any] | None = None, method: str = "POST") -> Stream:
        """Send anything."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        sent = {key: value for key, value in {**self.headers, **(headers or {})}.items() if value is not None}
        request = self.front.http.build_request(method, self.url, content=data, headers=sent)
        stream = Stream(await self.front.http.send(request, stream=True))
        self._open.append(stream)
        return stream

    async def ask(self, method: str, params: Json | None = None) -> Json:
        """A request and its result; an error is an AssertionError."""
        found = await (await self.open(method, params)).answered()
        assert "result" in found, found
        return found["result"]

    async def fail(self, method: str, params: Json | None = None) -> tuple[int, Json]:
        """A request, its HTTP status and its error."""
        stream = await self.open(method, params)
        found = await stream.answered()
        assert "error" in found, found
        return stream.status, found["error"]

    async def call(self, tool: str, arguments: Json | None = None, **more: Any) -> Json:
        """tools/call, and its result."""
        return await self.ask("tools/call", {"name": tool, "arguments": arguments or {}, **more})

    async def close(self) -> None:
        """Hang up everything."""
        for stream in self._open:
            await stream.close()


class Legacy(Talk):
    """A client with a session."""

    async def initialize(self, name: str = "tester", version: str = LEGACY, **capabilities: Any) -> Json:
        """The handshake."""
        info = {"name": name, "version": "1"}
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": info}
        stream = await self.open("initialize", params)
        answer = await stream.answered()
        assert "result" in answer, answer
        self.headers |= {"Mcp-Session-Id": stream.headers["mcp-session-id"], "MCP-Protocol-Version": version}
        await self.tell("notifications/initialized")
        return answer["result"]

    async def tell(self, method: str, params: Json | None = None) -> Stream:
        """Send a notification."""
        frame: Json = {"jsonrpc": "2.0", "method": method}
        return await self.post(frame if params is None else {**frame, "params": params})

    async def reply(self, request_id: Any, result: Json) -> Stream:
        """Answer a request of the server."""
        return await self.post({"jsonrpc": "2.0", "id": request_id, "result": result})

    async def listen(self, **headers: str) -> Stream:
        """The GET stream."""
        return await self.post(None, {k.replace("_", "-"): v for k, v in headers.items()}, "GET")


class Modern(Talk):
    """A client that says everything with each request."""

    def __init__(
        self, front: Front, path: str = "/mcp", token: str | None = None, **capabilities: Any
    ) -> None:
        super().__init__(front, path, token)
        self.meta = self.envelope(**capabilities)

    @staticmethod
    def envelope(**capabilities: Any) -> Json:
        """What a modern request says of its client."""
        return {
            PREFIX + "protocolVersion": MODERN,
            PREFIX + "clientCapabilities": capabilities,
            PREFIX + "clientInfo": {"name": "tester", "version": "1"},
        }

    def framed(self, method: str, params: Json | None) -> tuple[Json, dict[str, str]]:
        params = params or {}
        whole = {**params, "_meta": {**self.meta, **(params.get("_meta") or {})}}
        frame, _ = super().framed(method, whole)
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if method in NAMED and isinstance(params.get(NAMED[method]), str):
            headers["Mcp-Name"] = params[NAMED[method]]
        return frame, headers


def written(folder: Path, *switches: str, agents: Json | None = None, **more: Any) -> Path:
    """A config before the odd server, with the people's secret and agent `tester`."""
    path = folder / "airlock.yaml"
    agent = {"allow": ["odd/**"], "ask": ["odd/raw", "odd/sleep", "odd/progress"], "deny": ["odd/die"]}
    whole = json.loads(policy({"odd": odd(*switches)}, agent, **more))
    if agents is not None:
        whole["agents"] = agents
    server = {"api_secret": SECRET, **whole.pop("server", {})}
    path.write_text(json.dumps({**whole, "server": server, "database": f"sqlite:///{folder}/a.db"}))
    return path


@contextlib.asynccontextmanager
async def gateway(config: Path, *switches: str) -> AsyncIterator[Front]:
    """A running `airlock gateway`; killed on the way out if it still runs."""
    command = [sys.executable, "-m", "airlock", "--config", str(config), "gateway", "--port", "0", *switches]
    environment = {**os.environ, "AIRLOCK_STATE_DIR": str(config.parent / "state")}
    async with running(command, environment) as (process, line):
        url = line.split()[-1]
        limits = httpx2.Limits(max_connections=2000, max_keepalive_connections=50)
        async with httpx2.AsyncClient(timeout=SECONDS, limits=limits) as client:
            front = Front(process, url, client)
            front.config = config
            yield front


@contextlib.asynccontextmanager
async def http_server(name: str, *switches: str) -> AsyncIterator[str]:
    """One of our fixture servers; its URL."""
    async with running([sys.executable, str(FIXTURES / name), *switches]) as (_, line):
        yield f"http://127.0.0.1:{line.strip()}/mcp"


@contextlib.asynccontextmanager
async def running(
    command: list[str], environment: dict[str, str] | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server process and the line it prints when it is ready."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stderr is not None
    words: list[bytes] = []
    draining = asyncio.create_task(_drain(process.stderr, words))
    try:
        async with asyncio.timeout(SECONDS):
            line = (await process.stdout.readline()).decode()
        assert line, b"".join(words).decode()
        yield process, line
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(process.stdout.read(), draining, process.wait())


async def _drain(stream: asyncio.StreamReader, words: list[bytes]) -> None:
    while line := await stream.readline():
        words.append(line)
        del words[:-200]
