"""A client that is not Airlock's: it starts a command and speaks MCP's raw frames to it, as Claude Code does.

`doctor` uses it to try what must not work, `demo` to tell the story with the real process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from airlock.errors import UpstreamError
from airlock.model import JsonObject

SECONDS = 20.0
LINE_LIMIT = 64 * 1024 * 1024

OnProgress = Callable[[JsonObject], None]


class Client:
    """One MCP connection over the pipes of a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._next = 0
        self._waiting: dict[int, asyncio.Future[JsonObject]] = {}
        self._progress: dict[int, OnProgress] = {}
        self._stderr: list[str] = []
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._drain())]

    @property
    def stderr(self) -> str:
        """The last lines that the process logged."""
        return " / ".join(self._stderr[-3:])

    async def initialize(self) -> JsonObject:
        """Shake hands as Claude Code 2.1 does."""
        result = await self.request(
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {"roots": {}, "elicitation": {}},
                "clientInfo": {"name": "claude-code", "version": "2.1.328"},
            },
        )
        self._send({"method": "notifications/initialized"})
        return result

    async def tools(self) -> list[JsonObject]:
        """All tools, page by page."""
        found: list[JsonObject] = []
        cursor: Any = None
        while True:
            result = await self.request("tools/list", {"cursor": cursor} if cursor else {})
            found += (result.get("result") or {}).get("tools", [])
            cursor = (result.get("result") or {}).get("nextCursor")
            if not cursor:
                return found

    def call(self, name: str, arguments: JsonObject, on_progress: OnProgress | None = None) -> Pending:
        """Begin a tool call."""
        number = self._next + 1
        meta = {"progressToken": number, "claudecode/toolUseId": f"toolu_{os.urandom(8).hex()}"}
        if on_progress is not None:
            self._progress[number] = on_progress
        answer = self._begin("tools/call", {"name": name, "arguments": arguments, "_meta": meta})
        return Pending(self, number, answer)

    async def request(self, method: str, params: JsonObject, seconds: float = SECONDS) -> JsonObject:
        """The whole response frame; UpstreamError when none comes."""
        answer = self._begin(method, params)
        return await self.answered(answer, seconds, method)

    async def answered(self, answer: asyncio.Future[JsonObject], seconds: float, what: str) -> JsonObject:
        """Wait for a response; UpstreamError when it takes longer, or when the process ends."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise UpstreamError(f"no answer to `{what}` within {seconds:g}s: {self.stderr}") from None

    def cancel(self, number: int) -> None:
        """Give a request up, as a person does with Esc."""
        self._send(
            {"method": "notifications/cancelled", "params": {"requestId": number, "reason": "user-cancel"}}
        )

    def _begin(self, method: str, params: JsonObject) -> asyncio.Future[JsonObject]:
        self._next += 1
        answer: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._waiting[self._next] = answer
        self._send({"id": self._next, "method": method, "params": params})
        return answer

    def _send(self, frame: Mapping[str, Any]) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}).encode() + b"\n")

    async def _read(self) -> None:
        out = self._process.stdout
        while out is not None and (line := await out.readline()):
            with contextlib.suppress(ValueError):
                self._take(json.loads(line))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(UpstreamError(f"the process ended: {self.stderr}"))

    def _take(self, frame: JsonObject) -> None:
        answer = self._waiting.pop(frame["id"], None) if "method" not in frame and "id" in frame else None
        if answer is not None and not answer.done():
            answer.set_result(frame)
        elif frame.get("method") == "notifications/progress":
            params = frame.get("params") or {}
            listener = self._progress.get(params.get("progressToken", 0))
            if listener is not None:
                listener(params)
        elif "method" in frame and "id" in frame:
            self._send({"id": frame["id"], "error": {"code": -32601, "message": "not offered"}})

    async def _drain(self) -> None:
        err = self._process.stderr
        while err is not None and (line := await err.readline()):
            self._stderr = [*self._stderr[-9:], line.decode("utf-8", "replace").strip()]

    async def close(self) -> None:
        """Close its stdin as a client does when it ends, and wait for the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for answer in self._waiting.values():
            if answer.done() and not answer.cancelled():
                answer.exception()


class Pending:
    """A tool call on its way."""

    def __init__(self, client: Client, number: int, answer: asyncio.Future[JsonObject]) -> None:
        self._client = client
        self._answer = answer
        self.number = number

    @property
    def done(self) -> bool:
        """True once the response is here."""
        return self._answer.done()

    async def result(self, seconds: float = SECONDS) -> JsonObject:
        """The whole response frame."""
        return await self._client.answered(self._answer, seconds, "tools/call")

    def cancel(self) -> None:
        """Give it up."""
        self._client.cancel(self.number)


@asynccontextmanager
async def connected(
    command: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """A client of this command, which ends with the context."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=None if env is None else dict(env),
        limit=LINE_LIMIT,
    )
    client = Client(process)
    try:
        yield client
    finally:
        await client.close()


def text_of_result(frame: JsonObject) -> str:
    """What the model would read of a response."""
    if "error" in frame:
        return str((frame["error"] or {}).get("message", ""))
    content = (frame.get("result") or {}).get("content") or []
    return "\n".join(str(one.get("text", "")) for one in content if isinstance(one, dict))


def is_waiting(progress: JsonObject) -> bool:
    """True when this progress tells of a person who is waited for, and is not the tool's own."""
    return "airlock approve" in str(progress.get("message"))


def ran(frame: JsonObject) -> bool:
    """True when the call was let through: anything but a refusal that is recognisably one."""
    if "error" in frame:
        return False
    result = frame.get("result") or {}
    return not (result.get("isError") is True and text_of_result(frame).startswith("airlock:"))
