"""One client's line to Airlock, the same for every era and transport."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from support.fronts import SECONDS, Front, Json, Legacy, Modern, Stream, Talk, gateway
from support.processes import Process, stdio
from support.sessions import PREFIX

CLIENTS = ("legacy stdio", "legacy http", "modern stdio", "modern http")
ABLE: Json = {"elicitation": {"form": {}}, "sampling": {}, "roots": {"listChanged": True}}
MODERN_ABLE: Json = {**ABLE, "extensions": {PREFIX + "tasks": {}}}


class Call:
    """A request that is under way."""

    def __init__(self, line: Line, frame_id: Any, stream: Stream | None) -> None:
        self.line = line
        self.id = frame_id
        self.stream = stream

    async def answered(self) -> Json:
        """Its answer, the whole frame."""
        return await self.line.until(
            lambda: next((f for f in self._frames() if "method" not in f and f["id"] == self.id), None), self
        )

    async def hears(self, method: str, fits: Callable[[Json], Any] = lambda _: True) -> Json:
        """A notification or request that came with it, or on the line."""
        return await self.line.until(
            lambda: next((f for f in self._frames() if f.get("method") == method and fits(f)), None), self
        )

    def _frames(self) -> list[Json]:
        own = self.stream.frames if self.stream is not None else []
        return [*own, *self.line.frames()]

    async def cancel(self) -> None:
        """Give it up in the way of the era and the transport."""
        if self.line.era == "modern" and self.stream is not None:
            await self.stream.close()
        else:
            await self.line.tell("notifications/cancelled", {"requestId": self.id, "reason": "no more"})


class Line:
    """What is common; `stdio` and `http` know how."""

    def __init__(self, kind: str) -> None:
        self.era, self.transport = kind.split()
        self.greeting: Json = {}
        self._ids = itertools.count(1_000)

    def frames(self) -> list[Json]:
        raise NotImplementedError

    async def begin(self, method: str, params: Json | None = None) -> Call:
        raise NotImplementedError

    async def tell(self, method: str, params: Json | None = None) -> None:
        raise NotImplementedError

    async def reply(self, request_id: Any, result: Json) -> None:
        raise NotImplementedError

    async def until(self, found: Callable[[], Any], call: Call) -> Any:
        """Wait until something is there."""
        async with asyncio.timeout(SECONDS):
            while not (value := found()):
                await asyncio.sleep(0.005)  # polls two streams at once
        return value

    async def ask(self, method: str, params: Json | None = None) -> Json:
        """A request and its result."""
        found = await (await self.begin(method, params)).answered()
        assert "result" in found, found
        return found["result"]

    async def fail(self, method: str, params: Json | None = None) -> Json:
        """A request and its error."""
        found = await (await self.begin(method, params)).answered()
        assert "error" in found, found
        return found["error"]

    async def call(self, tool: str, arguments: Json | None = None, meta: Json | None = None) -> Json:
        """tools/call, and its result."""
        params: Json = {"name": tool, "arguments": arguments or {}}
        return await self.ask("tools/call", params if meta is None else {**params, "_meta": meta})


class Pipe(Line):
    """Over stdin and stdout."""

    def __init__(self, kind: str, process: Process) -> None:
        super().__init__(kind)
        self.process = process

    def frames(self) -> list[Json]:
        return self.process.frames

    async def begin(self, method: str, params: Json | None = None) -> Call:
        if self.era == "modern":
            params = params or {}
            envelope = Modern.envelope(**MODERN_ABLE)
            params = {**params, "_meta": {**envelope, **(params.get("_meta") or {})}}
        return Call(self, self.process.send(method, params, next(self._ids)), None)

    async def tell(self, method: str, params: Json | None = None) -> None:
        self.process.tell(method, params)

    async def reply(self, request_id: Any, result: Json) -> None:
        frame = {"jsonrpc": "2.0", "id": request_id, "result": result}
        self.process.write(json.dumps(frame).encode() + b"\n")


class Web(Line):
    """Over HTTP."""

    def __init__(self, kind: str, talk: Talk) -> None:
        super().__init__(kind)
        self.talk = talk
        self.general: Stream | None = None

    def frames(self) -> list[Json]:
        return self.general.frames if self.general is not None else []

    async def begin(self, method: str, params: Json | None = None) -> Call:
        frame, headers = self.talk.framed(method, params)
        return Call(self, frame["id"], await self.talk.post(frame, headers))

    async def tell(self, method: str, params: Json | None = None) -> None:
        frame: Json = {"jsonrpc": "2.0", "method": method}
        await self.talk.post(frame if params is None else {**frame, "params": params})

    async def reply(self, request_id: Any, result: Json) -> None:
        await self.talk.post({"jsonrpc": "2.0", "id": request_id, "result": result})


@contextlib.asynccontextmanager
async def line(kind: str, config: Path) -> AsyncIterator[Line]:
    """A client of that kind, greeted, before an Airlock process with that config."""
    era, transport = kind.split()
    if transport == "stdio":
        async with stdio(config) as process:
            pipe = Pipe(kind, process)
            pipe.greeting = (
                await process.initialize(**ABLE) if era == "legacy" else await pipe.ask("server/discover")
            )
            yield pipe
        return
    async with gateway(config) as front:
        web = await _web(kind, front)
        yield web
        await web.talk.close()


async def _web(kind: str, front: Front) -> Web:
    if kind.startswith("modern"):
        web = Web(kind, Modern(front, **MODERN_ABLE))
        web.greeting = await web.ask("server/discover")
        return web
    talk = Legacy(front)
    web = Web(kind, talk)
    web.greeting = await talk.initialize(**ABLE)
    web.general = await talk.listen()
    return web
